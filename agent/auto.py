"""Answers with the retriever that a trained selector chooses for the question: the retriever `auto`.

Before the answer, the choice is among the prompts that the pool's retrievers lead to, and costs a search with
each. After it, the choice is among finished answers, and costs a trajectory with each.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from agent.selecting import Selector, choose, render, render_trajectory
from agent.trajectory import AUTO, Cost, Limits, Selection, Trajectory
from index.documents import Passage
from index.searching import AsyncSearch
from index.threads import Run, run_at_once
from index.when.scope import Scope

T = TypeVar("T")

NEEDS_SELECTOR = (
    f"the retriever {AUTO} needs a trained selector: pr2 train selector makes one, and the setting "
    "`selector` (--selector DIR) names its folder"
)
_WRITING = 0.9
"""Share of the deadline in which answers have to be finished to be compared; the rest is for comparing."""


class Chooser:
    """A selector with what it needs: searches for the prompts, and turns in a thread for its model."""

    def __init__(self, selector: Selector, search: AsyncSearch, run: Run = run_at_once) -> None:
        self.selector = selector
        self._search = search
        self._run = run

    @property
    def competing(self) -> tuple[str, ...]:
        """Retrievers with each of which the question is answered; none if one is chosen beforehand."""
        return tuple(self.selector.members) if self.selector.mode == "post" else ()

    async def before(self, user: str, question: str, limits: Limits, scope: Scope) -> Selection:
        """Choose by the prompts, before an answer is written. Raises the errors of Profiles.search."""
        began = time.perf_counter()
        members, k = self.selector.members, min(limits.top_k, limits.max_documents)

        async def search(member: str) -> Sequence[Passage]:
            return (await self._search.search(user, [question], k, member, scope=scope))[0]

        prompts = [render(question, passages) for passages in await together(map(search, members))]
        return replace(await self.by_prompts(user, prompts), ms=_ms_since(began))

    async def by_prompts(self, user: str, prompts: Sequence[str]) -> Selection:
        """Choose by the prompts of the pool's members, in their order."""
        began = time.perf_counter()
        members = self.selector.members
        scores = await self._run(user, partial(self.selector.scores, prompts, None))
        return Selection(
            "pre", choose(members, scores), dict(zip(members, scores, strict=True)), _ms_since(began)
        )

    async def compete(
        self, user: str, limits: Limits, answer: Callable[[str, Limits], Coroutine[Any, Any, Trajectory]]
    ) -> Trajectory:
        """Answer with each member of the pool at once, and return the trajectory that the selector prefers.

        Only answers that are finished in most of the deadline compete. If there is none, the first trajectory
        with a part of an answer is returned, or else the first. If the deadline passes while the answers are
        compared, none is chosen, and the returned trajectory has no steps.
        """
        began = time.perf_counter()
        deadline = asyncio.get_running_loop().time() + limits.deadline_ms / 1000
        shorter = replace(limits, deadline_ms=max(int(limits.deadline_ms * _WRITING), 1))
        trajectories = await together(answer(member, shorter) for member in self.selector.members)
        try:
            async with asyncio.timeout_at(deadline) as limit:
                chosen = await self.by_answers(user, trajectories)
        except TimeoutError:
            if not limit.expired():
                raise
            chosen = _undecided(trajectories)
        return replace(chosen, limits=limits, total_ms=_ms_since(began))

    async def by_answers(self, user: str, trajectories: Sequence[Trajectory]) -> Trajectory:
        """Choose among the trajectories of the pool's members, in their order; see `compete`."""
        began = time.perf_counter()
        by_member = dict(zip(self.selector.members, trajectories, strict=True))
        scores: dict[str, float | None] = dict.fromkeys(by_member)
        answers = {
            member: one.answer.text
            for member, one in by_member.items()
            if one.finish_reason == "answered" and one.answer
        }
        if answers:
            prompts = [render_trajectory(by_member[member]) for member in answers]
            work = partial(self.selector.scores, prompts, list(answers.values()))
            found = await self._run(user, work)
            scores |= zip(answers, found, strict=True)
            chosen = choose(list(answers), found)
        else:
            chosen = next((member for member, one in by_member.items() if one.answer), next(iter(by_member)))
        others = cost_of([one for member, one in by_member.items() if member != chosen])
        selection = Selection("post", chosen, scores, _ms_since(began), others)
        return replace(by_member[chosen], selection=selection)


def cost_of(trajectories: Sequence[Trajectory]) -> Cost:
    """The cost of the trajectories together."""
    return Cost(
        trajectories=len(trajectories),
        searches=sum(one.searches for one in trajectories),
        prompt_tokens=sum(one.prompt_tokens for one in trajectories),
        policy_tokens=sum(one.policy_tokens for one in trajectories),
        policy_ms=round(sum(one.policy_ms for one in trajectories), 3),
        search_ms=round(sum(one.search_ms for one in trajectories), 3),
    )


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all. If one fails or this is cancelled, the others are cancelled and have ended."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _undecided(trajectories: Sequence[Trajectory]) -> Trajectory:
    """A trajectory without an answer that took as much as all of these."""
    cost = cost_of(trajectories)
    return replace(
        trajectories[0],
        steps=(),
        segments=(),
        finish_reason="deadline",
        detail="the deadline passed before the answers were compared",
        fault=None,
        violations={},
        passages_dropped=0,
        prompt_tokens=cost.prompt_tokens,
        policy_tokens=cost.policy_tokens,
        policy_ms=cost.policy_ms,
        search_ms=cost.search_ms,
    )


def _ms_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
