"""How long to wait before a request is sent again: for engines, and for our own server."""

import random


def wait_s(attempt: int, retry_after: str, *, first: float, longest: float, longest_asked: float) -> float:
    """Seconds until the next attempt, after `attempt` others: exponential back-off with jitter.

    A `Retry-After` asks for more, up to `longest_asked`; one that is a date is not read.
    """
    back_off = min(first * 2.0**attempt, longest) * random.uniform(0.5, 1)
    asked = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0
    return max(back_off, min(asked, longest_asked))
