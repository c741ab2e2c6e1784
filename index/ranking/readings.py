"""Readings of all documents of a profile together: its words, its copies, and its people."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.ranking.codes import Codes
from index.ranking.columns import Positions, objects, rearranged
from index.ranking.lexical import LexicalIndex
from index.ranking.people import votes
from index.ranking.reading import Reading, authors
from index.text.words import forms

Votes = Mapping[str, Counter[str]]


@dataclass(frozen=True)
class Change:
    """Documents that leave and come: their indexes in the old order, and what was read in the new ones."""

    gone: Positions
    order: Positions
    """Index of each document among the old ones and, after them, the new ones; shape (documents,)."""
    passages: Positions
    """The same of each passage."""


@dataclass(frozen=True)
class Readings:
    """What was read in the documents of one version of a profile."""

    lexical: LexicalIndex
    hashes: NDArray[np.int64]
    """Hash of each passage's normalized text, shape (passages,)."""
    authors: NDArray[np.int32]
    """Code of each document's authors and speakers, shape (documents,)."""
    turns: NDArray[np.object_]
    """Tuple of each document's turns, shape (documents,)."""
    talks: NDArray[np.bool_]
    """Whether a document has turns, shape (documents,)."""
    votes: Votes
    """Whom each name may mean; see people.votes."""

    @classmethod
    def of(
        cls,
        documents: Sequence[Any],
        readings: Sequence[Reading],
        languages: Mapping[str, NDArray[np.bool_]],
        codes: Codes[frozenset[str]],
    ) -> "Readings":
        """`languages` says which passages are in each language, shape (passages,)."""
        words = [passage for reading in readings for passage in reading.words]
        turns = [reading.turns for reading in readings]
        return cls(
            LexicalIndex.of_words(words, languages),
            np.array([each for reading in readings for each in reading.hashes], np.int64),
            codes.of(map(authors, documents, turns)),
            objects(turns),
            np.array([bool(own) for own in turns], bool),
            votes(chain.from_iterable(turns)),
        )

    @property
    def nbytes(self) -> int:
        """Memory in bytes; a document's turn takes about 150, and a name's votes 400."""
        return self.lexical.nbytes + self.hashes.nbytes + 160 * len(self.turns) + 400 * len(self.votes)

    def updated(
        self,
        change: Change,
        removed: Sequence[tuple[str, Sequence[str]]],
        documents: Sequence[Any],
        added: Sequence[tuple[str, Reading]],
        codes: Codes[frozenset[str]],
    ) -> "Readings":
        """Return the readings after a change, equal to those of all documents together.

        `removed` has the language and the words of the passages of each document that is gone, `added` the
        language and the reading of each of the new `documents`.
        """
        turns = [reading.turns for _, reading in added]
        new = (
            np.array([each for _, reading in added for each in reading.hashes], np.int64),
            codes.of(map(authors, documents, turns)),
            objects(turns),
            np.array([bool(own) for own in turns], bool),
        )
        return Readings(
            self.lexical.updated(
                change.passages,
                _terms(removed),
                list(_terms((language, reading.words) for language, reading in added)),
            ),
            rearranged(self.hashes, new[0], change.passages),
            rearranged(self.authors, new[1], change.order),
            rearranged(self.turns, new[2], change.order),
            rearranged(self.talks, new[3], change.order),
            self._votes(change, new[2]),
        )

    def _votes(self, change: Change, new: NDArray[np.object_]) -> Votes:
        """The votes after a change. A vote is of two turns that follow each other, so only those change that
        stand between the documents with turns on both sides of one that is gone or new."""
        size = len(self.turns)
        kept = np.ones(size, bool)
        kept[change.gone] = False
        both = np.concatenate([self.turns, new])
        staying = np.flatnonzero(self.talks & kept)
        is_new = change.order >= size
        stays = np.zeros(size + len(new), bool)
        stays[staying] = True
        # A gap is before the documents with turns that stay, and has their number.
        gaps: dict[int, tuple[list[int], list[int]]] = {}
        for index in np.sort(change.gone).tolist():
            gap = int(np.searchsorted(staying, index))
            gaps.setdefault(gap, ([], []))[0].append(index)
        before = np.cumsum(stays[change.order])
        for at in np.flatnonzero(is_new).tolist():
            gaps.setdefault(int(before[at]), ([], []))[1].append(int(change.order[at]))
        found: dict[str, Counter[str]] = dict(self.votes)
        for gap, (old, added) in gaps.items():
            first = both[staying[gap - 1]][-1:] if gap else ()
            last = both[staying[gap]][:1] if gap < len(staying) else ()
            was, now = (
                votes(chain(first, *(both[index] for index in indexes), last)) for indexes in (old, added)
            )
            for name in {*was, *now}:
                counted = Counter(found.get(name))
                counted.update(now.get(name, {}))
                counted.subtract(was.get(name, {}))
                if counted := +counted:
                    found[name] = counted
                else:
                    found.pop(name, None)
        return found


def _terms(passages: Iterable[tuple[str, Sequence[str]]]) -> Iterator[list[str]]:
    """Yield the terms of each passage of documents, by their language and their passages' words."""
    for language, words in passages:
        for passage in words:
            yield list(chain.from_iterable(forms(passage.split(), language)))
