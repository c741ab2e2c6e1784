"""All that one version of a profile holds, and how the next version is made of it and a small change."""

import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.documents import Document
from index.ranking import reading
from index.ranking.codes import Codes
from index.ranking.columns import Columns, Positions, Times
from index.ranking.readings import Change, Readings
from index.ranking.vectors import VectorIndex
from index.storage.loading import StoredChange, StoredProfile
from index.storage.rows import Record
from index.text.languages import ENGLISH, SAMPLE
from index.text.words import detect

_TYPICAL = 50_000
"""Characters of a profile, spread over it, that tell the language of sources too short to tell their own."""
STRAYS, SHARE = 256, 1 / 16
"""Passages, and their share of all, that may come or go before the indexes are built anew."""


@dataclass
class Shared:
    """Numbers and findings that all versions of a profile share and add to."""

    sources: Codes[str | None] = field(default_factory=Codes)
    authors: Codes[str] = field(default_factory=Codes)
    detected: dict[tuple[int, int], str | None] = field(default_factory=dict)
    """Languages by the length and the hash of the text that told them."""
    familiar: dict[int, float] = field(default_factory=dict)
    """Familiarity of a language by the hash of the passages that told it."""


class Contents:
    """Documents and indexes of one version of a profile. Immutable, and shared between requests."""

    def __init__(
        self,
        columns: Columns,
        times: Times,
        vectors: VectorIndex,
        spaces: Mapping[str, VectorIndex],
        memory: tuple[int, int],
        shared: Shared,
        readings: Readings | None = None,
        unread: list[bytes | None] | None = None,
        languages: dict[int, str | None] | None = None,
    ) -> None:
        self.columns = columns
        self.times = times
        self.vectors = vectors
        self.spaces = spaces
        self.text_bytes, self.other_bytes = memory
        self.shared = shared
        self._readings = readings
        self._unread = unread
        self._told = languages
        self._reading = threading.Lock()

    @classmethod
    def of(cls, stored: StoredProfile) -> "Contents":
        shared = Shared()
        return cls(
            Columns.of(stored.records, stored.spans, shared.sources),
            Times.of(stored.records),
            VectorIndex(stored.vectors),
            {name: VectorIndex(vectors) for name, vectors in stored.spaces.items()},
            _memory_of(stored.records),
            shared,
            unread=list(stored.readings) or [None] * len(stored.records),
        )

    @property
    def readings(self) -> Readings:
        """Made on first use: a search by meaning alone needs none."""
        with self._reading:
            if self._readings is None:
                assert self._unread is not None
                found = reading.found_in(self._unread, self.columns.read)
                sources, authors = self.columns.sources, self.shared.authors
                self._readings = Readings.of(found, self.spoken, sources, authors)
                self._unread = None
            return self._readings

    @property
    def nbytes(self) -> int:
        """Estimated memory in bytes. Documents that are not read yet count as if they were."""
        vectors = sum(index.nbytes for index in (self.vectors, *self.spaces.values()))
        own = vectors + self.text_bytes + self.other_bytes + 1_000 * len(self.columns)
        read = self._readings
        return own + (read.nbytes if read else 2 * self.text_bytes)

    def updated(self, stored: StoredChange) -> "Contents | None":
        """Return the contents after a change, equal to those that are read anew; None if that is quicker, or
        the change is not a small one."""
        old, written = self.columns, stored.written
        new = Columns.of(written.records, written.spans, self.shared.sources)
        gone = self._found(np.concatenate([np.array(stored.removed, np.int64), new.places]))
        kept = np.ones(len(old), bool)
        kept[gone] = False
        staying = np.flatnonzero(kept)
        order = np.concatenate([staying, np.arange(len(old), len(old) + len(new))])
        order = order[np.argsort(np.concatenate([old.places[staying], new.places]), kind="stable")]
        passages = old.passages_of(new, order)
        left = old.positions(gone)
        vectors = self.vectors.updated(passages, left, written.vectors)
        if vectors.strays > max(STRAYS, SHARE * len(passages)):
            return None
        columns = old.updated(new, order, passages)
        memory, less = _memory_of(written.records), _memory_of(old.records[gone])
        touched = np.unique(np.concatenate([old.sources[gone], new.sources]))
        own = dict(self._own)
        for code in touched.tolist():
            own.pop(code, None)
            own |= self._detected({code: columns.records[columns.sources == code]})
        after = Contents(
            columns,
            self.times.updated(Times.of(written.records), order),
            vectors,
            {
                name: index.updated(passages, left, written.spaces[name])
                for name, index in self.spaces.items()
            },
            (self.text_bytes + memory[0] - less[0], self.other_bytes + memory[1] - less[1]),
            self.shared,
            languages=own,
        )
        if any(after.language(code) != self.language(code) for code in self._own.keys() & own.keys()):
            return None
        removed = (
            (self.language(int(old.sources[index])), reading.words_of(old.document(index), old.spans(index)))
            for index in gone.tolist()
        )
        languages = [after.language(code) for code in new.sources[new.owners].tolist()]
        after._readings = self.readings.updated(
            Change(gone, order, passages),
            removed,
            reading.found_in(written.readings, new.read),
            languages,
            new.sources,
            self.shared.authors,
        )
        return after

    def _found(self, places: NDArray[np.int64]) -> Positions:
        """Return the indexes of the documents that are at these places; not every place has one."""
        indexes = np.searchsorted(self.columns.places, places)
        there = indexes < len(self.columns)
        there[there] = self.columns.places[indexes[there]] == places[there]
        return np.unique(indexes[there])

    @cached_property
    def spoken(self) -> dict[str, NDArray[np.bool_]]:
        """Languages with the passages that are in them, shape (passages,)."""
        numbers: dict[str, int] = {}
        of_source = np.zeros(len(self.shared.sources), np.int64)
        for code in self._own:
            of_source[code] = numbers.setdefault(self.language(code), len(numbers))
        of_passage = of_source[self.columns.sources][self.columns.owners]
        masks = {language: of_passage == number for language, number in numbers.items()}
        return {language: own for language, own in masks.items() if own.any()}

    def language(self, source: int) -> str:
        """Return the language (ISO 639-1) of a source, by its code: its own, or that of the profile if the
        source is too short to tell, or English if that is, too."""
        return self._own[source] or self._typical

    @cached_property
    def _own(self) -> dict[int, str | None]:
        """The language that each source tells, by its code."""
        if self._told is not None:
            return self._told
        of_source: dict[int, list[Record | Document]] = {}
        codes = self.columns.sources.tolist()
        for code, record in zip(codes, self.columns.records.tolist(), strict=True):
            of_source.setdefault(code, []).append(record)
        return self._detected(of_source)

    @cached_property
    def _typical(self) -> str:
        step = 1 + self.text_bytes // _TYPICAL
        return self._detect(self.columns.records[::step]) or ENGLISH

    def _detected(
        self, of_source: Mapping[int, Sequence[Any] | NDArray[np.object_]]
    ) -> dict[int, str | None]:
        return {code: self._detect(records) for code, records in of_source.items() if len(records)}

    def _detect(self, records: Iterable[Any]) -> str | None:
        """The language of documents, of which the first ones tell; versions of a profile share what was
        found."""
        sample: list[str] = []
        length = 0
        for record in records:
            sample.append(record.text)
            length += len(record.text) + 1
            if length > SAMPLE:
                break
        joined = "\n".join(sample)[:SAMPLE]
        key = (len(joined), hash(joined))
        known = self.shared.detected
        if key not in known:
            known[key] = detect(joined)
        return known[key]


def _memory_of(records: Iterable[Any]) -> tuple[int, int]:
    """Return the bytes that the texts of documents take in memory, and those that their other fields take."""
    each = list(records)
    texts = sum(map(sys.getsizeof, [record.text for record in each]))
    others = sum(map(sys.getsizeof, [field for record in each for field in (record.title, record.source)]))
    # The store's are JSON.
    metadata = [record.metadata for record in each]
    return texts, others + sum(
        sys.getsizeof(value) if value is None or isinstance(value, str) else _memory(value)
        for value in metadata
    )


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
