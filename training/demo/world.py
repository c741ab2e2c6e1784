"""A made-up world of people, tastes and histories, in which the searches that a question needs are known.

A question needs up to three searches, each for a name that the previous one found: none (a sum), one (the
person's own taste), two (the sister's taste, whose name is found first), three (the taste of the sister's
boss). Histories hold the facts and distractors: earlier questions, which share more words but answer nothing.
"""

import random
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.trajectory import Search
from index.documents import Passage
from index.ranking.lexical import LexicalIndex
from index.text.words import terms
from training.tasks.lampqa.data import Aspect, Question

Split = Literal["train", "held_out"]

FIRST_NAMES = tuple(
    """ada amir anna anton bela boris carla cem clara dana david dora edda elias emil enzo erik eva felix
    finn flora frida georg gita greta hanna hugo ida igor ines irma ivan jana joel jonas julia karim karl
    kira lara lena leon linus lola luis maria mara mats milan mina nadia nora omar oscar otto paula pedro
    petra rosa samir sofia tom vera yusuf""".split()
)
LAST_NAMES = tuple("moss falk lind berg stone reed".split())
NAMES = tuple(f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES)
"""Names of two tokens, neither of which identifies a person alone."""
RELATIONS = tuple("sister brother mother father boss neighbor friend coach".split())
VALUES = {
    "snack": tuple(
        """kelp nuts olives crackers dates cheese plums popcorn seeds figs bread radishes apples berries
        carrots waffles pretzels raisins cherries melons""".split()
    ),
    "drink": tuple(
        """tea cocoa coffee cider lemonade milk juice kefir broth punch water ayran mead soda nectar smoothies
        espresso lassi horchata kombucha""".split()
    ),
    "flower": tuple(
        """roses tulips lilies asters daisies irises peonies poppies violets orchids ivy ferns crocuses
        dahlias lavender jasmine heather pansies begonias lotus""".split()
    ),
    "game": tuple(
        """chess darts bridge bowling golf tennis rummy dominoes checkers hockey polo bingo squash badminton
        marbles cricket rugby poker backgammon go""".split()
    ),
}
TOPICS = tuple(VALUES)
STYLES = tuple(
    """salted warm cheap fancy local green wild sweet classic simple rare bright dark fresh strange quick
    gentle russian danish old modern quiet giant tiny cold red blue white spicy soft loud slow young french
    greek indian golden silver heavy plain""".split()
)
NUMBERS = tuple("zero one two three four five six seven eight nine ten eleven twelve".split())
PLACES = tuple("oslo paris rome cairo lima quito delhi kyoto perth turin malmo porto".split())
TIMES = tuple("today tonight tomorrow later".split())
FUNCTION_WORDS = tuple(
    "for a i my me the of is was what would like likes called went to plus it about not known sum".split()
)
WORDS = (
    FUNCTION_WORDS
    + FIRST_NAMES
    + LAST_NAMES
    + RELATIONS
    + TOPICS
    + tuple(value for topic in TOPICS for value in VALUES[topic])
    + STYLES
    + NUMBERS
    + PLACES
    + TIMES
)
DATES = tuple(f"{year}-{month:02}-01" for year in (2024, 2025) for month in range(1, 13))

_RELATIVES, _KNOWN_TOPICS = 3, 3
_HELD_OUT_EVERY = 5
_PAST_QUESTIONS = (0, 1, 2, 4)
_VISITS = 4
_SUMMANDS = 7


@dataclass(frozen=True)
class Fact:
    """A document that answers a question, and the query that finds it."""

    text: str
    query: str


@dataclass(frozen=True)
class Task:
    """One person's question, and the facts that lead to its answer, in the order of the searches."""

    question: Question
    user: "User"
    path: tuple[Fact, ...]
    evidence: str
    """The sentence that contains the answer."""
    answer: str
    topic: str = ""

    @property
    def hops(self) -> int:
        return len(self.path)


class User:
    """A person: their relations, everyone's tastes, and the history that states them."""

    def __init__(self, rng: random.Random, split: Split) -> None:
        self.split = split
        names = rng.sample(NAMES, len(NAMES))
        self.relatives: dict[str, str] = {}
        """Name by relation to the person."""
        for relation in rng.sample(RELATIONS, _RELATIVES):
            self.relatives[relation] = _take(names, relation, split)
        self.seconds: dict[str, tuple[str, str]] = {}
        """A relation of each relative, and the name of the other person."""
        # The same relation for all, so that only the relative's name says whose boss is meant.
        relation = rng.choice(RELATIONS)
        for name in self.relatives.values():
            self.seconds[name] = (relation, _take(names, relation, split))
        people = ["i", *self.relatives.values(), *(name for _, name in self.seconds.values())]
        self.tastes = {
            (who, topic): taste(rng, topic, split)
            for who in people
            for topic in rng.sample(TOPICS, _KNOWN_TOPICS)
        }
        """Style and value by person and topic."""
        self.passages = self._history(rng)
        self._index = LexicalIndex.of_terms(terms(passage.text) for passage in self.passages)

    async def search(self, one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
        """An agent.driver.Searcher with the service's own BM25; the earlier document wins a tie."""
        scores = self._index.scores(terms(one.query))
        ranked = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
        found = (self.passages[number] for number in ranked if scores[number] > 0)
        return [passage for passage in found if passage.key not in exclude][:k]

    def _history(self, rng: random.Random) -> tuple[Passage, ...]:
        texts = [taste_fact(who, topic, words).text for (who, topic), words in self.tastes.items()]
        for relation, relative in self.relatives.items():
            second, other = self.seconds[relative]
            texts += [relation_fact(relation, relative).text, second_fact(second, relative, other).text]
        whos = ("i", *(f"my {relation}" for relation in self.relatives))
        texts += [
            f" what {rng.choice(TOPICS)} would {rng.choice(whos)} like {rng.choice(TIMES)}?"
            for _ in range(rng.choice(_PAST_QUESTIONS))
        ]
        texts += [f" {rng.choice(whos)} went to {rng.choice(PLACES)}." for _ in range(_VISITS)]
        rng.shuffle(texts)
        dates = sorted(rng.choice(DATES) for _ in texts)
        return tuple(
            Passage(str(number), text.strip(), created_at=date)
            for number, (text, date) in enumerate(zip(texts, dates, strict=True))
        )


def taste_fact(who: str, topic: str, words: str) -> Fact:
    query = f" for a {topic} {who} {'like' if who == 'i' else 'likes'}"
    return Fact(f"{query} {words}.", query)


def relation_fact(relation: str, name: str) -> Fact:
    query = f" my {relation} is called"
    return Fact(f"{query} {name}.", query)


def second_fact(relation: str, of: str, name: str) -> Fact:
    query = f" the {relation} of {of} is called"
    return Fact(f"{query} {name}.", query)


def taste(rng: random.Random, topic: str, split: Split) -> str:
    """Draw a pair of style and value that belongs to the split."""
    while True:
        style, value = rng.choice(STYLES), rng.choice(VALUES[topic])
        if _held_out(style, value) == (split == "held_out"):
            return f"{style} {value}"


def related(rng: random.Random, relation: str, split: Split) -> str:
    """Draw a name that this relation may have in the split."""
    return _take(rng.sample(NAMES, len(NAMES)), relation, split)


def sample_task(rng: random.Random, user: User, hops: int) -> Task:
    """Draw a question of the user that needs `hops` searches."""
    if hops == 0:
        text, evidence, answer = sample_sum(rng)
        return Task(_question(text, [answer]), user, (), evidence, answer)
    path: list[Fact] = []
    who, asked = "i", "i"
    if hops > 1:
        relation, who = rng.choice(list(user.relatives.items()))
        asked = f"my {relation}"
        path.append(relation_fact(relation, who))
    if hops > 2:
        second, other = user.seconds[who]
        asked = f"the {second} of {asked}"
        path.append(second_fact(second, who, other))
        who = other
    topic = rng.choice([topic for topic in TOPICS if (who, topic) in user.tastes])
    answer = user.tastes[who, topic]
    path.append(taste_fact(who, topic, answer))
    question = _question(f"what {topic} would {asked} like?", answer.split())
    return Task(question, user, tuple(path), path[-1].text, answer, topic)


def sample_sum(rng: random.Random) -> tuple[str, str, str]:
    """Draw a question that no history helps with; return it with its evidence and its answer."""
    left, right = rng.randrange(_SUMMANDS), rng.randrange(_SUMMANDS)
    asked, answer = f"{NUMBERS[left]} plus {NUMBERS[right]}", NUMBERS[left + right]
    return f"what is {asked}?", f" {asked} is {answer}.", answer


def _question(text: str, words: Sequence[str]) -> Question:
    aspects = tuple(Aspect(aspect=f"says {word}", reason="", evidence=word) for word in words)
    return Question(id=text, question=text, category="demo", narrative="", rubric_aspects=aspects, profile=())


def _take(names: list[str], relation: str, split: Split) -> str:
    """Remove and return the first name that this relation may have in the split."""
    name = next(name for name in names if _held_out(relation, name) == (split == "held_out"))
    names.remove(name)
    return name


def _held_out(first: str, second: str) -> bool:
    # A hash has no pattern, so that reading is easier to learn than which pairs are missing.
    return zlib.crc32(f"{first} {second}".encode()) % _HELD_OUT_EVERY == 0
