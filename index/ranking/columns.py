"""The documents of a profile and their passages as columns: an array for each of their properties."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from index.documents import Document
from index.ranking.codes import Codes
from index.ranking.reading import read
from index.storage.rows import Record, document_of, moment_of

UNDATED = -1
"""Stands for the day of a passage without a date. No day has this ordinal."""
_SITTING = 6 * 3_600
"""Documents of one source with a longer gap between them, in seconds, are not context for each other."""
Positions = NDArray[np.int64]
Column = TypeVar("Column", bound=np.generic)


def objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """Return an array with these values as they are, shape (values,)."""
    return np.fromiter(values, object, len(values))


def rearranged(old: NDArray[Column], new: NDArray[Column], order: Positions) -> NDArray[Column]:
    """Return values of `old`, and after them of `new`, in an order."""
    return np.concatenate([old, new])[order]


@dataclass(frozen=True)
class Columns:
    """Documents in order, shape (documents,), and the ends of their passages, shape (passages,)."""

    records: NDArray[np.object_]
    """Records of the store, or documents."""
    places: NDArray[np.int64]
    """Position of each document in the store, ascending and never used for another document."""
    sources: NDArray[np.int32]
    """Code of each document's source."""
    sizes: NDArray[np.int64]
    """Number of each document's passages."""
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        records: Sequence[Record | Document],
        spans: Sequence[tuple[int, int, int]],
        sources: Codes[str | None],
    ) -> "Columns":
        """`spans` are (index into records, start, end) of each passage, in order."""
        columns = np.array(spans, np.int32).reshape(-1, 3).T
        places = [
            record.position if isinstance(record, Record) else index for index, record in enumerate(records)
        ]
        return cls(
            objects(records),
            np.array(places, np.int64),
            sources.of(record.source for record in records),
            np.bincount(columns[0], minlength=len(records)),
            columns[1].copy(),
            columns[2].copy(),
        )

    def __len__(self) -> int:
        return len(self.records)

    def updated(self, new: "Columns", order: Positions, passages: Positions) -> "Columns":
        """Return these documents and the `new` ones after them in an order, some of them left out.

        `passages` is what `passages_of` returns.
        """
        return Columns(
            rearranged(self.records, new.records, order),
            rearranged(self.places, new.places, order),
            rearranged(self.sources, new.sources, order),
            rearranged(self.sizes, new.sizes, order),
            rearranged(self.starts, new.starts, passages),
            rearranged(self.ends, new.ends, passages),
        )

    def passages_of(self, new: "Columns", order: Positions) -> Positions:
        """Return where the passages of the documents stand among all, those of the `new` ones last."""
        sizes = np.concatenate([self.sizes, new.sizes])
        firsts = np.cumsum(sizes) - sizes
        return passages_at(firsts[order], sizes[order])

    @cached_property
    def firsts(self) -> Positions:
        """Position of each document's first passage."""
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def owners(self) -> Positions:
        """Index of each passage's document, shape (passages,)."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def positions(self, indexes: Positions) -> Positions:
        """Return the positions of the passages of documents."""
        return passages_at(self.firsts[indexes], self.sizes[indexes])

    def document(self, index: int) -> Document:
        return document_of(self.records[index])

    def read(self, index: int) -> bytes:
        """Read a document; see index.ranking.reading."""
        return read(self.document(index), self.spans(index))

    def spans(self, index: int) -> list[tuple[int, int]]:
        """Return (start, end) of each passage of a document."""
        own = slice(self.firsts[index], self.firsts[index] + self.sizes[index])
        return list(zip(self.starts[own].tolist(), self.ends[own].tolist(), strict=True))


@dataclass(frozen=True)
class Times:
    """Times of documents, shape (documents,)."""

    moments: NDArray[np.float64]
    """Seconds since 1970; -inf if unknown."""
    days: NDArray[np.int64]
    """Local day (`date.toordinal`); UNDATED if unknown."""

    @classmethod
    def of(cls, records: Sequence[Record | Document]) -> "Times":
        times = [moment_of(record.created_at) for record in records]
        return cls(
            np.array([time.timestamp() if time else -np.inf for time in times], np.float64),
            np.array([time.toordinal() if time else UNDATED for time in times], np.int64),
        )

    def updated(self, new: "Times", order: Positions) -> "Times":
        return Times(rearranged(self.moments, new.moments, order), rearranged(self.days, new.days, order))

    def groups(self, sources: NDArray[np.int32], nameless: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Number the groups of documents: those of one source that follow each other within one sitting.

        A document of a `nameless` source is alone.
        """
        earlier, later = self.moments[:-1], self.moments[1:]
        dated = np.isfinite(self.moments)
        with np.errstate(invalid="ignore"):
            near = np.abs(later - earlier) <= _SITTING
        near = np.where(dated[1:] & dated[:-1], near, dated[1:] == dated[:-1])
        together = near & (sources[1:] == sources[:-1]) & ~nameless[1:]
        return np.concatenate([np.zeros(min(1, len(dated)), np.int64), np.cumsum(~together)])


def passages_at(firsts: Positions, sizes: Positions) -> Positions:
    """Return `sizes` positions from each of `firsts` on, one after the other."""
    ends = np.cumsum(sizes)
    return np.repeat(firsts - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)
