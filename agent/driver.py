"""Joins an episode, a policy and a profile, and yields typed steps as they happen."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from agent.engines.errors import EngineError
from agent.episode import Episode
from agent.policy import Chunk, Policy
from agent.trajectory import AnswerDelta, Step
from index.documents import Passage

Event = Step | AnswerDelta

_NEAR = 0.75
"""The share of the deadline after which the policy is asked to answer instead of searching on."""


class Searcher(Protocol):
    """Looks into one user's profile. `exclude` holds keys of passages that were read already."""

    async def __call__(
        self, query: str, k: int, exclude: Collection[tuple[str, int]]
    ) -> Sequence[Passage]: ...


async def drive(
    episode: Episode, policy: Policy, search: Searcher, planner: Policy | None = None
) -> AsyncGenerator[Event, None]:
    """Run the episode to its end. It ends with a finish reason in every case, also when the caller leaves.

    Where a plan comes first, `planner` writes it, or else the policy; of its steps, only the plan is told.
    A policy that fails ends the episode with `policy_error`; a search that fails raises, because then
    our own store is at fault. Closing the iterator cancels the generation.
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
                await _look_up(episode, search, deadline)
            for event in episode.take_events():
                yield event
    finally:
        # Without a reason by now, the caller has left or a search has failed.
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
    """Ends the waiting for a policy when the deadline comes, and never interrupts who reads the events.

    One timer for a whole turn: asyncio.timeout around each piece of text costs more than reading it.
    """

    def __init__(self, deadline: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(deadline, self._ring)
        self._rung = False
        self._waits: asyncio.Task[Any] | None = None

    async def next(self, chunks: AsyncGenerator[Chunk, None]) -> Chunk | None:
        """The next chunk, or None at the end. Raises TimeoutError when the deadline has come."""
        if self._rung:
            # What is there already is taken all the same: the reader of the events may have been slow.
            asyncio.get_running_loop().call_soon(self._ring)
        task = self._waits = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        try:
            return await anext(chunks, None)
        except asyncio.CancelledError:
            if self._rung and task and task.uncancel() <= cancelled_before:
                raise TimeoutError from None
            raise
        finally:
            self._waits = None

    async def aclose(self) -> None:
        """Put it out."""
        self._timer.cancel()

    def _ring(self) -> None:
        self._rung = True
        if self._waits is not None:
            self._waits.cancel()


async def _look_up(episode: Episode, search: Searcher, deadline: float) -> None:
    """Answer the pending search, or end the episode when the deadline comes first."""
    clock = asyncio.get_running_loop().time
    began = clock()
    query = episode.pending.query if episode.pending else ""
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            passages = await search(query, episode.passages_wanted, episode.passages_read)
    except TimeoutError:
        if not limit.expired():
            raise
        episode.cut_off("deadline")
    else:
        near = deadline - (1 - _NEAR) * episode.limits.deadline_ms / 1000
        episode.provide(passages, last=clock() > near)
    finally:
        episode.search_ms += (clock() - began) * 1000
