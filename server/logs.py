"""The log of `pr2 serve`: repetitions are counted rather than written, so that no client can fill a disk."""

import copy
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from uvicorn.config import LOGGING_CONFIG

PER_MINUTE = 20
"""Lines of one kind that are written in a minute."""
WINDOW_S = 60.0

Kind = tuple[str, int, str, str]
"""Logger, level, first line of the message's template, and type of the exception."""


class Repeats(logging.Filter):
    """Passes on `per_minute` records of one kind a minute, then says how many more there were.

    The count comes with the first record after the minute, of whatever kind.
    """

    def __init__(self, per_minute: int = PER_MINUTE, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._seen: Counter[Kind] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        with self._lock:
            over = self._take_over()
            kind = _kind(record)
            self._seen[kind] += 1
            passes = self._seen[kind] <= self._per_minute
        for (logger, level, message, _), count in over.items():
            logging.getLogger(logger).log(level, "%s more like: %s", f"{count:,}", message)
        return passes

    def _take_over(self) -> Counter[Kind]:
        """After a minute, the records that were not passed on; and start over."""
        now = self._clock()
        if now - self._began < WINDOW_S:
            return Counter()
        over = Counter({kind: n - self._per_minute for kind, n in self._seen.items() if n > self._per_minute})
        self._began = now
        self._seen.clear()
        return over


def _kind(record: logging.LogRecord) -> Kind:
    error = record.exc_info[0] if record.exc_info else None
    # Below the first line, asyncio describes objects, each of which is different.
    template = str(record.msg).partition("\n")[0][:200]
    return record.name, record.levelno, template, error.__name__ if error else ""


def log_config() -> dict[str, Any]:
    """Uvicorn's configuration, with all warnings in its form, and without endless repetitions."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["filters"] = {"repeats": {"()": Repeats}}
    config["handlers"]["default"]["filters"] = ["repeats"]
    # Ours, asyncio's and the libraries'.
    config["root"] = {"handlers": ["default"], "level": "WARNING"}
    return config
