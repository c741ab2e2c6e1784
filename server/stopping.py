"""The end of a server: requests in progress get a grace period, then each ends with a typed error."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


class Stopping(Exception):
    """The server is stopping, and what was asked of it is not done."""

    def __init__(self) -> None:
        super().__init__("the server is stopping and has not finished this request; send it again")


class Stop:
    """The stop of one server: first new requests are refused, after the grace the rest is interrupted.

    What may take long is awaited through `unless` or `over`, which raise Stopping when the grace is over, so
    that every interface ends the request in its own form. For one event loop.
    """

    def __init__(self) -> None:
        self.draining = False
        """Whether new requests are refused."""
        self.is_now = False
        """Whether the grace is over."""
        self._in_progress = 0
        self._interruptible: set[asyncio.Task[Any]] = set()
        self._drained = asyncio.Event()

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request in progress: `drain` waits for it."""
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1
            if self.draining and not self._in_progress:
                self._drained.set()

    async def drain(self, grace_s: float) -> None:
        """Refuse new requests, and return once those in progress have ended or the grace is over."""
        self.draining = True
        if self._in_progress and not self.is_now:
            timer = asyncio.get_running_loop().call_later(grace_s, self.now)
            await self._drained.wait()
            timer.cancel()

    def now(self) -> None:
        """End the grace."""
        if not self.is_now:
            self.draining = self.is_now = True
            for task in self._interruptible:
                task.cancel()
            self._drained.set()

    async def unless(self, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work`. Once the grace is over, raises Stopping and cancels `work`. Never nest it."""
        if self.is_now:
            raise Stopping
        task = cast(asyncio.Task[Any], asyncio.current_task())
        before = task.cancelling()
        self._interruptible.add(task)
        try:
            return await work(*args, **kwargs)
        except asyncio.CancelledError:
            # The client may have left at the same time, which cancels as well.
            if self.is_now and task.cancelling() == before + 1:
                raise Stopping from None
            raise
        finally:
            self._interruptible.discard(task)
            if self.is_now:
                task.uncancel()

    async def over(self, events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """`events`, each awaited with `unless`. Closing this closes `events`."""

        async def following() -> T | None:
            return await anext(events, None)

        async with aclosing(events):
            while (event := await self.unless(following)) is not None:
                yield event
