"""One user's profile in memory, indexed for ranking: a cache of the store's rows."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from functools import cached_property
from itertools import chain
from typing import Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from index.documents import Document, Passage, iso
from index.errors import SpaceUnavailable
from index.ranking.familiarity import familiarity
from index.ranking.lexical import LexicalIndex, Vocabulary
from index.ranking.people import addressed, named
from index.ranking.reading import Reading
from index.ranking.vectors import VectorIndex
from index.storage.profiles import StoredProfile
from index.text.languages import ENGLISH, SAMPLE
from index.text.passages import CountTokens
from index.text.words import detect, terms

_TYPICAL = 50_000
"""Characters of a profile, spread over it, that tell the language of sources too short to tell their own."""
_TELLING = 100
"""Passages of a language, spread over the profile, that tell whether the encoder knows it."""
UNDATED = -1
"""Stands for the day of a passage without a date. No day has this ordinal."""
_SITTING = timedelta(hours=6)
"""Documents of one source with a longer gap between them are not context for each other."""


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
        before: "Profile | None" = None,
    ) -> None:
        """`count_tokens` is that of the encoder whose vectors are stored; without it, the encoder is taken to
        know every language.

        What an earlier version of the profile has read in documents that are still the same is taken over.
        """
        self._count_tokens = count_tokens
        self.user = stored.user
        self.version = stored.version
        self.documents = stored.documents
        self._spans = stored.spans
        self._digests = stored.digests
        self._vocabulary: Vocabulary = before._vocabulary if before else Vocabulary()
        # A profile that no store keeps has no digests.
        digests = stored.digests or [b""] * len(stored.documents)
        known = dict(zip(before._digests, before._readings, strict=False)) if before else {}
        self._readings: list[Reading] = [
            known.get(digest) or Reading(document, stored.parts(index))
            for index, (document, digest) in enumerate(zip(stored.documents, digests, strict=True))
        ]
        self._detected: dict[tuple[int, int], str | None] = before._detected if before else {}
        self.vectors = VectorIndex(stored.vectors)
        self._spaces = {name: VectorIndex(vectors) for name, vectors in stored.spaces.items()}
        self._text_bytes = sum(reading.text_bytes for reading in self._readings)
        self._other_bytes = sum(reading.other_bytes for reading in self._readings)
        self._derived: dict[str, Sized] = {}
        self._deriving = threading.Lock()

    def __len__(self) -> int:
        """The number of passages."""
        return len(self._spans)

    @property
    def nbytes(self) -> int:
        """Estimated memory in bytes; the lexical index takes about as much as the text."""
        vectors = sum(index.nbytes for index in (self.vectors, *self._spaces.values()))
        own = vectors + 3 * self._text_bytes + self._other_bytes + 1_000 * len(self._spans)
        return own + sum(value.nbytes for value in tuple(self._derived.values()))

    def stored(self) -> StoredProfile:
        """The rows that the profile was made of, without further spaces."""
        vectors = self.vectors.stored()
        return StoredProfile(
            self.user, self.version, self.documents, self._spans, vectors, digests=self._digests
        )

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
            return self._spaces[name]
        except KeyError:
            raise SpaceUnavailable(name) from None

    def document(self, position: int) -> Document:
        """Return the document of the passage at `position`."""
        return self.documents[self._spans[position][0]]

    def text(self, position: int) -> str:
        index, start, end = self._spans[position]
        return self.documents[index].text[start:end]

    def key(self, position: int) -> tuple[str, int]:
        index, start, _ = self._spans[position]
        return (self.documents[index].id, start)

    def passage(self, position: int, rank: int, score: float, copies: int = 1) -> Passage:
        document = self.document(position)
        return Passage(
            document_id=document.id,
            text=self.text(position),
            start=self._spans[position][1],
            created_at=iso(document.created_at) if document.created_at else None,
            title=document.title,
            source=document.source,
            rank=rank,
            score=score,
            copies=copies,
        )

    def positions(self, document_id: str) -> list[int]:
        """Return the positions of a document's passages; empty if there is no such document."""
        return self._by_document.get(document_id, [])

    @cached_property
    def copies(self) -> Mapping[int, int]:
        """How often texts that stand in the profile more than once do, by the hash of the normalized text."""
        counts = Counter(chain.from_iterable(reading.hashes for reading in self._readings))
        return {text: count for text, count in counts.items() if count > 1}

    @cached_property
    def lexical(self) -> LexicalIndex:
        """Words of each passage, as terms of its language."""
        vocabulary = self._vocabulary
        counted = (
            reading.counted(self._language_of(document), vocabulary)
            for document, reading in zip(self.documents, self._readings, strict=True)
        )
        return LexicalIndex(list(chain.from_iterable(counted)), vocabulary)

    def by_language(self, score: Callable[[str], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the score of each passage, shape (passages,), by `score` of its language.

        `score` analyses a query in a language (ISO 639-1) as the passages of that language were analysed.
        """
        if len(self._spoken) == 1:
            return score(*self._spoken)
        scores = np.zeros(len(self), np.float32)
        for language, own in self._spoken.items():
            scores[own] = score(language)[own]
        return scores

    @cached_property
    def _spoken(self) -> dict[str, NDArray[np.bool_]]:
        """Languages with the passages that are in them, shape (passages,)."""
        languages = np.array(self.languages, object)
        return {language: languages == language for language in dict.fromkeys(self.languages)}

    @cached_property
    def languages(self) -> list[str]:
        """Language (ISO 639-1) of each passage: that of its source, or that of the profile if the source is
        too short to tell, or English if that is, too."""
        of_document = [self._language_of(document) for document in self.documents]
        return [of_document[index] for index, _, _ in self._spans]

    def _language_of(self, document: Document) -> str:
        return self._of_source[document.source]

    @cached_property
    def _of_source(self) -> Mapping[str | None, str]:
        """The language of each source."""
        of_source: dict[str | None, list[str]] = {}
        for document in self.documents:
            of_source.setdefault(document.source, []).append(document.text)
        step = 1 + self._text_bytes // _TYPICAL
        typical = self._detect(document.text for document in self.documents[::step]) or ENGLISH
        return {source: self._detect(texts) or typical for source, texts in of_source.items()}

    def _detect(self, texts: Iterable[str]) -> str | None:
        """The language of texts, of which the first ones tell; versions of a profile share what was found."""
        sample: list[str] = []
        length = 0
        for text in texts:
            sample.append(text)
            length += len(text) + 1
            if length > SAMPLE:
                break
        joined = "\n".join(sample)[:SAMPLE]
        key = (len(joined), hash(joined))
        if key not in self._detected:
            self._detected[key] = detect(joined)
        return self._detected[key]

    @cached_property
    def familiarity(self) -> NDArray[np.float64]:
        """Weight of similarity for each passage, shape (passages,), by how well the encoder knows its
        language (see familiarity.py)."""
        weights = np.ones(len(self))
        if self._count_tokens is None:
            return weights
        for own in self._spoken.values():
            positions = np.flatnonzero(own)
            spread = positions[:: 1 + len(positions) // _TELLING]
            weights[own] = familiarity((self.text(i) for i in spread.tolist()), self._count_tokens)
        return weights

    @cached_property
    def recency(self) -> NDArray[np.float64]:
        """Time of each passage in seconds since 1970, shape (passages,); -inf if unknown."""
        moments = [self.document(i).created_at for i in range(len(self))]
        return np.array([moment.timestamp() if moment else -np.inf for moment in moments])

    @cached_property
    def days(self) -> NDArray[np.int64]:
        """Local day of each passage (`date.toordinal`), shape (passages,); UNDATED if unknown."""
        moments = [self.document(i).created_at for i in range(len(self))]
        return np.array([moment.toordinal() if moment else UNDATED for moment in moments], np.int64)

    @cached_property
    def last_day(self) -> date | None:
        """Local day of the last document; None if no document has a time."""
        last = int(self.days.max(initial=UNDATED))
        return None if last == UNDATED else date.fromordinal(last)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """Group number of each passage, shape (passages,). A group is the parts of one document and of the
        documents of one source that follow it within one sitting."""
        numbers: list[int] = []
        number = 0
        for i in range(len(self)):
            if i and not _together(self.document(i - 1), self.document(i)):
                number += 1
            numbers.append(number)
        return np.array(numbers, np.int64)

    @cached_property
    def authors(self) -> list[frozenset[str]]:
        """Authors and speakers of each passage's document, in lower case (see Reading.authors)."""
        return [self._readings[index].authors for index, _, _ in self._spans]

    @cached_property
    def people(self) -> list[str]:
        """Authors and speakers of more than one passage, in order of first appearance."""
        counts = Counter(chain.from_iterable(map(sorted, self.authors)))
        return [name for name, count in counts.items() if count > 1]

    @cached_property
    def _called(self) -> Mapping[str, str]:
        return addressed(chain.from_iterable(reading.turns for reading in self._readings), self.people)

    def named(self, text: str) -> dict[str, set[str]]:
        """Return the `people` named in a question, with the words that name them; see people.named."""

        def known(word: str) -> bool:
            return any(term in self.lexical for language in self._spoken for term in terms(word, language))

        return named(text, self.people, self._called, known)

    @cached_property
    def _by_document(self) -> dict[str, list[int]]:
        positions: dict[str, list[int]] = {}
        for i in range(len(self)):
            positions.setdefault(self.document(i).id, []).append(i)
        return positions


def _together(earlier: Document, later: Document) -> bool:
    if earlier is later:
        return True
    if not earlier.source or earlier.source != later.source:
        return False
    if earlier.created_at and later.created_at:
        return abs(later.created_at - earlier.created_at) <= _SITTING
    return earlier.created_at is later.created_at
