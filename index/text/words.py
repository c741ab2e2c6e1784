"""Splits text into words and reduces them to terms: the stems that rankings compare."""

import re
import threading
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import Stemmer

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
"""Words without a topic. They are dropped from questions, never from documents."""


def words(text: str) -> list[str]:
    """Return the words of `text` in lower case, without accents and possessive endings."""
    if not text.isascii():
        # People often leave out the accents of a name in a question.
        text = "".join(map(_base, text.replace("’", "'")))
    return [POSSESSIVE.sub("", word) for word in _WORD.findall(text.lower())]


@lru_cache(maxsize=1 << 14)
def _base(character: str) -> str:
    """Decompose one character (NFKD) and drop its accents.

    Normalizing a whole text also sorts its accents, which is quadratic in the length of a run of them.
    """
    parts = unicodedata.normalize("NFKD", character)
    return "".join(part for part in parts if not unicodedata.combining(part))


def stem(tokens: Sequence[str]) -> list[str]:
    """Return English stems (Snowball); words of other languages mostly stay unchanged."""
    stemmer = getattr(_STEMMER, "english", None)
    if stemmer is None:
        # A stemmer has state, so each thread has its own.
        stemmer = _STEMMER.english = Stemmer.Stemmer("english")
    return list(stemmer.stemWords(list(tokens)))


def terms(text: str) -> list[str]:
    """Return all terms of `text` in order: its stemmed words."""
    return stem(words(text))


def content_terms(text: str) -> list[str]:
    """Return the distinct terms that carry the topic of `text`, in order; all terms if none does."""
    kept = [word for word in words(text) if word not in FUNCTION_WORDS]
    return list(dict.fromkeys(stem(kept or words(text))))
