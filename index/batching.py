"""Batches the work of concurrent callers: one call for everything that came in meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Batcher(Generic[In, Out]):
    """Hands items that come at the same time to `work` together; one result or exception for each.

    While `work` is busy with a batch, the next one gathers: a lone caller never waits for company, and a
    crowd costs one batch. When `work` raises, every caller of the batch hears of it. A caller that is
    cancelled takes nothing from the others. For one event loop.
    """

    def __init__(self, work: Callable[[Sequence[In]], Awaitable[Sequence[Out | Exception]]]) -> None:
        self._work = work
        self._gathered: list[tuple[In, asyncio.Future[Out]]] = []
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, item: In) -> Out:
        future: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self._gathered.append((item, future))
        if self._working is None:
            self._working = asyncio.create_task(self._until_empty())
        return await future

    async def _until_empty(self) -> None:
        try:
            while self._gathered:
                batch, self._gathered = self._gathered, []
                await self._do([item for item, _ in batch], [future for _, future in batch])
        finally:
            self._working = None

    async def _do(self, items: Sequence[In], futures: Sequence[asyncio.Future[Out]]) -> None:
        outcomes: Sequence[Out | Exception]
        try:
            outcomes = await self._work(items)
        except Exception as error:
            outcomes = [error for _ in items]
        for future, outcome in zip(futures, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
