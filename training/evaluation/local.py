"""Answers from profiles in this process by one policy, without a service: for notebooks and tests."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from datetime import date
from typing import Any

from agent.auto import NEEDS_SELECTOR, Chooser
from agent.driver import drive
from agent.history import History
from agent.methods import METHODS
from agent.policy import Policy
from agent.selecting import Selector
from agent.trajectory import AUTO, Limits, Today, Trajectory
from index.documents import Document, Passage
from index.errors import UnknownRetriever
from index.profiles import Profiles
from index.ranking.retrievers import DEFAULT
from index.searching import AsyncSearch
from index.when.scope import scope_as_of
from training.evaluation.answers import AnswerOptions, UnfitMethod


class LocalAnswers:
    """Answers (see there) by `policy`, which also writes the plans. Profiles and policy stay the caller's.

    `selector` chooses for the retriever `auto`.
    """

    most_at_once = None

    def __init__(
        self,
        profiles: Profiles,
        policy: Policy,
        *,
        retriever: str = DEFAULT,
        limits: Limits | None = None,
        selector: Selector | None = None,
    ) -> None:
        self._profiles = profiles
        self._search = AsyncSearch(profiles)
        self._policy = policy
        self._retriever = retriever
        self._limits = limits or Limits()
        self._chooser = Chooser(selector, self._search) if selector else None

    def check(self, method: str, *, has_plan: bool) -> None:
        """See Answers. Raises UnfitMethod for a plan that the method does not take."""
        if has_plan and not METHODS[method].plans:
            raise UnfitMethod(f"the method {method} takes no plan")

    def check_question(self, question: str) -> None:
        """See Answers. An episode takes any question."""

    def describe(self, retriever: str | None, limits: Mapping[str, int]) -> dict[str, Any]:
        """See Answers. Raises UnknownRetriever for `auto` without a selector."""
        name = retriever or self._retriever
        described: dict[str, Any] = {
            "limits": asdict(self._limits) | dict(limits),
            "policy": {"name": self._policy.name},
            "encoder": self._profiles.encoders,
            "retriever": name,
        }
        if name == AUTO:
            if self._chooser is None:
                raise UnknownRetriever(NEEDS_SELECTOR)
            selector = self._chooser.selector
            described["selector"] = {"mode": selector.mode, "members": list(selector.members)}
        return described

    async def document(self, user: str, document_id: str, /) -> Document:
        """See ProfileStore."""
        return await asyncio.to_thread(self._profiles.store.document, user, document_id)

    async def put(self, user: str, documents: Sequence[Document], /) -> None:
        """See ProfileStore."""
        await asyncio.to_thread(self._profiles.put, user, documents)

    async def search(
        self, user: str, query: str, k: int, retriever: str | None, as_of: date | None = None
    ) -> Sequence[Passage]:
        """The best `k` documents for the query, each by its best passage. Raises UnknownUser.

        As of the day `as_of`, or else that of the person's last document.
        """
        scope = scope_as_of(as_of) if as_of else None
        name = retriever or self._retriever
        return (await self._search.search(user, [query], k, name, scope=scope))[0]

    async def answer(self, user: str, question: str, options: AnswerOptions) -> Trajectory:
        """See Answers. Never raises Unanswered: what fails here is not temporary."""
        limits = replace(self._limits, **options.limits)
        name = options.retriever or self._retriever
        if name != AUTO or self._chooser is None or not METHODS[options.method].reads:
            return await self._with(name, user, question, options, limits)
        if self._chooser.competing:
            return await self._chooser.compete(
                user, limits, lambda member, given: self._with(member, user, question, options, given)
            )
        selection = await self._chooser.before(user, question, limits, scope_as_of(options.as_of))
        return replace(
            await self._with(selection.retriever, user, question, options, limits), selection=selection
        )

    async def _with(
        self, retriever: str, user: str, question: str, options: AnswerOptions, limits: Limits
    ) -> Trajectory:
        history = History(self._search, user, retriever, scope_as_of(options.as_of))
        today = Today(options.as_of)
        episode = METHODS[options.method].begin(question, limits, today=today, plan=options.plan or "")
        driven = drive(episode, self._policy, history.search, notice=history.notice)
        async with aclosing(driven) as events:
            async for _ in events:
                pass
        return replace(episode.trajectory, policy=self._policy.name)
