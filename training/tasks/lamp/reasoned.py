"""Answers LaMP's inputs by the method prlm: the service's own episode, scored on its answer alone.

The input is the question, as published. Passages are searched by its own text, as for a prompt (`query_of`).
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from agent.citations import without_marks
from agent.driver import drive
from agent.methods import METHODS
from agent.policy import Policy
from agent.trajectory import AUTO, Limits, PolicyProtocol, Search, Today, Trajectory
from index.documents import Document
from index.values import Passage
from training.evaluation.answers import AnswerOptions, UnfitMethod
from training.evaluation.profiles import NOBODY
from training.tasks.lamp.answers import ENTRIES, SEARCHING, SearchedAnswers
from training.tasks.lamp.inputs import query_of
from training.tasks.lamp.schemas import WRITTEN

METHOD = "prlm"
TOKENS = 768
"""The most tokens that the policy writes, as PrLM's completions have."""


@dataclass(frozen=True)
class ReasonedAnswers:
    """Answers (see there) one task of LaMP by `policy`, from the profiles of `within`.

    Marks of citations are left out of the answer: they are no part of an output.
    """

    within: SearchedAnswers
    number: int
    policy: Policy
    protocol: PolicyProtocol = "tags"
    description: Mapping[str, Any] = field(default_factory=dict)
    """JSON values of the policy that answers depend on."""

    @property
    def most_at_once(self) -> int | None:
        """See Answers."""
        return self.within.most_at_once

    def check(self, method: str, *, has_plan: bool) -> None:
        """See Answers."""
        if method != METHOD or has_plan or self.number not in WRITTEN:
            raise UnfitMethod(
                f"{METHOD} answers LaMP's tasks {', '.join(map(str, WRITTEN))}, whose outputs are texts"
            )

    def check_question(self, question: str) -> None:
        """See Answers. An input of any length is accepted."""

    def describe(self, retriever: str | None, limits: Mapping[str, int]) -> dict[str, Any]:
        """See Answers. Raises UnfitMethod for the retriever `auto`."""
        if retriever == AUTO:
            raise UnfitMethod(f"on LaMP, {METHOD} takes one retriever, not {AUTO}")
        searching = self.within.describe(retriever, {})
        return {
            "policy": {**self.description, "name": self.policy.name, "protocol": self.protocol},
            "limits": asdict(_limits(limits)),
            **{name: value for name, value in searching.items() if name in SEARCHING},
        }

    async def document(self, user: str, document_id: str, /) -> Document:
        """See ProfileStore."""
        return await self.within.document(user, document_id)

    async def put(self, user: str, documents: Sequence[Document], /) -> None:
        """See ProfileStore."""
        await self.within.put(user, documents)

    async def answer(self, user: str, question: str, options: AnswerOptions) -> Trajectory:
        """See Answers. Raises Unanswered if the search fails."""
        limits = _limits(options.limits)
        query = query_of(self.number, question)
        episode = METHODS[options.method].begin(
            question, limits, query=query, today=Today(options.as_of), protocol=self.protocol
        )

        async def search(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
            if user == NOBODY:
                return []
            return await self.within.search(user, one.query, k, options.retriever, options.as_of)

        async with aclosing(drive(episode, self.policy, search)) as events:
            async for _ in events:
                pass
        return replace(_without_marks(episode.trajectory), policy=self.policy.name)


def _limits(given: Mapping[str, int]) -> Limits:
    k = given.get("top_k", ENTRIES)
    return Limits(max_searches=0, top_k=k, max_documents=k, max_tokens=given.get("max_tokens", TOKENS))


def _without_marks(trajectory: Trajectory) -> Trajectory:
    if (answer := trajectory.answer) is None:
        return trajectory
    bare = replace(answer, text=without_marks(answer.text))
    return replace(trajectory, steps=(*trajectory.steps[:-1], bare))
