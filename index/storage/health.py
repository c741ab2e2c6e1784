"""Readiness of a store, tried at most every few seconds."""

import threading
import time
from collections.abc import Callable

from index.errors import StoreUnavailable
from index.storage.database import Database

FRESH_S = 5.0
"""Time for which a result stands: probes come often, and anybody may send them."""


class Health:
    """Checks of one database. Safe to share between threads."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._probe = database.probe(clock)
        self._clock = clock
        self._lock = threading.Lock()
        self._stands_until = 0.0
        self._fault: str | None = None

    def check(self) -> None:
        """Try the database. Raises StoreUnavailable.

        Within FRESH_S of a check, its result is given again.
        """
        with self._lock:
            if self._clock() >= self._stands_until:
                self._fault = None
                try:
                    self._probe()
                except StoreUnavailable as fault:
                    self._fault = str(fault)
                self._stands_until = self._clock() + FRESH_S
            if self._fault is not None:
                raise StoreUnavailable(self._fault)
