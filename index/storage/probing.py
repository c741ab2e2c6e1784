"""Tries what a store in a SQLite file promises: room on the disk, durable writes, readable rows."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from index.documents import iso
from index.errors import StoreUnavailable
from index.storage import schema

READ_S = 0.1
"""Time spent on reading rows in one check."""
FREE_BYTES = 2**20
"""Least free space on the disk: an answer with its passages may take as much."""

_BUSY_MS = 1_000
_TABLES = [table.name for table in schema.tables.sorted_tables]


class Probe:
    """Checks of one file. `undelayed` gives a cursor that waits at most so many milliseconds for writers."""

    def __init__(
        self,
        file: Path,
        undelayed: Callable[[int], AbstractContextManager[sqlite3.Cursor]],
        clock: Callable[[], float],
    ) -> None:
        self._file = file
        self._undelayed = undelayed
        self._clock = clock
        # Each check reads on where the last one stopped.
        self._table, self._row = 0, 0

    def check(self) -> None:
        """Write a row, and read some of the rows. Raises StoreUnavailable."""
        _check_space(self._file)
        with self._undelayed(_BUSY_MS) as cursor:
            # Pages in the connection's cache would hide those on the disk.
            cursor.execute("PRAGMA shrink_memory")
            _write(cursor)
            self._read(cursor)

    def _read(self, cursor: sqlite3.Cursor) -> None:
        """Read rows for READ_S, or all of them once. A malformed page is met again by the next check."""
        until = self._clock() + READ_S
        for _ in range(len(_TABLES) + 1):
            rows = f'SELECT rowid, * FROM "{_TABLES[self._table]}" WHERE rowid > ? ORDER BY rowid'
            for row in cursor.execute(rows, (self._row,)):
                if self._clock() >= until:
                    return
                self._row = row[0]
            self._table, self._row = (self._table + 1) % len(_TABLES), 0


def _check_space(file: Path) -> None:
    try:
        free = shutil.disk_usage(file.parent).free
    except OSError as error:
        raise StoreUnavailable(f"the disk cannot be used now: {error}") from error
    if free < FREE_BYTES:
        raise StoreUnavailable(f"the disk of {file} is full: {free} bytes are free")


def _write(cursor: sqlite3.Cursor) -> None:
    try:
        cursor.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            return  # Somebody writes.
        raise
    row = ("checked", iso(datetime.now(UTC)))
    cursor.execute("INSERT OR REPLACE INTO manifest (key, value) VALUES (?, ?)", row)
    cursor.execute("COMMIT")
