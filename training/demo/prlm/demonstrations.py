"""Data for the warm start: a reader who finds the content, and only sometimes takes on the person's manner.

Both of the methods that read copy the manner equally often, so they start out as good as each other. `prlm`
also writes it down in the thought, before the answer.
"""

import random
from collections.abc import Iterator, Sequence
from functools import partial

from agent.methods import METHODS
from index.documents import Document, Passage, iso
from training.demo.prlm.people import (
    Manner,
    Person,
    Task,
    likes,
    random_manner,
    random_taste,
    sample_task,
    without_manner,
)
from training.demo.prlm.rollout import LIMITS, NONE, PRLM, RAG
from training.demo.trainer import Sample, sample_from
from training.demo.vocabulary import END_OF_QUESTION, QUESTION, Vocabulary
from training.demo.world import TOPICS

_OWN, _ANY = 0.35, 0.15
"""Probabilities that an answer with passages is in the person's manner, as far as the passages show it, and
in a manner drawn at random. The others have none."""
_ANY_WITHOUT = 0.3
"""Probability that an answer without passages has a manner drawn at random."""
_QUESTIONS = 6
"""Questions about the same passages, so that each row teaches more reading."""
_KNOWN = 0.85
"""Probability that a question is one that the passages answer, if they answer any."""
_WITHOUT, _RAG = 0.12, 0.44
"""Fractions of the rows that are answered by the methods."""


def demonstration(
    rng: random.Random, people: Sequence[Person], vocabulary: Vocabulary, most: int = LIMITS.max_documents
) -> Sample:
    """Sample a person, up to `most` of their notes, and questions with their thoughts and answers."""
    task = sample_task(rng, people)
    drawn = rng.random()
    method = NONE if drawn < _WITHOUT else RAG if drawn < _WITHOUT + _RAG else PRLM
    episode = METHODS[method].begin(task.question, LIMITS)
    read: list[Document] = []
    if METHODS[method].reads:
        read = _read(rng, task, rng.randint(1, most))
        episode.provide(_passage(note) for note in read)
    turn = partial(_turn, rng, person=task.person, read=read, method=method)
    pieces = [(episode.prompt, False), (turn(task.topic), True)]
    for _ in range(_QUESTIONS - 1):
        topic = rng.choice((rng.random() < _KNOWN and _told(read)) or TOPICS)
        asked = Task(task.person, topic).question
        pieces.append((f"{END_OF_QUESTION}{QUESTION} {asked}{END_OF_QUESTION}", False))
        pieces.append((turn(topic), True))
    return sample_from(pieces, vocabulary)


def _read(rng: random.Random, task: Task, number: int) -> list[Document]:
    """Draw notes of the person, mostly with the one that answers."""
    notes = rng.sample(task.person.notes, number)
    if task.topic not in _told(notes) and rng.random() < _KNOWN:
        notes[rng.randrange(number)] = next(
            note for note in task.person.notes if _told([note]) == [task.topic]
        )
    return notes


def _told(notes: Sequence[Document]) -> list[str]:
    """Topics whose taste the notes tell."""
    return [topic for topic in TOPICS if any(_plain(note).startswith(likes(topic)) for note in notes)]


def _turn(rng: random.Random, topic: str, *, person: Person, read: Sequence[Document], method: str) -> str:
    fact = f"{likes(topic)} "
    known = [text for text in map(_plain, read) if text.startswith(fact)]
    thought = f"{known[0]}." if known else "it is not known."
    words = known[0].removeprefix(fact) if known else random_taste(rng, topic)
    manner = _manner(rng, person, read)
    if method == PRLM:
        thought = " ".join([thought, *_stated(manner)])
    return f"<think> {thought}</think><answer> {manner(words)}</answer>"


def _manner(rng: random.Random, person: Person, read: Sequence[Document]) -> Manner:
    drawn = rng.random()
    if not read:
        return random_manner(rng) if drawn < _ANY_WITHOUT else Manner()
    if drawn < _OWN:
        shown = {word for note in read for word in note.text.removesuffix(".").split()}
        opening, closing = person.manner.opening, person.manner.closing
        return Manner(opening if opening in shown else "", closing if closing in shown else "")
    return random_manner(rng) if drawn < _OWN + _ANY else Manner()


def _stated(manner: Manner) -> Iterator[str]:
    if manner.opening:
        yield f"i begin with {manner.opening}."
    if manner.closing:
        yield f"i end with {manner.closing}."


def _plain(note: Document) -> str:
    return without_manner(note.text).removesuffix(".")


def _passage(note: Document) -> Passage:
    return Passage(note.id, note.text, created_at=iso(note.created_at) if note.created_at else None)
