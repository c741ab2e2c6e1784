"""Made worlds for trained retrievers, in which it is known what is useful, and whether it is what is similar.

A person has notes, each about a thing at a place ("i saw a violin at the market in lisbon"). A question names
a thing and a place as well. In the world of things, the useful notes are those about the thing, wherever that
was; notes about the same place share more words with the question, and are useless. In the world of places it
is the other way round, which is how a plain encoder ranks them anyway.

A note is useful to one question and useless to another, so no word marks the useful ones. The things, cities
and spots of the people who are held out do not occur in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from index.encoding.encoders import Encoder
from training.feedback.records import Feedback, Judged

World = Literal["things", "places"]

_PLACES, _THINGS = 3, 4

THINGS: Sequence[str] = (
    "violin trumpet flute cello drum guitar piano harp clarinet tea coffee juice wine lemonade cocoa beer "
    "cider jacket scarf sweater skirt coat shirt dress hat gloves dog cat rabbit horse goat sheep pony "
    "turtle bicycle taxi motorcycle truck scooter van lorry sofa desk wardrobe table stool cupboard "
    "tennis football hockey swimming rowing judo basketball golf boxing cricket hammer drill saw axe "
    "spade ladder apple mango cherry peach grape melon banana plum rose tulip orchid lily violet iris "
    "soup pizza curry stew pancake noodles salad ring necklace bracelet brooch pendant locket painting "
    "sculpture mural portrait sketch mosaic novel biography dictionary atlas comic laptop printer camera "
    "keyboard tablet phone"
).split()
CITIES: Sequence[str] = (
    "lisbon warsaw oslo cairo lima dublin athens prague boston seoul vienna havana madrid berlin tokyo "
    "milan geneva sydney delhi moscow toronto chicago nairobi manila helsinki brussels budapest hamburg "
    "naples seville bergen glasgow lyon porto denver austin seattle quebec osaka hanoi jakarta lagos "
    "tunis beirut tehran florence venice munich cologne zurich dallas houston miami atlanta detroit "
    "memphis dubai baghdad karachi mumbai shanghai beijing bangkok singapore melbourne perth auckland "
    "santiago bogota caracas turin"
).split()
SPOTS: Sequence[str] = (
    "harbour market station bridge museum castle library theatre tower cathedral airport square hotel "
    "park stadium university hospital factory prison temple palace beach garden church school cinema "
    "bakery bank embassy fountain lighthouse mill monastery office pier quarry reservoir shipyard tavern "
    "zoo"
).split()
NOTES: Sequence[str] = (
    "i saw a {thing} at the {place}",
    "at the {place} there was a {thing} that i remember",
    "my {thing} from the {place}",
    "that day at the {place} was about the {thing}",
)
QUESTIONS: Sequence[str] = (
    "which {thing} do i want at the {place}?",
    "at the {place}, what {thing} would suit me?",
    "tell me about a {thing} for the {place}",
)


@dataclass(frozen=True)
class Vocabulary:
    """Words of some of the people."""

    things: Sequence[str]
    cities: Sequence[str]
    spots: Sequence[str]


def vocabularies(seed: int) -> tuple[Vocabulary, Vocabulary]:
    """Split the words at random into those of training and a third that is held out."""
    random = np.random.default_rng([seed, 0])
    words = [random.permutation(each).tolist() for each in (THINGS, CITIES, SPOTS)]
    return (
        Vocabulary(*(each[len(each) // 3 :] for each in words)),
        Vocabulary(*(each[: len(each) // 3] for each in words)),
    )


def people(world: World, vocabulary: Vocabulary, count: int, random: np.random.Generator) -> list[Feedback]:
    """People with a question each, and the true utility (0 or 1) of their notes, in random order."""
    return [_person(f"{number}", world, vocabulary, random) for number in range(count)]


def _person(name: str, world: World, vocabulary: Vocabulary, random: np.random.Generator) -> Feedback:
    cities = random.choice(vocabulary.cities, _PLACES, replace=False).tolist()
    spots = random.choice(vocabulary.spots, _PLACES, replace=False).tolist()
    places = [f"{spot} in {city}" for spot, city in zip(spots, cities, strict=True)]
    things = random.choice(vocabulary.things, _THINGS, replace=False).tolist()
    notes: list[Judged] = []
    for thing in things:
        for place in places:
            if (thing, place) != (things[0], places[0]):
                useful = thing == things[0] if world == "things" else place == places[0]
                text = random.choice(NOTES).format(thing=thing, place=place)
                notes.append(Judged(str(len(notes)), text, float(useful)))
    query = random.choice(QUESTIONS).format(thing=things[0], place=places[0])
    return Feedback(name, query, tuple(notes[i] for i in random.permutation(len(notes))), name)


def with_errors(records: Sequence[Feedback], random: np.random.Generator, error: float) -> list[Feedback]:
    """Flip the utility of a share of the documents."""
    return [
        _changed(record, [abs(utility - (random.random() < error)) for utility in _utilities(record)])
        for record in records
    ]


def shuffled(records: Sequence[Feedback], random: np.random.Generator) -> list[Feedback]:
    """Deal each question's utilities out to its documents at random: nothing can be learned from that."""
    return [_changed(record, random.permutation(_utilities(record)).tolist()) for record in records]


def _utilities(record: Feedback) -> list[float]:
    return [document.utility for document in record.documents if document.utility is not None]


def _changed(record: Feedback, utilities: Sequence[float]) -> Feedback:
    pairs = zip(record.documents, utilities, strict=True)
    return replace(record, documents=tuple(replace(document, utility=value) for document, value in pairs))


def ranked(records: Sequence[Feedback], encoder: Encoder) -> list[Feedback]:
    """Put each question's documents in the order of the encoder, the most similar first."""
    queries = encoder.encode_queries([record.query for record in records])
    texts = encoder.encode_documents([document.text for record in records for document in record.documents])
    found, start = [], 0
    for record, query in zip(records, queries, strict=True):
        similar = texts[start : start + len(record.documents)] @ query
        start += len(record.documents)
        order = np.argsort(-similar, kind="stable")
        found.append(replace(record, documents=tuple(record.documents[i] for i in order)))
    return found


def utility_at_1(records: Sequence[Feedback], encoder: Encoder) -> list[float]:
    """True utility of the note that the encoder ranks first, for each person."""
    first = [record.documents[0].utility for record in ranked(records, encoder)]
    return [utility for utility in first if utility is not None]
