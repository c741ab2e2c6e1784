"""Runs an episode with a policy and a search function, and yields its steps as they happen."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from agent.engines.errors import EngineError
from agent.episode import Episode
from agent.policy import Chunk, Policy
from agent.trajectory import AnswerDelta, Search, Step
from index.documents import Passage
from index.values import Notice

Event = Step | AnswerDelta

_NEAR = 0.75
"""The fraction of the deadline after which the policy is asked to answer instead of searching again."""


class Searcher(Protocol):
    """Makes a search of one user's profile, for `k` passages of its days.

    `exclude` holds the keys of passages already read.
    """

    async def __call__(
        self, one: Search, /, k: int, exclude: Collection[tuple[str, int]]
    ) -> Sequence[Passage]: ...


class Noticer(Protocol):
    """Finds what there is to say about the days of a search, in one user's history.

    `question` is '' if its days were read before.
    """

    async def __call__(self, question: str, one: Search, /) -> Sequence[Notice]: ...


async def drive(
    episode: Episode,
    policy: Policy,
    search: Searcher,
    planner: Policy | None = None,
    notice: Noticer | None = None,
) -> AsyncGenerator[Event, None]:
    """Run the episode to its end. It always ends with a finish reason, even if the caller leaves.

    If a plan is to be written first, `planner` writes it, or else the policy; only the finished plan is
    yielded. Without `notice`, nothing is said about the days of a search. A policy failure ends the episode
    with `policy_error`. A search failure raises, because then our own store is at fault. Closing the iterator
    cancels the generation.
    """
    deadline = asyncio.get_running_loop().time() + episode.seconds_left
    try:
        while episode.finish_reason is None:
            if episode.planning is not None:
                async with aclosing(drive(episode.planning, planner or policy, search)) as planning:
                    async for _ in planning:
                        pass
                episode.take_plan()
            elif episode.pending is None:
                async with aclosing(_turn(episode, policy, deadline)) as turn:
                    async for event in turn:
                        yield event
            else:
                await _search(episode, search, notice, deadline)
            for event in episode.take_events():
                yield event
    finally:
        # Without a finish reason, the caller has left or a search has failed.
        episode.finish("cancelled")


async def _turn(episode: Episode, policy: Policy, deadline: float) -> AsyncGenerator[Event, None]:
    """One turn of the policy, up to a pending search or the end of the episode."""
    clock = asyncio.get_running_loop().time
    began = clock()
    alarm = _Alarm(deadline)
    async with aclosing(policy.generate(episode, max(episode.tokens_left, 0))) as chunks, aclosing(alarm):
        while episode.pending is None and episode.finish_reason is None:
            if episode.tokens_left <= 0:
                episode.cut_off("max_tokens")
            else:
                try:
                    chunk = await alarm.next(chunks)
                    if chunk is None:
                        episode.end_turn()
                    else:
                        episode.take(chunk)
                except TimeoutError:
                    episode.cut_off("deadline")
                except EngineError as error:
                    episode.finish("policy_error", str(error), fault=error.fault)
            for event in episode.take_events():
                yield event
    episode.policy_ms += (clock() - began) * 1000


class _Alarm:
    """Interrupts waiting for the policy at the deadline, but never the caller that reads the events.

    It needs one timer per turn: asyncio.timeout around each piece of text costs more than reading it.
    """

    def __init__(self, deadline: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(deadline, self._ring)
        self._is_due = False
        self._waiting: asyncio.Task[Any] | None = None

    async def next(self, chunks: AsyncGenerator[Chunk, None]) -> Chunk | None:
        """The next chunk, or None at the end. Raises TimeoutError at the deadline."""
        if self._is_due:
            # Still take text that has arrived: the caller may have been slow to read the events.
            asyncio.get_running_loop().call_soon(self._ring)
        task = self._waiting = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        try:
            return await anext(chunks, None)
        except asyncio.CancelledError:
            if self._is_due and task and task.uncancel() <= cancelled_before:
                raise TimeoutError from None
            raise
        finally:
            self._waiting = None

    async def aclose(self) -> None:
        """Cancel the timer."""
        self._timer.cancel()

    def _ring(self) -> None:
        self._is_due = True
        if self._waiting is not None:
            self._waiting.cancel()


async def searched(
    episode: Episode, search: Searcher, notice: Noticer | None = None
) -> tuple[Sequence[Passage], Sequence[Notice]]:
    """The passages that the pending search of `episode` finds, and the notices about its days.

    Nothing if it cannot be made, see Search.problem.
    """
    pending = episode.pending
    if pending is None or pending.problem:
        return (), ()
    passages = await search(pending, episode.passages_wanted, episode.passages_read)
    question = "" if episode.information else episode.question
    return passages, await notice(question, pending) if notice else ()


async def _search(episode: Episode, search: Searcher, notice: Noticer | None, deadline: float) -> None:
    """Answer the pending search, or end the episode if the deadline comes first."""
    clock = asyncio.get_running_loop().time
    began = clock()
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            passages, notices = await searched(episode, search, notice)
    except TimeoutError:
        if not limit.expired():
            raise
        episode.cut_off("deadline")
    else:
        near = deadline - (1 - _NEAR) * episode.limits.deadline_ms / 1000
        episode.provide(passages, last=clock() > near, notices=notices)
    finally:
        episode.search_ms += (clock() - began) * 1000
