"""One database: its connections and transactions, and the settings that each dialect needs.

SQLite keeps its promises with WAL and synchronous=FULL, PostgreSQL with row locks and repeatable reads; what
differs between the two is in this module.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from index.errors import StoreUnavailable

BUSY_MS = 30_000
"""How long a connection waits for another process that is writing."""


class Database:
    """Transactions over one URL. Safe to share between threads.

    A read sees one consistent state from its first statement to its last. Both `read` and `write` raise
    StoreUnavailable when the database cannot be used; a write that raises has changed nothing.
    """

    def __init__(self, url: str) -> None:
        self.engine = _make_engine(url)
        one_writer = self.engine.dialect.name == "sqlite"
        self._reading = (
            self.engine if one_writer else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._to_write = self.engine.execution_options(pr2_write=True)
        # SQLite's writers queue here instead of at the database's lock, where waiting is polling. Elsewhere
        # writers of one user meet at the user's row, which they lock.
        self._writing: AbstractContextManager[Any] = threading.Lock() if one_writer else nullcontext()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with as_unavailable(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self._writing, as_unavailable(), self._to_write.begin() as connection:
            yield connection

    def scrub(self) -> bool:
        """Get what was deleted off the disk; False while another connection reads an older state.

        secure_delete has blanked it in the database, but the write-ahead log still holds the pages.
        """
        if self.engine.dialect.name != "sqlite":
            return False
        with closing(self.engine.raw_connection()) as raw:
            cursor = raw.cursor()
            try:
                cursor.execute("PRAGMA busy_timeout=1000")
                busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error:
                return False  # The deletion itself is done and durable.
            finally:
                cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            return not busy

    def close(self) -> None:
        self.engine.dispose()


def insert_if_missing(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert `row` unless one with its key is there, even one that another transaction is writing now."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(table).on_conflict_do_nothing(), row)


def switch_to_wal(connection: sqlite3.Connection) -> None:
    """Give the database a write-ahead log. Raises sqlite3.OperationalError.

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
        raise StoreUnavailable(f"the database cannot be used now: {error.orig}") from error
    except PoolTimeoutError as error:
        raise StoreUnavailable("the database cannot be used now: all connections are busy") from error
    except OSError as error:
        raise StoreUnavailable(f"the disk cannot be used now: {error}") from error


def _make_engine(url: str) -> Engine:
    engine = create_engine(url, poolclass=QueuePool, pool_size=8, max_overflow=32)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _: Any) -> None:
            connection.isolation_level = None
            switch_to_wal(connection)
            for pragma in ("synchronous=FULL", f"busy_timeout={BUSY_MS}", "secure_delete=ON"):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # A reader that later writes could find the database changed under it; a writer says so first.
            write = connection.get_execution_options().get("pr2_write")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
