"""People who have tastes and a manner of writing, both of which show in their histories.

A question asks for a taste. The best answer names it in the person's own manner: the word that their texts
open with, and the word that they close with. A note shows each of the two only now and then, so the manner is
known for certain only from several passages.
"""

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from index.documents import Document
from index.encoding.encoders import Vectors
from index.ranking.profile import Profile
from index.storage.loading import StoredProfile
from training.demo import world
from training.demo.world import DATES, PLACES, TIMES, TOPICS, Split

OPENINGS = tuple("well honestly right sure look listen frankly anyway".split())
CLOSINGS = tuple("indeed friend cheers really surely mate obviously truly".split())
MARKERS = frozenset(OPENINGS + CLOSINGS)
STYLES = world.STYLES[:20]
VALUES = {topic: values[:10] for topic, values in world.VALUES.items()}
WORDS = (
    tuple("i like as a went to what would it is not known begin end with".split())
    + TOPICS
    + tuple(value for topic in TOPICS for value in VALUES[topic])
    + STYLES
    + PLACES
    + TIMES
    + OPENINGS
    + CLOSINGS
)

_SHOWN = 0.6
"""Probability that a note shows the opening, and that it shows the closing."""
_VISITS, _PAST_QUESTIONS = 5, 3
_HELD_OUT_EVERY = 5


@dataclass(frozen=True)
class Manner:
    """The first and the last word of what a person writes; '' where it is unknown or left out."""

    opening: str = ""
    closing: str = ""

    def __call__(self, text: str) -> str:
        return " ".join(part for part in (self.opening, text, self.closing) if part)


@dataclass(frozen=True)
class Person:
    """A person, with the history that tells their tastes and their manner."""

    name: str
    manner: Manner
    tastes: dict[str, str]
    """Style and value, by topic."""
    notes: tuple[Document, ...]
    """The history, oldest first."""

    @property
    def history(self) -> tuple[str, ...]:
        return tuple(note.text for note in self.notes)

    def profile(self, vectors: Vectors | None = None) -> Profile:
        """Index the history as the service does. Without `vectors`, (notes, dimension), it has no meaning."""
        spans = [(number, 0, len(note.text)) for number, note in enumerate(self.notes)]
        stored = np.zeros((len(spans), 1), np.float16) if vectors is None else vectors.astype(np.float16)
        return Profile(StoredProfile(self.name, 1, list(self.notes), spans, stored))


@dataclass(frozen=True)
class Task:
    """A question about the person's own taste, and the words of the right answer, without a manner."""

    person: Person
    topic: str

    @property
    def question(self) -> str:
        return f"what {self.topic} would i like?"

    @property
    def content(self) -> str:
        return self.person.tastes[self.topic]


def person(rng: random.Random, split: Split, number: int) -> Person:
    """Draw a person. Held-out people have pairs of markers, and tastes, that no training shows."""
    manner = random_manner(rng, split)
    tastes = {topic: random_taste(rng, topic, split) for topic in TOPICS}
    texts = [f"{likes(topic)} {words}" for topic, words in tastes.items()]
    texts += [f"i went to {rng.choice(PLACES)}" for _ in range(_VISITS)]
    texts = [_shown(rng, manner)(text) for text in texts]
    texts += [f"what {rng.choice(TOPICS)} is it {rng.choice(TIMES)}?" for _ in range(_PAST_QUESTIONS)]
    rng.shuffle(texts)
    days = sorted(rng.sample(DATES, len(texts)))
    notes = tuple(
        Document(id=str(at), text=text if text.endswith("?") else f"{text}.", created_at=_moment(day))
        for at, (text, day) in enumerate(zip(texts, days, strict=True))
    )
    return Person(f"{split} {number}", manner, tastes, notes)


def people(rng: random.Random, split: Split, number: int) -> list[Person]:
    return [person(rng, split, at) for at in range(number)]


def sample_task(rng: random.Random, among: Sequence[Person]) -> Task:
    return Task(rng.choice(among), rng.choice(TOPICS))


def likes(topic: str) -> str:
    """The beginning of the sentence that tells a taste."""
    return f"i like as a {topic}"


def random_manner(rng: random.Random, split: Split = "train") -> Manner:
    """Draw a pair of markers that the split may show."""
    return Manner(*_pair(rng, split, OPENINGS, CLOSINGS))


def random_taste(rng: random.Random, topic: str, split: Split = "train") -> str:
    """Draw a pair of style and value that the split may show."""
    return " ".join(_pair(rng, split, STYLES, VALUES[topic]))


def without_manner(text: str) -> str:
    """Drop all markers from an answer or a note."""
    return " ".join(word for word in text.split() if word.removesuffix(".") not in MARKERS)


def manner_score(answer: str, manner: Manner) -> float:
    """0, 0.5 or 1: half for the person's opening as the first word, half for their closing as the last.

    0 if the answer has more markers than a manner has, so that listing them does not pay.
    """
    words = answer.split()
    if not words or sum(word in MARKERS for word in words) > 2:
        return 0.0
    return ((words[0] == manner.opening) + (words[-1] == manner.closing)) / 2


def _pair(rng: random.Random, split: Split, firsts: Sequence[str], seconds: Sequence[str]) -> tuple[str, str]:
    while True:
        first, second = rng.choice(firsts), rng.choice(seconds)
        # A hash has no pattern, so that reading is easier to learn than which pairs are missing.
        held_out = zlib.crc32(f"{first} {second}".encode()) % _HELD_OUT_EVERY == 0
        if held_out == (split == "held_out"):
            return first, second


def _shown(rng: random.Random, manner: Manner) -> Manner:
    return Manner(
        manner.opening if rng.random() < _SHOWN else "", manner.closing if rng.random() < _SHOWN else ""
    )


def _moment(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)
