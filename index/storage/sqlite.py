"""A store in one SQLite file: WAL, synchronous=FULL, one writer, and deleted text that leaves the disk."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.pool import QueuePool

from index.errors import StoreDamaged, StoreFull, StoreUnavailable
from index.storage import wal
from index.storage.database import BUSY_MS, as_unavailable
from index.storage.files import Reserve, make_private, private_copy
from index.storage.probing import Probe

T = TypeVar("T")

_SCRUB_MS = 1_000
"""Time that a deletion waits for readers of an older state, in milliseconds."""
_log = logging.getLogger(__name__)


class SQLite:
    """One SQLite file. Implements index.storage.database.Database."""

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise StoreUnavailable("database_url: a SQLite store has to name a file, sqlite:///FILE")
        self.file = Path(url.database)
        self.name = str(self.file)
        self.reserve = Reserve(self.file)
        self.engine = create_engine(url, poolclass=QueuePool, pool_size=8, max_overflow=32)
        event.listen(self.engine, "do_connect", self._protect)
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)
        self._to_write = self.engine.execution_options(pr2_write=True)
        # Writers queue here instead of polling for the database's lock.
        self._writing = threading.Lock()
        self.scrubbed = True

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with as_unavailable(self.name), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self._writing, as_unavailable(self.name):
            with self._to_write.begin() as connection:
                yield connection
            if not self.scrubbed:
                self.scrub(wait_ms=0)

    def delete(self, work: Callable[[Connection], T]) -> T:
        """Call `work` in a write and then scrub. On a full disk, the reserve gives the space that it needs.

        Raises StoreFull if there is no reserve or it is too small.
        """
        try:
            with self.write() as connection:
                done = work(connection)
        except StoreFull:
            # Nobody else may write before the deletion does.
            with self._writing, as_unavailable(self.name):
                if not self.reserve.release():
                    raise
                try:
                    with self._to_write.begin() as connection:
                        done = work(connection)
                finally:
                    self.scrub()
                    self.reserve.fill()
        else:
            self.scrub()
        return done

    def scrub(self, wait_ms: int = _SCRUB_MS) -> bool:
        """Remove deleted text from the disk; False while another connection reads an older state.

        secure_delete has overwritten it in the database, but the write-ahead log still has the pages. If
        readers do not finish within `wait_ms`, the next write tries again.
        """
        try:
            with self.undelayed(wait_ms) as cursor:
                busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except StoreUnavailable:
            busy = True  # The deletion itself is committed.
        self.scrubbed = not busy
        return not busy

    def remains(self) -> list[str]:
        log = f"{self.file.name}-wal, until a write after the readers of an older state are done"
        copies = sorted(self.file.parent.glob(f"{self.file.name}-schema-*"))
        return ([] if self.scrubbed else [log]) + [
            f"{copy.name} beside the store, a copy from before a migration: remove it" for copy in copies
        ]

    @contextmanager
    def undelayed(self, wait_ms: int) -> Iterator[sqlite3.Cursor]:
        """A cursor outside of transactions, which waits at most `wait_ms` for other writers."""
        with as_unavailable(self.name), closing(self.engine.raw_connection()) as raw:
            cursor: Any = raw.cursor()
            try:
                cursor.execute(f"PRAGMA busy_timeout={wait_ms}")
                yield cursor
            finally:
                cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")

    def examine(self, *, accept_loss: bool) -> None:
        """Look for damage before SQLite has a connection: closing the last one would remove the evidence.

        Raises StoreDamaged if acknowledged writes would be lost, unless `accept_loss`, or if nothing is left
        of the file: SQLite would make an empty store of it.
        """
        log = f"{self.file}-wal"
        with as_unavailable(self.name):
            found = wal.examine(self.file)
            empty = self.file.exists() and not self.file.stat().st_size and not found.intact
        if empty and self.reserve.exists():
            raise StoreDamaged(
                f"{self.file} is empty, and a store was there: restore a backup, or remove the file to begin "
                "a new store (pr2 store check verifies a store)"
            )
        if found.lost:
            what = f"{log} is damaged: at least {found.lost} acknowledged writes behind the damage are lost"
            if not accept_loss:
                raise StoreDamaged(
                    f"{what} if it is opened. Nothing was changed: restore a backup, or set accept_loss "
                    "(PR2_ACCEPT_LOSS=true) to go on without them; then verify the store with pr2 store check"
                )
            _log.error("%s", what)
        elif found.doubtful:
            _log.warning(
                "%s ends in an unreadable write: it was interrupted before it was acknowledged, unless the "
                "disk is damaged",
                log,
            )

    def faults(self, connection: Connection) -> Iterator[str]:
        """Yield what SQLite finds wrong with its pages and indexes."""
        for fault in connection.exec_driver_sql("PRAGMA integrity_check").scalars():
            if fault != "ok":
                yield f"{self.file}: {fault}"

    def begin_schema(self, connection: Connection) -> None:
        """Every write has the database to itself."""

    def unhurried(self, connection: Connection) -> None:
        """SQLite limits no statement."""

    def before_migration(self, revision: str, *, asked: bool) -> None:
        """Copy the file aside, so that an older version can go back to it. Call it within a write."""
        copy = self.file.with_name(f"{self.file.name}-schema-{revision}")
        with as_unavailable(self.name):
            private_copy(self.file, copy)
        _log.warning(
            "the schema of %s is migrated; %s has the store as it was, with all its texts: remove it when it "
            "is not needed any more",
            self.file,
            copy,
        )

    def keep_reserve(self) -> None:
        self.reserve.fill()

    def probe(self, clock: Callable[[], float]) -> Callable[[], None]:
        return Probe(self.file, self.undelayed, clock).check

    def close(self) -> None:
        self.engine.dispose()

    def _protect(self, *_: Any) -> None:
        make_private(self.file)


def _configure(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    switch_to_wal(connection)
    for pragma in ("synchronous=FULL", f"busy_timeout={BUSY_MS}", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that starts as a reader may fail when it writes, so a writer takes the lock first.
    write = connection.get_execution_options().get("pr2_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch the database to a write-ahead log. Raises sqlite3.OperationalError.

    SQLite ignores the busy timeout while another connection does the same, so this retries.
    """
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
