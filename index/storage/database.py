"""What a database has to be told so that a store can promise durability, isolation and erasure."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from index.errors import StoreUnavailable

BUSY_MS = 30_000
"""How long a connection waits for another process that is writing."""


def make_engine(url: str) -> Engine:
    """An engine whose connections keep the store's promises."""
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


def switch_to_wal(connection: sqlite3.Connection) -> None:
    """Give the database a write-ahead log. Raises sqlite3.OperationalError.

    While another connection does the same, SQLite refuses at once, whatever timeout there is: so it is asked
    again.
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
    """Whatever the database or the disk raises, as StoreUnavailable."""
    try:
        yield
    except DBAPIError as error:
        raise StoreUnavailable(f"the database cannot be used now: {error.orig}") from error
    except PoolTimeoutError as error:
        raise StoreUnavailable("the database cannot be used now: all connections are busy") from error
    except OSError as error:
        raise StoreUnavailable(f"the disk cannot be used now: {error}") from error


def scrub_log(engine: Engine) -> bool:
    """Get what was deleted off the disk; False when somebody still reads an older state.

    secure_delete has blanked it in the database, but the write-ahead log still holds the pages.
    """
    if engine.dialect.name != "sqlite":
        return False
    with closing(engine.raw_connection()) as raw:
        cursor = raw.cursor()
        try:
            cursor.execute("PRAGMA busy_timeout=1000")
            busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            return False  # What was asked for, the deletion, is done and durable.
        finally:
            cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        return not busy
