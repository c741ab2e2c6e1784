"""Runs the service's episodes of the tiny world's people, and scores their answers."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from agent.driver import Searcher, drive
from agent.episode import Episode
from agent.methods import METHODS
from agent.policy import Policy
from agent.trajectory import Limits, Search, Trajectory
from index.documents import Passage
from index.encoding.encoders import Vectors
from index.ranking.profile import Profile
from index.ranking.retrievers import Query, Retriever
from training.demo.prlm.people import WORDS, Task, manner_score, without_manner
from training.demo.vocabulary import Vocabulary
from training.policy.prlm import rouge_quality

LIMITS = Limits(max_searches=0, top_k=4, max_documents=8, max_tokens=48, deadline_ms=3_600_000)
"""The deadline is out of reach, so that no result depends on speed."""
PRLM, RAG, NONE = "prlm", "rag", "none"
"""Names of agent.methods.METHODS."""


def vocabulary() -> Vocabulary:
    """The tokens of this world; each method's prompt is one of them."""
    openings = dict.fromkeys(METHODS[name].begin("", LIMITS).prompt for name in (PRLM, RAG, NONE))
    return Vocabulary(tuple(openings), WORDS)


@lru_cache(1 << 16)
def content_score(words: str, content: str) -> float:
    """The quality of PrLM's reward. Kept, because the same few answers are scored again and again."""
    return rouge_quality(words, content)


@dataclass(frozen=True)
class Outcome:
    """The trajectory of one task, with the true score of its answer."""

    task: Task
    trajectory: Trajectory

    @cached_property
    def answer(self) -> str:
        """The text in the answer tag; '' if there is none."""
        return self.trajectory.answer.text.strip() if self.trajectory.answer else ""

    @cached_property
    def content(self) -> float:
        """Mean of ROUGE-1, ROUGE-2 and ROUGE-L (F) of the answer's words without its manner, 0 to 1."""
        return content_score(without_manner(self.answer), self.task.content)

    @cached_property
    def manner(self) -> float:
        return manner_score(self.answer, self.task.person.manner)

    @property
    def score(self) -> float:
        """The test score, 0 to 1: content and manner with equal weight."""
        return (self.content + self.manner) / 2


@dataclass(frozen=True)
class Searching:
    """Searches people's profiles with one of the service's retrievers."""

    retriever: Retriever
    profiles: Mapping[str, Profile]
    """By the person's name."""
    vectors: Mapping[str, Vectors]
    """Vectors of the questions, shape (dimension,), for a retriever that needs them."""

    def of(self, task: Task) -> Searcher:
        profile = self.profiles[task.person.name]

        async def search(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
            asked = Query(one.query, self.vectors[one.query] if self.retriever.needs_vectors else None)
            (ranking,) = self.retriever.rank(profile, [asked], len(profile))
            found = [profile.passage(at, rank, score) for rank, (at, score) in enumerate(ranking, 1)]
            return [passage for passage in found if passage.key not in exclude][:k]

        return search


async def roll_out(
    tasks: Sequence[Task], policy: Policy, method: str, searching: Searching, k: int = LIMITS.top_k
) -> list[Outcome]:
    """Answer all tasks concurrently by a method of the service, which reads k passages."""

    async def one(task: Task) -> Outcome:
        episode: Episode = METHODS[method].begin(task.question, replace(LIMITS, top_k=k))
        async with aclosing(drive(episode, policy, searching.of(task))) as events:
            async for _ in events:
                pass
        return Outcome(task, episode.trajectory)

    return await asyncio.gather(*map(one, tasks))
