"""Words: how texts become terms, and BM25 over one profile."""

import re
import threading
import unicodedata
from collections.abc import Sequence

import bm25s
import numpy as np
import Stemmer
from numpy.typing import NDArray

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
POSSESSIVE = re.compile(r"['’]s$")
_STEMMER = threading.local()

FUNCTION_WORDS = frozenset(
    """a about above after again all also am an and any are as at be because been before being below
    between both but by can could did do does doing don down during each few for from further had has
    have having he her here hers herself him himself his how i if in into is it its itself just let me
    might more most must my myself no nor not now of off on once only or other our ours ourselves out
    over own same shall she should so some such than that the their theirs them themselves then there
    these they this those through to too under until up very was we were what when where which while who
    whom whose why will with would you your yours yourself yourselves i'm i've i'd i'll you're you've
    it's he's she's we're they're don't doesn't didn't isn't wasn't aren't can't won't what's that's
    there's let's""".split()
)
"""Words that carry no topic. They are dropped from questions, never from documents."""


def words(text: str) -> list[str]:
    """The words of `text`, in lower case, without accents and possessive endings."""
    if not text.isascii():
        # People do not type the accents of a name when they ask for it.
        parts = unicodedata.normalize("NFKD", text.replace("’", "'"))
        text = "".join(character for character in parts if not unicodedata.combining(character))
    return [POSSESSIVE.sub("", word) for word in _WORD.findall(text.lower())]


def stem(tokens: Sequence[str]) -> list[str]:
    """English stems (Snowball); words of other languages mostly stay as they are."""
    stemmer = getattr(_STEMMER, "english", None)
    if stemmer is None:
        # A stemmer keeps state between calls, so each thread has its own.
        stemmer = _STEMMER.english = Stemmer.Stemmer("english")
    return list(stemmer.stemWords(list(tokens)))


def terms(text: str) -> list[str]:
    """All terms of `text`, in order: stemmed words."""
    return stem(words(text))


def content_terms(text: str) -> list[str]:
    """The terms of `text` that carry its topic, in order, each once; all terms if none does."""
    kept = [word for word in words(text) if word not in FUNCTION_WORDS]
    return list(dict.fromkeys(stem(kept or words(text))))


class LexicalIndex:
    """BM25 over the term lists of one profile (bm25s, Lucene's variant, k1 = 1.5, b = 0.75).

    Lucene's idf, ln(1 + (N - n + .5) / (n + .5)), is positive for every term. The Okapi variant of
    rank_bm25 is not: in a profile of a few documents a term that half of them hold would count
    against the documents that hold it. The term-frequency part differs from Okapi's by the constant
    k1 + 1 only, so with the same idf both rank alike.
    """

    def __init__(self, documents: Sequence[Sequence[str]]) -> None:
        self._size = len(documents)
        vocabulary: dict[str, int] = {}
        ids = [[vocabulary.setdefault(term, len(vocabulary)) for term in terms] for terms in documents]
        self._vocabulary = vocabulary
        counts = np.zeros(len(vocabulary))
        for document in ids:
            counts[list(set(document))] += 1
        self._idf = np.log1p((self._size - counts + 0.5) / (counts + 0.5))
        self._unseen = float(np.log1p((self._size + 0.5) / 0.5))
        self._bm25 = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        if vocabulary:
            self._bm25.index((ids, vocabulary), show_progress=False)

    def idf(self, term: str) -> float:
        """How much `term` tells about a document that holds it; most for a term that none holds."""
        position = self._vocabulary.get(term)
        return self._unseen if position is None else float(self._idf[position])

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """The BM25 score of every document, shape (documents,). 0 where no term of the query occurs."""
        known = [term for term in query if term in self._vocabulary]
        if not known:
            return np.zeros(self._size, np.float32)
        scores: NDArray[np.float32] = self._bm25.get_scores(known)
        return scores

    def coverage(self, query: Sequence[str]) -> NDArray[np.float32]:
        """The share of the query's information that each document holds, in [0, 1), shape (documents,).

        That is the BM25 score over the highest one that any document could reach. A query whose words
        the profile does not use is covered by nothing, and the scores say so.
        """
        total = sum(self.idf(term) for term in query)
        return self.scores(query) / np.float32(total or 1.0)
