"""Steps of a search that it does not depend on: one that is late or fails is left out, and counted."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Missed(Protocol):
    """Queries for which a step was left out."""

    late: int
    failed: int


async def within(
    limit_s: float,
    work: Awaitable[T],
    failure: type[Exception],
    missed: Missed,
    *,
    log: logging.Logger,
    otherwise: str,
    name: str,
) -> T | None:
    """Return the result of a step; None if it takes more than `limit_s` seconds or raises `failure`.

    The log then says what is so `otherwise` ("not reranked"), and names who was late.
    """
    try:
        async with asyncio.timeout(limit_s) as limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise
        missed.late += 1
        log.warning(f"{otherwise}: %s took longer than %g s", name, limit_s)
    except failure as error:
        missed.failed += 1
        log.warning(f"{otherwise}: %s", error)
    return None
