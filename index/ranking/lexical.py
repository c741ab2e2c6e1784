"""BM25 over the passages of one profile."""

import logging
from collections.abc import Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray

# It asks for everything, whatever the application's level is.
logging.getLogger("bm25s").setLevel(logging.WARNING)


class LexicalIndex:
    """BM25 over the term lists of one profile (bm25s, Lucene's variant, k1 = 1.5, b = 0.75).

    Lucene's idf, ln(1 + (N - n + .5) / (n + .5)), is positive for every term. The Okapi variant of
    rank_bm25 is not: in a profile of a few documents, a term that occurs in half of them would count
    against them. The term-frequency part differs from Okapi's only by the constant factor k1 + 1, so with
    the same idf both rank alike.
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

    def __contains__(self, term: str) -> bool:
        return term in self._vocabulary

    def idf(self, term: str) -> float:
        """Return the inverse document frequency of `term`; highest for a term that does not occur."""
        position = self._vocabulary.get(term)
        return self._unseen if position is None else float(self._idf[position])

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """Return the BM25 score of every document, shape (documents,); 0 if no term of the query occurs."""
        known = [term for term in query if term in self._vocabulary]
        if not known:
            return np.zeros(self._size, np.float32)
        scores: NDArray[np.float32] = self._bm25.get_scores(known)
        return scores

    def coverage(self, query: Sequence[str]) -> NDArray[np.float32]:
        """Return the share of the query's information in each document, in [0, 1), shape (documents,).

        This is the BM25 score divided by the highest score that any document could reach, so terms that the
        profile does not contain lower the coverage.
        """
        total = sum(self.idf(term) for term in query)
        return self.scores(query) / np.float32(total or 1.0)
