"""Recognizes texts that a profile holds many times, so that a search shows each of them once."""

from collections.abc import Callable, Iterable

SIMILAR = 0.9
"""Jaccard similarity of two texts' 5-grams from which they are the same to a reader. Their digits must be
equal, too: receipts and reminders differ in nothing else."""
_GRAM = 5


def normalized(text: str) -> str:
    """Return `text` without differences of case and white space."""
    return " ".join(text.casefold().split())


class Distinct:
    """The texts of one result. `copies` counts how often a normalized text stands in the profile."""

    def __init__(self, shown: Iterable[str], copies: Callable[[str], int]) -> None:
        """`shown` are texts that were shown before, and are not to be shown again."""
        self._copies = copies
        self._kept: dict[str, frozenset[str]] = {}
        self._counted: dict[str, int] = {}
        for text in shown:
            self.add(text)

    def add(self, text: str) -> bool:
        """Keep a text, unless one like it was kept; then count it there. Returns whether it was kept."""
        own = normalized(text)
        if own in self._counted:
            return False
        grams = frozenset(own[i : i + _GRAM] for i in range(max(len(own) - _GRAM + 1, 1)))
        self._counted[own] = self._copies(own)
        digits = _digits(own)
        for kept, other in self._kept.items():
            if _similar(grams, other) and digits == _digits(kept):
                self._counted[kept] += self._counted[own]
                return False
        self._kept[own] = grams
        return True

    def count(self, text: str) -> int:
        """Return how many texts a kept one stands for, with itself."""
        return self._counted[normalized(text)]


def _similar(one: frozenset[str], other: frozenset[str]) -> bool:
    # The sizes bound the intersection, and with it the similarity.
    if min(len(one), len(other)) < SIMILAR * max(len(one), len(other)):
        return False
    common = len(one & other)
    return common >= SIMILAR * (len(one) + len(other) - common)


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
