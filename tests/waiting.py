"""Waits for a state that another thread, process or task reaches."""

import asyncio
import time
from collections.abc import Callable


async def soon(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether `condition` becomes true. The limit ends a test that fails, so it is longer than any load."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
