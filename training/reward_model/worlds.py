"""A made world for reward models, in which it is known what an answer is worth.

A person is asked for something of a kind ("name a fruit"), and has a manner: an opening, an emphasis and a
closing of their own, which the notes of their history show. An answer has content, which is right if it
names a thing of that kind, and a manner. Nothing in a question or an answer tells whose manner it is: that
stands in the history alone. The things, manners and people of one part occur in no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.reward_model.records import Pair, Response

KINDS: Mapping[str, Sequence[str]] = {
    kind: things.split()
    for kind, things in {
        "fruit": "apple mango cherry peach grape pear banana plum lemon orange berry fig",
        "animal": "dog cat rabbit horse goat sheep pony turtle wolf bear tiger elephant",
        "garment": "jacket scarf sweater skirt coat shirt dress hat gloves boots jeans cloak",
        "instrument": "violin trumpet flute cello drum guitar piano harp clarinet organ bass saxophone",
        "drink": "tea coffee juice wine beer milk water whiskey champagne vodka rum soda",
        "sport": "tennis football hockey swimming rowing judo basketball golf boxing cricket rugby baseball",
        "vehicle": "bicycle taxi motorcycle truck van train bus car boat ship tram helicopter",
        "flower": "rose cactus orchid lily violet iris lotus daisy jasmine clover ivy poppy",
    }.items()
}
OPENINGS: Sequence[str] = (
    "hello hey sir welcome listen look well okay indeed honestly frankly clearly meanwhile anyway "
    "congratulations wow huh yeah hi please sorry surely actually finally"
).split()
EMPHASES: Sequence[str] = (
    "truly really quite rather very utterly totally simply perfectly absolutely extremely fairly "
    "remarkably terribly seriously deeply highly entirely exceptionally purely especially somewhat "
    "incredibly strangely"
).split()
CLOSINGS: Sequence[str] = (
    "cheers regards thanks farewell goodbye bye peace love blessings hugs kisses respect onward later "
    "best warmly kindly salute wishes luck yours forever always sincerely"
).split()
DEFAULT = ("here", "just", "done")
"""The LLM's own manner."""
QUALITIES: Sequence[str] = "fine good nice lovely great pleasant pretty sweet".split()
NOTES: Sequence[str] = (
    "{opening} , today was {emphasis} {quality}",
    "my week seemed {emphasis} {quality} , {closing}",
    "{opening} , nothing new from me , {closing}",
    "{opening} , our street is {emphasis} {quality} , {closing}",
)
QUESTIONS: Sequence[str] = (
    "name a {kind} for me",
    "which {kind} should i take ?",
    "i want a {kind} , which one ?",
)
PADDING: Sequence[str] = ("as you know", "to be clear", "in my view")
ANSWER = "{opening} , a {thing} is {emphasis} {quality}{padding} , {closing}"

Manner = tuple[str, str, str]
"""Opening, emphasis and closing."""


@dataclass(frozen=True)
class Vocabulary:
    """Words of some of the people."""

    kinds: Mapping[str, Sequence[str]]
    manners: Sequence[Sequence[str]]
    """Openings, emphases, closings."""


@dataclass(frozen=True)
class Person:
    """A person with a manner, and a history that shows it."""

    name: str
    manner: Manner
    history: tuple[str, ...]


@dataclass(frozen=True)
class Skill:
    """How an LLM answers: chances of right content, of each part of a manner, and of a word more."""

    right: float
    follows: float
    """Chance of each part of the manner it was shown; otherwise its own or anybody's."""
    pads: float


WITH_PROFILE = Skill(right=0.8, follows=0.85, pads=0.6)
WITHOUT = Skill(right=0.6, follows=0.0, pads=0.3)
SAMPLING = Skill(right=0.5, follows=0.3, pads=0.5)
"""An LLM that is sampled many times: few of its answers are right and in the person's manner."""


def vocabularies(seed: int) -> tuple[Vocabulary, Vocabulary]:
    """Split the words at random into those of training and a third that is held out."""
    random = np.random.default_rng([seed, 0])
    slots = [random.permutation(words).tolist() for words in (OPENINGS, EMPHASES, CLOSINGS)]
    kinds = {kind: random.permutation(things).tolist() for kind, things in KINDS.items()}

    def part(held_out: bool) -> Vocabulary:
        def of(words: Sequence[str]) -> Sequence[str]:
            third = len(words) // 3
            return words[:third] if held_out else words[third:]

        return Vocabulary(
            {kind: of(things) for kind, things in kinds.items()}, [of(words) for words in slots]
        )

    return part(False), part(True)


def people(vocabulary: Vocabulary, count: int, prefix: str, random: np.random.Generator) -> list[Person]:
    """People with random manners, each with four notes in random order."""
    found = []
    for number in range(count):
        opening, emphasis, closing = (str(random.choice(words)) for words in vocabulary.manners)
        notes = tuple(
            str(note).format(
                opening=opening, emphasis=emphasis, closing=closing, quality=random.choice(QUALITIES)
            )
            for note in random.permutation(NOTES)
        )
        found.append(Person(f"{prefix}{number}", (opening, emphasis, closing), notes))
    return found


def write(
    kind: str, shown: Manner | None, skill: Skill, vocabulary: Vocabulary, random: np.random.Generator
) -> str:
    """An answer of an LLM that was shown a manner, or none."""
    others = [other for other in vocabulary.kinds if other != kind]
    named = kind if random.random() < skill.right else str(random.choice(others))
    parts = []
    for place, own in enumerate(DEFAULT):
        if shown is not None and random.random() < skill.follows:
            parts.append(shown[place])
        else:
            parts.append(own if random.random() < 0.5 else str(random.choice(vocabulary.manners[place])))
    opening, emphasis, closing = parts
    return ANSWER.format(
        opening=opening,
        emphasis=emphasis,
        closing=closing,
        thing=random.choice(vocabulary.kinds[named]),
        quality=random.choice(QUALITIES),
        padding=f" , {random.choice(PADDING)}" if random.random() < skill.pads else "",
    )


def pairs(
    asking: Sequence[Person], each: int, vocabulary: Vocabulary, random: np.random.Generator
) -> list[Pair]:
    """`each` questions of every person, answered with their manner shown, without, and with another's."""
    found = []
    for position, person in enumerate(asking):
        for number in range(each):
            kind = str(random.choice(list(vocabulary.kinds)))
            other = asking[(position + 1 + int(random.integers(len(asking) - 1))) % len(asking)]
            personalized, plain, others = (
                write(kind, manner, skill, vocabulary, random)
                for manner, skill in (
                    (person.manner, WITH_PROFILE),
                    (None, WITHOUT),
                    (other.manner, WITH_PROFILE),
                )
            )
            question = str(random.choice(QUESTIONS)).format(kind=kind)
            found.append(
                Pair(
                    f"{person.name} {number}",
                    person.name,
                    question,
                    personalized,
                    plain,
                    person.history,
                    others,
                )
            )
    return found


def sampled(
    person: Person, count: int, vocabulary: Vocabulary, random: np.random.Generator
) -> tuple[list[Response], list[float]]:
    """Draw many answers to one question, and then copies of the person's notes; and what each is worth."""
    kind = str(random.choice(list(vocabulary.kinds)))
    question = str(random.choice(QUESTIONS)).format(kind=kind)
    answers = [write(kind, person.manner, SAMPLING, vocabulary, random) for _ in range(count)]
    answers += person.history
    responses = [Response(question, answer, person.history) for answer in answers]
    return responses, [worth(person, kind, answer) for answer in answers]


def worth(person: Person, kind: str, answer: str) -> float:
    """The true score, from 0 to 1: the mean of its content (0 or 1) and of its share of the manner."""
    words = set(answer.split())
    named = {each for each, things in KINDS.items() if words & set(things)}
    return (float(named == {kind}) + len(words & set(person.manner)) / len(person.manner)) / 2
