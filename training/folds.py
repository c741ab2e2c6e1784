"""Folds of a data set: parts that share no people, so that a model can serve people it did not learn from."""

import hashlib
from dataclasses import dataclass
from typing import Self

from training.errors import TrainingError


class InvalidFold(TrainingError, ValueError):
    """There is no such fold."""


@dataclass(frozen=True)
class Fold:
    """One part of `of` parts. Every person belongs to one of them, whatever data set they are in."""

    number: int
    """From 1 to `of`."""
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of or self.of < 2:
            raise InvalidFold(f"{self} is no fold: it is written like 1/4, for the first of four")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a fold from the form NUMBER/OF. Raises InvalidFold."""
        number, _, of = text.partition("/")
        if not (number.isascii() and number.isdigit() and of.isascii() and of.isdigit()):
            raise InvalidFold(f"{text!r} is no fold: it is written like 1/4, for the first of four")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def named(self, name: str) -> str:
        """The name of what is trained without this fold, if what is trained with everybody has this name."""
        return f"{name}-{self.number}-of-{self.of}"

    def holds(self, person: str) -> bool:
        """Whether the person belongs to this fold, by a hash of their name."""
        digest = hashlib.sha256(person.encode()).digest()
        return int.from_bytes(digest[:8]) % self.of == self.number - 1
