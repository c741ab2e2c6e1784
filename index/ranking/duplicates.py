"""Recognizes texts that a profile holds many times, so that a search shows each of them once."""

from collections.abc import Callable, Iterable

SIMILAR = 0.9
"""Jaccard similarity of two texts' 5-grams from which they are the same to a reader. Their digits must be
equal, too: receipts and reminders differ in nothing else."""
_GRAM = 5
Grams = frozenset[tuple[str, ...]]


def normalized(text: str) -> str:
    """Return `text` without differences of case and white space."""
    return " ".join(text.casefold().split())


class Distinct:
    """The texts of one result. `copies` counts how often a normalized text stands in the profile."""

    def __init__(self, shown: Iterable[str], copies: Callable[[str], int]) -> None:
        """`shown` are texts that were shown before, and are not to be shown again."""
        self._copies = copies
        self._kept: dict[str, str] = {}
        """Kept texts, normalized, with their digits."""
        self._grams: dict[str, Grams] = {}
        self._counted: dict[str, int] = {}
        for text in shown:
            self.add(text)

    def add(self, text: str) -> bool:
        """Keep a text, unless one like it was kept; then count it there. Returns whether it was kept."""
        own = normalized(text)
        if own in self._counted:
            return False
        self._counted[own] = self._copies(own)
        digits = "".join(filter(str.isdigit, own))
        for kept, others in self._kept.items():
            # Digits first: most texts differ in them, and grams take long.
            if digits == others and _similar(self._grams_of(own), self._grams_of(kept)):
                self._counted[kept] += self._counted[own]
                return False
        self._kept[own] = digits
        return True

    def _grams_of(self, own: str) -> Grams:
        if own not in self._grams:
            grams = zip(*(own[start:] for start in range(_GRAM)), strict=False)
            self._grams[own] = frozenset(grams) or frozenset([tuple(own)])
        return self._grams[own]

    def count(self, text: str) -> int:
        """Return how many texts a kept one stands for, with itself."""
        return self._counted[normalized(text)]


def _similar(one: Grams, other: Grams) -> bool:
    # The sizes bound the intersection, and with it the similarity.
    if min(len(one), len(other)) < SIMILAR * max(len(one), len(other)):
        return False
    common = len(one & other)
    return common >= SIMILAR * (len(one) + len(other) - common)
