"""Data for the warm start: reading practice, and a searcher of middling skill to imitate.

Most of that searcher's first queries are bad, it gives up early, it often looks up sums, and it never meets a
question that needs three searches. Reinforcement learning has to find everything beyond that.
"""

import random
from collections.abc import AsyncGenerator

from agent.episode import Episode
from agent.policy import Chunk
from index.documents import Passage
from training.demo import world
from training.demo.trainer import Sample, sample_from
from training.demo.vocabulary import END_OF_QUESTION, INSTRUCTIONS, LIMITS, QUESTION, Vocabulary

_GOOD_QUERY, _GOOD_NEXT_QUERY, _QUESTION_AS_QUERY = 0.38, 0.65, 0.88
"""Probabilities that the first query is good, that a query after a useful find is good, and that a bad query
is the question itself. Other bad queries are the topic's name with words around it."""
_PERSISTENCE = 0.75
"""Probability of another search after a useful find."""
_RETRIES = 0.35
"""Probability of another search after finding nothing useful."""
_SUMS_LOOKED_UP = 0.5
_QUESTIONS_A_READING = 6
_SUMS = 0.25
"""Fraction of sums among the later questions of a reading."""


class Demonstrator:
    """The imitated searcher of one task, as an agent.policy.Policy."""

    name = "demonstrator"

    def __init__(self, task: world.Task, rng: random.Random, vocabulary: Vocabulary) -> None:
        self._task = task
        self._rng = rng
        self._vocabulary = vocabulary

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        for index, segment in enumerate(episode.segments):
            if segment.token_ids is None:
                episode.encode(index, self._vocabulary.encode(segment.text))
        text = self._turn(episode)
        ids = tuple(self._vocabulary.encode(text))
        yield Chunk(text, tokens=len(ids), finish="stop", token_ids=ids)

    async def check(self) -> str:
        return self.name

    async def aclose(self) -> None:
        """Do nothing: the policy holds no resources."""

    def _turn(self, episode: Episode) -> str:
        task, searched = self._task, bool(episode.steps)
        if not task.path:
            if not searched and not episode.must_answer and self._rng.random() < _SUMS_LOOKED_UP:
                return _turn(" it is a sum.", search=f" {task.question.question.removesuffix('?')}")
            return _turn(task.evidence, answer=task.answer)
        read = [read.passage.text for read in episode.reads]
        known = 0
        while known < task.hops and task.path[known].text.strip() in read:
            known += 1
        if known == task.hops:
            return _turn(task.evidence, answer=task.answer)
        thought = task.path[known - 1].text if known else f" it is about {self._subject()}."
        persistence = 1.0 if not searched else _PERSISTENCE if known else _RETRIES
        if episode.must_answer or self._rng.random() > persistence:
            return _turn(" it is not known.", answer=self._guess())
        return _turn(thought, search=self._query(task.path[known]))

    def _subject(self) -> str:
        return "me" if self._task.hops == 1 else self._task.path[0].query.removesuffix(" is called").strip()

    def _query(self, fact: world.Fact) -> str:
        good = _GOOD_QUERY if fact is self._task.path[0] else _GOOD_NEXT_QUERY
        if self._rng.random() < good:
            return fact.query
        if self._rng.random() < _QUESTION_AS_QUERY:
            return f" {self._task.question.question.removesuffix('?')}"
        return f" {self._rng.choice(['', 'for a ', 'my '])}{self._task.topic}"

    def _guess(self) -> str:
        return f"{self._rng.choice(world.STYLES)} {self._rng.choice(world.VALUES[self._task.topic])}"


def _turn(thought: str, *, search: str = "", answer: str = "") -> str:
    action = f"<search>{search}</search>" if search else f"<answer> {answer}</answer>"
    return f"<think>{thought}</think>{action}"


def reading(rng: random.Random, vocabulary: Vocabulary, documents: int) -> Sample:
    """Sample documents and questions, each about one of them, with its evidence and answer."""
    facts: list[tuple[str, str, str]] = []
    whos = iter(("i", *rng.sample(world.NAMES, documents)))
    relations = iter(rng.sample(world.RELATIONS, len(world.RELATIONS)))
    for _ in range(documents):
        if rng.random() < 0.7:
            who, topic = next(whos), rng.choice(world.TOPICS)
            words = world.taste(rng, topic, "train")
            facts.append((f"what {topic} would {who} like?", world.taste_fact(who, topic, words).text, words))
        else:
            relation = next(relations)
            name = world.related(rng, relation, "train")
            facts.append((f"what is my {relation} called?", world.relation_fact(relation, name).text, name))
    first = rng.choice(facts)
    episode = Episode(first[0], INSTRUCTIONS, LIMITS, first_query="-")
    episode.provide(Passage(text, text.strip(), created_at=rng.choice(world.DATES)) for _, text, _ in facts)
    pieces = [(episode.prompt, False)]
    asked = [first] + [rng.choice(facts) for _ in range(_QUESTIONS_A_READING - 1)]
    for number, (question, text, answer) in enumerate(asked):
        if number and rng.random() < _SUMS:
            question, text, answer = world.sample_sum(rng)
        if number:
            pieces.append((f"{END_OF_QUESTION}{QUESTION} {question}{END_OF_QUESTION}", False))
        pieces.append((_turn(text, answer=answer), True))
    return sample_from(pieces, vocabulary)
