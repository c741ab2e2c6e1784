"""Transactions on a database, with everything that differs between databases behind one protocol.

sqlite.py and postgresql.py implement it; `connect` chooses by the URL.
"""

import errno
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from index.errors import StoreCorrupted, StoreFull, StoreUnavailable

T = TypeVar("T")

BUSY_MS = 30_000
"""Time that a statement waits for another process that is writing, in milliseconds."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PG_DAMAGED = ("XX001", "XX002")
"""data_corrupted and index_corrupted: https://www.postgresql.org/docs/current/errcodes-appendix.html."""
_PG_DISK_FULL = "53100"


class Database(Protocol):
    """Transactions on the database at one URL. Safe to share between threads.

    All statements of a read see the same state. Reads and writes raise StoreUnavailable if the database
    cannot be used; a write that raises has changed nothing.
    """

    @property
    def name(self) -> str:
        """The file, or the URL without its password: what errors call the database."""

    @property
    def engine(self) -> Engine: ...

    @property
    def scrubbed(self) -> bool:
        """Whether deleted text is off the disk."""

    def read(self) -> AbstractContextManager[Connection]: ...

    def write(self) -> AbstractContextManager[Connection]: ...

    def delete(self, work: Callable[[Connection], T]) -> T:
        """Call `work` in a write and then scrub. Raises StoreFull if the disk is too full for deletions."""

    def scrub(self, wait_ms: int = ...) -> bool:
        """Remove deleted text from the disk as far as the store can. Returns `scrubbed`."""

    def remains(self) -> list[str]:
        """Describe the places of this database that may still hold deleted text, each with what to do."""

    def examine(self, *, accept_loss: bool) -> None:
        """Look for damage before the first connection. Raises StoreDamaged."""

    def faults(self, connection: Connection) -> Iterator[str]:
        """Yield what the database itself finds wrong with its storage."""

    def begin_schema(self, connection: Connection) -> None:
        """Let no other process make or migrate the tables until the end of the transaction."""

    def unhurried(self, connection: Connection) -> None:
        """Lift the time limit of statements in this transaction, for work on the whole store."""

    def before_migration(self, revision: str, *, asked: bool) -> None:
        """Prepare the migration of a store of this revision. `asked`: somebody asked for it by name.

        Raises SchemaMismatch if a migration has to be asked for.
        """

    def keep_reserve(self) -> None:
        """Set disk space aside for deletions."""

    def probe(self, clock: Callable[[], float]) -> Callable[[], None]:
        """A function that tries what a store promises for a moment. It raises StoreUnavailable."""

    def close(self) -> None: ...


def connect(url: str) -> Database:
    """Return the database at `url`, without a connection yet. Raises StoreUnavailable for a wrong URL."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreUnavailable("database_url: not a URL like postgresql://user@host/database") from None
    match parsed.get_backend_name():
        case "sqlite":
            from index.storage.sqlite import SQLite

            return SQLite(parsed)
        case "postgresql":
            from index.storage.postgresql import PostgreSQL

            return PostgreSQL(parsed)
        case other:
            raise StoreUnavailable(f"database_url: {other} is not supported, only postgresql and sqlite")


def insert_if_missing(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert `row` unless its key exists, waiting for any transaction that is inserting the same key."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(table).on_conflict_do_nothing(), row)


@contextmanager
def as_unavailable(name: str) -> Iterator[None]:
    """Turn errors of the database `name` and of the disk into StoreUnavailable."""
    try:
        yield
    except DBAPIError as error:
        raise _unavailable(name, error.orig) from error
    except sqlite3.Error as error:
        raise _unavailable(name, error) from error
    except PoolTimeoutError as error:
        raise StoreUnavailable("the database cannot be used now: all connections are busy") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (StoreFull if full else StoreUnavailable)(f"the disk cannot be used now: {error}") from error


def _unavailable(name: str, fault: BaseException | None) -> StoreUnavailable:
    full = damaged = False
    match fault:
        case sqlite3.Error(sqlite_errorcode=int(code)):
            # Growing the log's index on a full disk has a code of its own.
            full = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
            damaged = code & 0xFF in _DAMAGED
        case _:
            state = getattr(fault, "sqlstate", None)
            full = state == _PG_DISK_FULL
            damaged = state in _PG_DAMAGED
    # Further lines of PostgreSQL's name values of the row.
    message = f"the database cannot be used now: {str(fault).strip().partition(chr(10))[0]}"
    if damaged:
        return StoreCorrupted(f"{message}; {name} is damaged: see pr2 store check, and restore a backup")
    return (StoreFull if full else StoreUnavailable)(message)
