"""Blocking work of coroutines, run in threads, and the cores that there are for threads."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Run(Protocol):
    """Runs blocking work for a user in a thread, when it is the user's turn."""

    def __call__(self, user: str, work: Callable[[], T], /) -> Coroutine[Any, Any, T]: ...


async def run_at_once(user: str, work: Callable[[], T], /) -> T:
    """Run the work in a thread of the event loop, whoever it is for."""
    return await asyncio.to_thread(work)


async def to_end(work: Coroutine[Any, Any, T], stop: Callable[[], None]) -> T:
    """The result of work in a thread. If this is cancelled, it calls `stop` and still waits for the work.

    A thread cannot be interrupted, and it may use what the caller closes next.
    """
    working = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait({working})
        except asyncio.CancelledError as error:
            cancelled = error
            stop()
    if cancelled is not None:
        if not working.cancelled():
            working.exception()  # Seen, so that it is not logged.
        raise cancelled
    return working.result()


_sharing = 1
"""Processes that share the cores with this one, itself included."""


def share_cores(processes: int) -> None:
    """Leave the others of so many processes, which work side by side, their part of the cores.

    To be called before an encoder is loaded.
    """
    global _sharing
    _sharing = processes


def cores() -> int:
    """Return the number of processor cores that this process may use, at least 1."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, found // _sharing)
