"""Waits for a state that another thread, process or task reaches."""

import asyncio
import time
from collections.abc import Callable


async def soon(condition: Callable[[], bool], seconds: float = 3.0) -> bool:
    """Whether `condition` becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
