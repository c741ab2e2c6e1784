"""Connections and transactions of one database, and everything that differs between dialects.

SQLite needs WAL and synchronous=FULL, and has one writer; PostgreSQL needs REPEATABLE READ and row locks.
"""

import errno
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from index.errors import StoreFull, StoreUnavailable
from index.storage.files import Reserve, make_private

T = TypeVar("T")

BUSY_MS = 30_000
"""Time that a connection waits for another process that is writing, in milliseconds."""
_SCRUB_MS = 1_000
"""Time that a deletion waits for readers of an older state, in milliseconds."""


class Database:
    """Transactions on the database at one URL. Safe to share between threads.

    All statements of a read see the same state. Reads and writes raise StoreUnavailable if the database
    cannot be used; a write that raises has changed nothing.
    """

    def __init__(self, url: str) -> None:
        self.engine = _make_engine(url)
        one_writer = self.engine.dialect.name == "sqlite"
        self.file = _file_of(self.engine)
        """The SQLite file; None for any other database."""
        self.reserve = Reserve(self.file) if self.file else None
        self._reading = (
            self.engine if one_writer else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._to_write = self.engine.execution_options(pr2_write=True)
        # SQLite's writers queue here instead of polling for the database's lock. On other databases, writers
        # lock the user's row.
        self._writing: AbstractContextManager[Any] = threading.Lock() if one_writer else nullcontext()
        self.scrubbed = True
        """Whether deleted text is off the disk."""

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with as_unavailable(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self._writing, as_unavailable():
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
            with self._writing, as_unavailable():
                if self.reserve is None or not self.reserve.release():
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
        if self.engine.dialect.name != "sqlite":
            return False
        try:
            with self.undelayed(wait_ms) as cursor:
                busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except StoreUnavailable:
            busy = True  # The deletion itself is committed.
        self.scrubbed = not busy
        return not busy

    @contextmanager
    def undelayed(self, wait_ms: int) -> Iterator[sqlite3.Cursor]:
        """A cursor of SQLite outside of transactions, which waits at most `wait_ms` for other writers."""
        with as_unavailable(), closing(self.engine.raw_connection()) as raw:
            cursor: Any = raw.cursor()
            try:
                cursor.execute(f"PRAGMA busy_timeout={wait_ms}")
                yield cursor
            finally:
                cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")

    def close(self) -> None:
        self.engine.dispose()


def insert_if_missing(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert `row` unless its key exists, waiting for any transaction that is inserting the same key."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(table).on_conflict_do_nothing(), row)


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


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Turn errors of the database and the disk into StoreUnavailable."""
    try:
        yield
    except DBAPIError as error:
        raise _kind(error.orig)(f"the database cannot be used now: {error.orig}") from error
    except sqlite3.Error as error:
        raise _kind(error)(f"the database cannot be used now: {error}") from error
    except PoolTimeoutError as error:
        raise StoreUnavailable("the database cannot be used now: all connections are busy") from error
    except OSError as error:
        raise _kind(error)(f"the disk cannot be used now: {error}") from error


def _kind(error: BaseException | None) -> type[StoreUnavailable]:
    match error:
        case sqlite3.Error(sqlite_errorcode=int(code)):
            # Growing the log's index on a full disk has a code of its own.
            full = code == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE
        case OSError():
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        case _:
            full = False
    return StoreFull if full else StoreUnavailable


def _file_of(engine: Engine) -> Path | None:
    named = engine.url.database if engine.dialect.name == "sqlite" else None
    return Path(named) if named and named != ":memory:" and not named.startswith("file:") else None


def _make_engine(url: str) -> Engine:
    engine = create_engine(url, poolclass=QueuePool, pool_size=8, max_overflow=32)
    if engine.dialect.name == "sqlite":
        file = _file_of(engine)

        @event.listens_for(engine, "do_connect")
        def protect(*_: Any) -> None:
            if file is not None:
                make_private(file)

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _: Any) -> None:
            connection.isolation_level = None
            switch_to_wal(connection)
            for pragma in ("synchronous=FULL", f"busy_timeout={BUSY_MS}", "secure_delete=ON"):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # A transaction that starts as a reader may fail when it writes, so a writer takes the lock first.
            write = connection.get_execution_options().get("pr2_write")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
