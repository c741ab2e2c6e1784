"""Reads the sample's hand-written material: one TOML file per person, and `everyday.toml` for all.

A person's file holds `about` (for readers of the file only), `size` (the number of notes in the profile),
`own` (notes that no question needs), `without` (everyday topics that do not fit the person),
`[notes.CATEGORY]` (notes by key: those that questions need, and some that merely share words with one),
`[[questions]]`, `[[topics]]` of the person's own, and `[voice]` and `[slots]` for generated notes. In a
question, `narrative` is a list of sentences; an aspect refers to its evidence by the sentence's number, from
1, and to the notes that support it by their keys.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

CATEGORIES = {
    "art": "Art_and_Entertainment",
    "life": "Lifestyle_and_Personal_Development",
    "society": "Society_and_Culture",
}
"""LaMP-QA's category names, by their short names in the files."""

_FOLDER = files("training.tasks.sample")
_EVERYDAY = "everyday.toml"


@dataclass(frozen=True)
class Note:
    text: str
    category: str
    key: str | None = None
    """Its name in aspects; None for a note that no question needs."""


@dataclass(frozen=True)
class Aspect:
    """One thing that a good answer covers, and the keys of the notes that it rests on."""

    aspect: str
    reason: str
    evidence: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    id: str
    text: str
    category: str
    narrative: tuple[str, ...]
    """As sentences."""
    aspects: tuple[Aspect, ...]


@dataclass(frozen=True)
class Topic:
    """The lines of an everyday note: one of `first`, perhaps one of `then`, perhaps one of `last`."""

    name: str
    category: str
    first: tuple[str, ...]
    then: tuple[str, ...]
    last: tuple[str, ...]


@dataclass(frozen=True)
class Voice:
    """How a person's everyday notes sometimes begin and end, and whether they use capitals."""

    openers: tuple[str, ...]
    closers: tuple[str, ...]
    lowercase: bool


@dataclass(frozen=True)
class Person:
    name: str
    size: int
    notes: tuple[Note, ...]
    questions: tuple[Question, ...]
    own_topics: tuple[Topic, ...]
    topics: tuple[Topic, ...]
    """The everyday topics, without those that do not fit this person."""
    slots: Mapping[str, tuple[str, ...]]
    voice: Voice


@cache
def people() -> tuple[Person, ...]:
    """All people, sorted by name. Raises KeyError or IndexError if a file is incomplete."""
    everyday = _read(_EVERYDAY)
    names = sorted(
        entry.name for entry in _FOLDER.iterdir() if entry.name.endswith(".toml") and entry.name != _EVERYDAY
    )
    return tuple(_person(name.removesuffix(".toml"), _read(name), everyday) for name in names)


def _person(name: str, data: Mapping[str, Any], everyday: Mapping[str, Any]) -> Person:
    keyed = [
        Note(text, category, key) for category in CATEGORIES for key, text in data["notes"][category].items()
    ]
    own = [Note(text, "life") for text in data["own"]]
    slots = {key: tuple(values) for key, values in (everyday["slots"] | data["slots"]).items()}
    without = data.get("without", [])
    return Person(
        name=name,
        size=data["size"],
        notes=(*keyed, *own),
        questions=tuple(_question(name, question) for question in data["questions"]),
        own_topics=tuple(_topic(topic) for topic in data.get("topics", [])),
        topics=tuple(_topic(topic) for topic in everyday["topics"] if topic["name"] not in without),
        slots=slots,
        voice=Voice(
            tuple(data["voice"]["openers"]),
            tuple(data["voice"]["closers"]),
            data["voice"].get("lowercase", False),
        ),
    )


def _question(name: str, data: Mapping[str, Any]) -> Question:
    narrative = tuple(data["narrative"])
    aspects = tuple(
        Aspect(aspect["aspect"], aspect["reason"], narrative[aspect["evidence"] - 1], tuple(aspect["notes"]))
        for aspect in data["aspects"]
    )
    return Question(f"{name}-{data['category']}", data["ask"], data["category"], narrative, aspects)


def _topic(data: Mapping[str, Any]) -> Topic:
    return Topic(
        data["name"], data["category"], tuple(data["first"]), tuple(data["then"]), tuple(data["last"])
    )


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / name).read_text("utf-8"))
