"""Batches the work of concurrent callers: one call handles all items that arrived during the last one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Batcher(Generic[In, Out]):
    """Passes concurrent items to `work` in one batch; `work` gives a result or an exception for each.

    While a batch is being worked on, the next one collects, so a single caller never waits for others. If
    `work` raises, every caller of the batch gets the exception. Cancelling one caller does not affect the
    others. For one event loop.
    """

    def __init__(self, work: Callable[[Sequence[In]], Awaitable[Sequence[Out | Exception]]]) -> None:
        self._work = work
        self._waiting: list[tuple[In, asyncio.Future[Out]]] = []
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, item: In) -> Out:
        future: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._working is None:
            self._working = asyncio.create_task(self._until_empty())
        return await future

    async def _until_empty(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
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
