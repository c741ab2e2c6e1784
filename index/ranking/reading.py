"""Reads one document for the rankings; a version of a profile takes this over from the version before."""

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from index.documents import Document, encoded_text
from index.ranking.duplicates import normalized
from index.ranking.lexical import Counted, Vocabulary
from index.ranking.people import Turn, turns
from index.text.words import terms


class Reading:
    """A document with its passages, as (start, end), and what is derived from these alone on first use."""

    def __init__(self, document: Document, spans: Sequence[tuple[int, int]]) -> None:
        self._document = document
        self._spans = tuple(spans)
        self._counted: dict[str, list[Counted]] = {}

    @cached_property
    def text_bytes(self) -> int:
        return sys.getsizeof(self._document.text)

    @cached_property
    def other_bytes(self) -> int:
        """Memory of the document's other fields."""
        return _memory([self._document.title, self._document.source, self._document.metadata])

    @cached_property
    def authors(self) -> frozenset[str]:
        """Authors and speakers in lower case: from the metadata, and from the beginnings of lines in a
        transcript ("Ana: see you there")."""
        own = self._document.author
        return frozenset([*(turn.speaker for turn in self.turns), *([own.lower()] if own else [])])

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        """Turns of a conversation, each with the names that may address somebody."""
        return tuple(turns(self._document))

    @cached_property
    def hashes(self) -> tuple[int, ...]:
        """Hash of each passage's normalized text."""
        return tuple(hash(normalized(self._document.text[start:end])) for start, end in self._spans)

    def counted(self, language: str, vocabulary: Vocabulary) -> list[Counted]:
        """The terms of each passage in a language (ISO 639-1), always with the same vocabulary."""
        if language not in self._counted:
            texts = (encoded_text(self._document, self._document.text[s:e]) for s, e in self._spans)
            # One language at a time: a source that changes its language is read anew.
            self._counted = {language: [vocabulary.count(terms(text, language)) for text in texts]}
        return self._counted[language]


def _memory(value: Any) -> int:
    """Return the bytes that a JSON value takes in memory, several times those of its text."""
    match value:
        case list():
            items = value
        case dict():
            items = [*value.keys(), *value.values()]
        case _:
            return sys.getsizeof(value)
    return sys.getsizeof(value) + sum(map(_memory, items))
