"""Fills a person's hand-written notes up to a profile with everyday notes, seeded by the person's name.

Only `Random.random` is used: it alone is guaranteed to give the same numbers in every version of Python.
"""

import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from training.tasks.sample.material import Note, Person, Topic

SEED = 7
FOLLOWED, ENDED = 0.65, 0.4
"""Probabilities that an everyday note continues after its first line, and that it has a last line."""
OPENED, CLOSED = 0.25, 0.12
"""Probabilities that a note begins and ends in the person's own way."""


@dataclass(frozen=True)
class Item:
    """A note with its id in the profile."""

    id: str
    note: Note


def profile(person: Person) -> tuple[Item, ...]:
    """All `person.size` notes of a person, hand-written and everyday ones mixed."""
    draw = Random(f"{SEED} {person.name}")
    notes = {note.text: note for note in person.notes}
    everyday = _everyday(person, draw)
    while len(notes) < person.size:
        note = next(everyday)
        notes.setdefault(note.text, note)
    mixed = sorted((draw.random(), text) for text in notes)
    return tuple(Item(f"{person.name}-{number:03}", notes[text]) for number, (_, text) in enumerate(mixed, 1))


def _everyday(person: Person, draw: Random) -> Iterator[Note]:
    """Yield notes endlessly: each topic once per round (the person's own twice), its lines in turn."""
    used: Counter[str] = Counter()

    def pick(lines: Sequence[str]) -> str:
        """Draw one of the least used lines."""
        least = min(used[line] for line in lines)
        line = _any([line for line in lines if used[line] == least], draw)
        used[line] += 1
        return line

    def note(topic: Topic) -> Note:
        lines = [pick(topic.first)]
        if draw.random() < FOLLOWED:
            lines.append(pick(topic.then))
        if draw.random() < ENDED:
            lines.append(pick(topic.last))
        sentences = [_capital(_fill(line, person, draw)) for line in lines]
        opener = _any(person.voice.openers, draw) if draw.random() < OPENED else ""
        closer = _any(person.voice.closers, draw) if draw.random() < CLOSED else ""
        text = " ".join(part for part in (opener, *sentences, closer) if part)
        return Note(text.lower() if person.voice.lowercase else text, topic.category)

    while True:
        round_ = [
            (draw.random(), topic) for topic in (*person.topics, *person.own_topics, *person.own_topics)
        ]
        for _, topic in sorted(round_, key=lambda drawn: drawn[0]):
            yield note(topic)


def _fill(line: str, person: Person, draw: Random) -> str:
    """Fill the slots of a line, each with different words."""
    parts: list[str] = []
    taken: set[str] = set()
    for text, slot, _, _ in string.Formatter().parse(line):
        parts.append(text)
        if slot:
            value = _any([value for value in person.slots[slot] if value not in taken] or [""], draw)
            taken.add(value)
            parts.append(value)
    return "".join(parts)


def _any(items: Sequence[str], draw: Random) -> str:
    return items[int(draw.random() * len(items))]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
