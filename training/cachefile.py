"""A SQLite file that keeps results by their content, so that nothing is computed and paid for twice."""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from index.storage.sqlite import switch_to_wal
from training.errors import TrainingError

_BUSY_S = 30.0


class CacheUnavailable(TrainingError):
    """A file with results cannot be read or written."""


def content_key(content: Mapping[str, Any]) -> str:
    """sha256, in hex, of JSON values: all that a result depends on."""
    # In ASCII, which can encode half a surrogate pair in a response.
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class CacheFile:
    """The table of a subclass in the file at `path`, which is created if it is missing. A context manager.

    What was written is committed, so a killed process loses none; a power failure may lose the last. Threads
    and processes can share a file.
    """

    def __init__(self, path: Path | str, table: str) -> None:
        """Raises CacheUnavailable. `table` is SQL that creates the table if it does not exist."""
        self._path = path
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise CacheUnavailable(f"{path}: {error}") from None
        try:
            with self.cursor() as cursor:
                switch_to_wal(self._connection)
                cursor.execute("PRAGMA synchronous = NORMAL")
                cursor.execute(table)
        except CacheUnavailable:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def cursor(self) -> Generator[sqlite3.Cursor, None, None]:
        """A cursor, for one thread at a time. Raises CacheUnavailable."""
        with self._lock:
            try:
                yield self._connection.cursor()
            except sqlite3.Error as error:
                raise CacheUnavailable(f"{self._path}: {error}") from None
