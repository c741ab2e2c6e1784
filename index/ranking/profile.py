"""One user's profile in memory, indexed for ranking: a cache of the store's rows."""

import threading
from collections.abc import Callable
from datetime import date
from functools import cached_property
from typing import Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from index.documents import Document, Passage, iso
from index.errors import SpaceUnavailable
from index.ranking.columns import UNDATED
from index.ranking.contents import Contents
from index.ranking.familiarity import familiarity
from index.ranking.lexical import LexicalIndex
from index.ranking.people import addressed, named
from index.ranking.reading import hash_of, names_in
from index.ranking.vectors import VectorIndex
from index.storage.loading import StoredChange, StoredProfile
from index.storage.rows import document_of
from index.text.passages import CountTokens
from index.text.words import terms

_TELLING = 100
"""Passages of a language, spread over the profile, that tell whether the encoder knows it."""


class Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


Derived = TypeVar("Derived", bound=Sized)


class Profile:
    """Passages of one user, in order, with their indexes. Immutable and shared between requests."""

    def __init__(
        self,
        stored: StoredProfile,
        count_tokens: CountTokens | None = None,
        contents: Contents | None = None,
    ) -> None:
        """`count_tokens` is that of the encoder whose vectors are stored; without it, the encoder is taken to
        know every language. `contents` are those of `stored`, if they are there already."""
        self._count_tokens = count_tokens
        self.user = stored.user
        self.version = stored.version
        self._contents = contents or Contents.of(stored)
        self._columns = self._contents.columns
        self.vectors = self._contents.vectors
        self._derived: dict[str, Sized] = {}
        self._deriving = threading.Lock()

    def updated(self, change: StoredChange) -> "Profile | None":
        """Return the profile after a change, equal to one that is read anew; None if that is quicker."""
        contents = self._contents.updated(change)
        return Profile(change.written, self._count_tokens, contents) if contents else None

    def __len__(self) -> int:
        """The number of passages."""
        return len(self._columns.starts)

    @property
    def documents(self) -> list[Document]:
        return list(map(document_of, self._columns.records))

    @property
    def nbytes(self) -> int:
        """Estimated memory in bytes."""
        return self._contents.nbytes + sum(value.nbytes for value in tuple(self._derived.values()))

    def derived(self, name: str, make: Callable[[], Derived]) -> Derived:
        """Return the result of `make`, which is called once and kept until the profile is evicted.

        For retrievers with vectors or scores of their own; `name` is the retriever's name.
        """
        with self._deriving:
            if name not in self._derived:
                self._derived[name] = make()
            return cast(Derived, self._derived[name])

    def space(self, name: str) -> VectorIndex:
        """Return the passages' vectors in a further space. Raises SpaceUnavailable if it has none yet."""
        try:
            return self._contents.spaces[name]
        except KeyError:
            raise SpaceUnavailable(name) from None

    @property
    def spaces(self) -> frozenset[str]:
        """Names of the further spaces that the passages have vectors in."""
        return frozenset(self._contents.spaces)

    def document(self, position: int) -> Document:
        """Return the document of the passage at `position`."""
        return self._columns.document(self._columns.owners[position])

    def text(self, position: int) -> str:
        columns = self._columns
        text: str = columns.records[columns.owners[position]].text
        return text[columns.starts[position] : columns.ends[position]]

    def key(self, position: int) -> tuple[str, int]:
        columns = self._columns
        return (columns.records[columns.owners[position]].id, int(columns.starts[position]))

    def passage(self, position: int, rank: int, score: float, copies: int = 1) -> Passage:
        document = self.document(position)
        return Passage(
            document_id=document.id,
            text=self.text(position),
            start=int(self._columns.starts[position]),
            created_at=iso(document.created_at) if document.created_at else None,
            title=document.title,
            source=document.source,
            rank=rank,
            score=score,
            copies=copies,
        )

    def positions(self, document_id: str) -> list[int]:
        """Return the positions of a document's passages; empty if there is no such document."""
        index = self._by_id.get(document_id)
        return [] if index is None else self._columns.positions(np.array([index])).tolist()

    def copies(self, text: str) -> int:
        """Return how many passages have a text, without regard to case and white space."""
        return int(np.count_nonzero(self._contents.readings.hashes == hash_of(text)))

    @property
    def lexical(self) -> LexicalIndex:
        """Words of each passage, as terms of its language."""
        return self._contents.readings.lexical

    def by_language(self, score: Callable[[str], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the score of each passage, shape (passages,), by `score` of its language.

        `score` analyses a query in a language (ISO 639-1) as the passages of that language were analysed.
        """
        spoken = self._contents.spoken
        if len(spoken) == 1:
            return score(*spoken)
        scores = np.zeros(len(self), np.float32)
        for language, own in spoken.items():
            scores[own] = score(language)[own]
        return scores

    def language(self, position: int) -> str:
        """Return the language (ISO 639-1) of a passage: that of its source, or that of the profile if the
        source is too short to tell, or English if that is, too."""
        return self._contents.language(int(self._columns.sources[self._columns.owners[position]]))

    @cached_property
    def familiarity(self) -> NDArray[np.float64]:
        """Weight of similarity for each passage, shape (passages,), by how well the encoder knows its
        language (see familiarity.py)."""
        weights = np.ones(len(self))
        if self._count_tokens is None:
            return weights
        for own in self._contents.spoken.values():
            positions = np.flatnonzero(own)
            weights[own] = self._familiarity(positions[:: 1 + len(positions) // _TELLING].tolist())
        return weights

    def _familiarity(self, spread: list[int]) -> float:
        texts = [self.text(i) for i in spread]
        known, key = self._contents.shared.familiar, hash("\n".join(texts))
        if key not in known:
            assert self._count_tokens is not None
            known[key] = familiarity(texts, self._count_tokens)
        return known[key]

    @property
    def recency(self) -> NDArray[np.float64]:
        """Time of each passage in seconds since 1970, shape (passages,); -inf if unknown."""
        return self._contents.times.moments[self._columns.owners]

    @cached_property
    def days(self) -> NDArray[np.int64]:
        """Local day of each passage (`date.toordinal`), shape (passages,); UNDATED if unknown."""
        return self._contents.times.days[self._columns.owners]

    @cached_property
    def last_day(self) -> date | None:
        """Local day of the last document; None if no document has a time."""
        last = int(self.days.max(initial=UNDATED))
        return None if last == UNDATED else date.fromordinal(last)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """Group number of each passage, shape (passages,). A group is the parts of one document and of the
        documents of one source that follow it within one sitting."""
        shared = self._contents.shared.sources
        nameless = [code for code in map(shared.find, (None, "")) if code is not None]
        sources = self._columns.sources
        groups = self._contents.times.groups(sources, np.isin(sources, nameless))
        return groups[self._columns.owners]

    def authors(self, position: int) -> frozenset[str]:
        """Return authors and speakers of a passage's document, in lower case (see reading.read)."""
        code = self._contents.readings.authors[self._columns.owners[position]]
        return names_in(self._contents.shared.authors[code])

    def by(self, person: str) -> NDArray[np.bool_]:
        """Whether each passage is by a person or may be, as it has no author; shape (passages,)."""
        names = self._contents.shared.authors
        own = map(names_in, map(names.__getitem__, range(len(names))))
        theirs = np.array([not authors or person in authors for authors in own], bool)
        return theirs[self._contents.readings.authors][self._columns.owners]

    @cached_property
    def people(self) -> list[str]:
        """Authors and speakers of more than one passage, in order of first appearance."""
        codes = self._contents.readings.authors[self._columns.owners]
        names = self._contents.shared.authors
        passages = np.bincount(codes, minlength=len(names))
        first = np.zeros(len(names), np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        counts: dict[str, int] = {}
        found = np.flatnonzero(passages)
        for code in found[np.argsort(first[found])].tolist():
            for name in sorted(names_in(names[code])):
                counts[name] = counts.get(name, 0) + int(passages[code])
        return [name for name, count in counts.items() if count > 1]

    def called(self, name: str) -> str | None:
        """Return which of the `people` others call by a name; see people.addressed."""
        votes = self._contents.readings.votes.get(name)
        return addressed(name, votes, self.people) if votes else None

    def named(self, text: str) -> dict[str, set[str]]:
        """Return the `people` named in a question, with the words that name them; see people.named."""

        def known(word: str) -> bool:
            spoken = self._contents.spoken
            return any(term in self.lexical for language in spoken for term in terms(word, language))

        return named(text, self.people, self.called, known)

    @cached_property
    def _by_id(self) -> dict[str, int]:
        """Index of each document, by its id."""
        return {record.id: index for index, record in enumerate(self._columns.records)}
