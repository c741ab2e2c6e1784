"""The back-off between attempts of a request, for every client: engines, the judge, our own server."""

import random


def wait_s(attempt: int, retry_after: str, *, first: float, longest: float, longest_asked: float) -> float:
    """Seconds to wait after attempt number `attempt` (from 0): exponential back-off with jitter.

    All times are in seconds. A `Retry-After` header can prolong the wait, up to `longest_asked`; one that
    holds a date is ignored.
    """
    back_off = min(first * 2.0**attempt, longest) * random.uniform(0.5, 1)
    asked = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0
    return max(back_off, min(asked, longest_asked))
