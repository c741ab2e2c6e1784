"""The readings of all documents of a profile together: its words, its copies, and its people."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from index.ranking.codes import Codes
from index.ranking.columns import Positions, objects, rearranged
from index.ranking.lexical import LexicalIndex
from index.ranking.people import Turn, votes
from index.ranking.reading import Found, turns_in
from index.text.words import forms

Votes = Mapping[str, Counter[str]]


@dataclass(frozen=True)
class Change:
    """Documents that leave a profile, and the order of those that stay and those that come."""

    gone: Positions
    """Indexes of those that leave, ascending."""
    order: Positions
    """Index of each document among the old ones and, after them, the new ones; shape (documents,)."""
    passages: Positions
    """The same of each passage."""


class Readings:
    """The readings of the documents of one version of a profile. Immutable."""

    def __init__(
        self,
        lexical: LexicalIndex,
        hashes: NDArray[np.int64],
        authors: NDArray[np.int32],
        turns: NDArray[np.object_],
        sources: NDArray[np.int32],
        votes: Votes | None = None,
    ) -> None:
        self.lexical = lexical
        self.hashes = hashes
        """Hash of each passage's normalized text, shape (passages,)."""
        self.authors = authors
        """Code of each document's authors and speakers, shape (documents,)."""
        self._turns = turns
        """Turns of each document as they are stored, shape (documents,)."""
        self._sources = sources
        """Code of each document's source, shape (documents,)."""
        self._votes = votes

    @classmethod
    def of(
        cls,
        found: Found,
        languages: Mapping[str, NDArray[np.bool_]],
        sources: NDArray[np.int32],
        codes: Codes[str],
    ) -> "Readings":
        """`languages` says which passages are in each language, shape (passages,)."""
        lexical = LexicalIndex.of_words(found.words, languages)
        return cls(lexical, found.hashes, codes.of(found.authors), objects(found.turns), sources)

    @property
    def nbytes(self) -> int:
        """Estimated memory in bytes: a document's turns take about 100, and a name's votes 400."""
        return (
            self.lexical.nbytes
            + self.hashes.nbytes
            + self.authors.nbytes
            + 100 * len(self._turns)
            + 400 * len(self._votes or ())
        )

    @property
    def votes(self) -> Votes:
        """Whom each name may mean (see people.votes). Made on first use: few questions need them."""
        if self._votes is None:
            self._votes = votes(_turns(self._turns, self._sources))
        return self._votes

    def updated(
        self,
        change: Change,
        removed: Iterable[tuple[str, Sequence[str]]],
        added: Found,
        languages: Sequence[str],
        sources: NDArray[np.int32],
        codes: Codes[str],
    ) -> "Readings":
        """Return the readings after a change, equal to those of all documents together.

        `removed` has the language and the words of the passages of each document that leaves. `languages` are
        those of the passages that come, and `sources` the codes of the documents that come.
        """
        gone = (_terms(words, language) for language, own in removed for words in own)
        come = map(_terms, added.words, languages)
        turns = objects(added.turns)
        return Readings(
            self.lexical.updated(change.passages, gone, list(come)),
            rearranged(self.hashes, added.hashes, change.passages),
            rearranged(self.authors, codes.of(added.authors), change.order),
            rearranged(self._turns, turns, change.order),
            rearranged(self._sources, sources, change.order),
            None if self._votes is None else self._votes_after(change, turns, sources),
        )

    def _votes_after(self, change: Change, turns: NDArray[np.object_], sources: NDArray[np.int32]) -> Votes:
        """The votes after a change. A vote is of two turns that follow each other, so only those change that
        stand between the documents with turns on both sides of one that leaves or comes."""
        size = len(self._turns)
        said = np.concatenate([self._turns, turns])
        codes = np.concatenate([self._sources, sources])
        stays = said.astype(bool)
        stays[change.gone] = stays[size:] = False
        staying = np.flatnonzero(stays)
        # A gap is before the document with turns that stays and has its number.
        gaps: dict[int, tuple[list[int], list[int]]] = {}
        for index in change.gone.tolist():
            gap = int(np.searchsorted(staying, index))
            gaps.setdefault(gap, ([], []))[0].append(index)
        before = np.cumsum(stays[change.order])
        for at in np.flatnonzero(change.order >= size).tolist():
            gaps.setdefault(int(before[at]), ([], []))[1].append(int(change.order[at]))
        found: dict[str, Counter[str]] = dict(self._votes or {})
        for gap, both in gaps.items():
            around = [staying[gap - 1 : gap] if gap else staying[:0], staying[gap : gap + 1]]
            first, last = (list(_turns(said[own], codes[own])) for own in around)
            was, now = (votes(chain(first[-1:], _turns(said[own], codes[own]), last[:1])) for own in both)
            for name in {*was, *now}:
                counted = Counter(found.get(name))
                counted.update(now.get(name))
                counted.subtract(was.get(name))
                # Without those that have no votes left.
                if counted := +counted:
                    found[name] = counted
                else:
                    found.pop(name, None)
        return found


def _turns(said: Iterable[str], sources: NDArray[np.int32]) -> Iterator[Turn]:
    return chain.from_iterable(map(turns_in, said, sources.tolist()))


def _terms(words: str, language: str) -> list[str]:
    """The terms of a passage's words, joined by spaces."""
    return list(chain.from_iterable(forms(words.split(), language)))
