"""A made world in which each retriever helps with another kind of question.

Notes of people are asked about by their own words, by their meaning, by their time, or in general; whichever
retriever fits finds the note more often than the others. An answer without the note admits that it does not
know or, at times, tells of something else. People, topics, details and phrases of one part occur in no other,
and no word marks a good answer.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.selecting import render
from index.documents import Passage
from training.selector.data import Candidate, Example, PoolData
from training.selector.prediction import Retrieved

MEMBERS = ("none", "bm25", "dense", "recency")
_OWN, _OTHER, _BLIND = 0.85, 0.25, 0.05
"""Chances to find the note: of the retriever that fits, of another one, and without any passages."""
_DOCUMENTS = 8


@dataclass(frozen=True)
class Words:
    """The vocabulary of one part of the world."""

    people: Sequence[str]
    topics: Sequence[tuple[str, str]]
    """The word of a note, and another word for it."""
    details: Sequence[str]
    notes: Sequence[str]
    questions: Mapping[str, Sequence[str]]
    """By the retriever that fits."""
    answers: Sequence[str]
    unknown: Sequence[str]


LEARNED = Words(
    people="Ana Ben Cleo Dora Emil Fay Gus Hana".split(),
    topics=[
        *(("bicycle", "two-wheeler"), ("violin", "instrument"), ("sourdough", "bread"), ("kitten", "pet")),
        *(("tent", "camping shelter"), ("novel", "book"), ("sofa", "couch"), ("laptop", "computer")),
        *(("roses", "flowers"), ("sneakers", "shoes"), ("espresso", "coffee"), ("canoe", "boat")),
    ],
    details="red old heavy cheap quiet broken fast wooden".split(),
    notes=("Today the {topic} turned out to be {detail}.", "I find my {topic} rather {detail}."),
    questions={
        "bm25": ("How is my {topic}?", "Describe the {topic} that I have."),
        "dense": ("How is my {other}?", "Describe the {other} that I have."),
        "recency": ("How is my {topic} these days?", "Is the {topic} now as it used to be?"),
        "none": ("How do people choose a {topic}?", "Is a {topic} worth having in general?"),
    },
    answers=("Your {topic} is {detail}.", "It is a {detail} {topic}.", "You called the {topic} {detail}."),
    unknown=(
        "Nothing in these notes mentions it.",
        "I could not tell from the passages.",
        "Sorry, this is not something I know.",
        "The history says nothing about that.",
    ),
)
"""For training and validation, which have other people each."""
HELD_OUT = Words(
    people="Ida Jon Kim Lev Mia Noa Otto Pia".split(),
    topics=[
        *(("guitar", "music thing"), ("scooter", "vehicle"), ("parrot", "bird"), ("cabin", "hut")),
        *(("poem", "verses"), ("armchair", "seat"), ("camera", "photo device"), ("tulips", "blossoms")),
        *(("boots", "footwear"), ("green tea", "hot drink"), ("kayak", "vessel"), ("pancakes", "breakfast")),
    ],
    details="blue young light costly noisy sturdy slow golden".split(),
    notes=(
        "This week I noticed how {detail} the {topic} is.",
        "We all agree that the {topic} looks {detail}.",
    ),
    questions={
        "bm25": ("What can be said of my {topic}?", "Tell me about the {topic} of mine."),
        "dense": ("What can be said of my {other}?", "Tell me about the {other} of mine."),
        "recency": ("What became of my {topic} lately?", "Tell me how the {topic} is at present."),
        "none": ("What makes a fine {topic}?", "Why would anybody want a {topic}?"),
    },
    answers=("As you wrote, the {topic} looks {detail}.", "That {topic} seems {detail} to you."),
    unknown=(
        "There is no way for me to say.",
        "That was never written down here.",
        "Unfortunately, no information was available.",
    ),
)


@dataclass(frozen=True)
class World:
    train: PoolData
    validation: PoolData
    test: PoolData
    rankings: Mapping[str, Sequence[Retrieved]]
    """Of the test questions."""


def world(seed: int, *, train: int, validation: int, test: int) -> World:
    """A world with so many questions in its parts."""
    chance = random.Random(seed)
    rankings: dict[str, list[Retrieved]] = {}
    half = len(LEARNED.people) // 2
    parts: dict[str, PoolData] = {}
    for name, words, people, count in (
        ("train", LEARNED, LEARNED.people[:half], train),
        ("validation", LEARNED, LEARNED.people[half:], validation),
        ("test", HELD_OUT, HELD_OUT.people, test),
    ):
        examples = [_example(f"{name} {n}", words, people, chance, rankings) for n in range(count)]
        parts[name] = PoolData(MEMBERS, tuple(examples), 0, {"method": "rag"})
    return World(parts["train"], parts["validation"], parts["test"], rankings)


def _example(
    name: str,
    words: Words,
    people: Sequence[str],
    chance: random.Random,
    rankings: dict[str, list[Retrieved]],
) -> Example:
    fits = chance.choice(MEMBERS)
    (topic, other), (distracting, _) = chance.sample(words.topics, 2)
    detail, wrong = chance.sample(words.details, 2)
    question = (
        f"{chance.choice(people)}: {chance.choice(words.questions[fits]).format(topic=topic, other=other)}"
    )
    note = chance.choice(words.notes).format(topic=topic, detail=detail)
    distractor = chance.choice(words.notes).format(topic=distracting, detail=wrong)
    members, rankings[name] = {}, []
    for member in MEMBERS:
        finds = _OWN if member == fits else _BLIND if member == "none" else _OTHER
        found = chance.random() < finds
        if found:
            output = chance.choice(words.answers).format(topic=topic, detail=detail)
        elif chance.random() < 0.75:
            output = chance.choice(words.unknown)
        else:
            output = chance.choice(words.answers).format(topic=distracting, detail=wrong)
        passages = [] if member == "none" else [Passage("d", note if found else distractor)]
        score = chance.uniform(0.6, 1.0) if found else chance.uniform(0.0, 0.3)
        members[member] = Candidate(prompt=render(question, passages), output=output, score=score)
        scores = _scores(member, found, chance)
        rankings[name].append(Retrieved(scores, _DOCUMENTS, len(question.split())))
    return Example(id=name, input=question, members=members)


def _scores(member: str, found: bool, chance: random.Random) -> tuple[float, ...]:
    """The scores of a ranking, each retriever on its own scale; the note stands out a little."""
    if member == "none":
        return ()
    if member == "recency":
        return tuple(1 / rank for rank in range(1, _DOCUMENTS + 1))
    scale = {"bm25": 6.0, "dense": 0.6}[member]
    scores = sorted((chance.random() for _ in range(_DOCUMENTS)), reverse=True)
    return tuple(scale * (score + 0.2 * (found and place == 0)) for place, score in enumerate(scores))


def small_encoder(folder: Path, layers: int = 2) -> Path:
    """MiniLM's first layers, with its words: small enough to train on a CPU in seconds."""
    from transformers import AutoModel, AutoTokenizer

    from index.encoding.models import packaged_minilm

    AutoModel.from_pretrained(packaged_minilm(), num_hidden_layers=layers).save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged_minilm()).save_pretrained(folder)
    return folder
