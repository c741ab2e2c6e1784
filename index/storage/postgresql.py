"""A store in PostgreSQL: one writer for each user, and any number of servers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TypeVar

from sqlalchemy import URL, Connection, create_engine, select, text
from sqlalchemy.pool import QueuePool

from index.errors import SchemaMismatch, StoreUnavailable
from index.storage import schema
from index.storage.database import BUSY_MS, as_unavailable

T = TypeVar("T")

_IDLE_MS = 60_000
"""Time after which a transaction of a client that hangs gives its locks back, in milliseconds."""
_CONNECT_S = 5
_SCHEMA_LOCK = 0x707232
"""Key of the advisory lock on the schema."""


class PostgreSQL:
    """One database of a PostgreSQL server. Implements index.storage.database.Database.

    A connection that has gone bad is replaced before it is used. If it breaks in a transaction, the write is
    rolled back and raises StoreUnavailable; only if it breaks while the commit is under way, the write may
    have happened although it raises. All writes of the store can be repeated.
    """

    scrubbed = False
    """Deleted rows stay on the disk until VACUUM FULL, and in the server's log until it is recycled."""

    def __init__(self, url: URL) -> None:
        if find_spec("psycopg") is None:
            raise StoreUnavailable("PostgreSQL needs an extra that is missing: pip install 'pr2[postgres]'")
        self.name = url.render_as_string(hide_password=True)
        ours = f"-c statement_timeout={BUSY_MS} -c idle_in_transaction_session_timeout={_IDLE_MS}"
        query = dict(url.query)
        given = str(query.pop("options", ""))
        self.engine = create_engine(
            url.set(drivername="postgresql+psycopg", query=query),
            poolclass=QueuePool,
            pool_size=8,
            max_overflow=8,
            pool_pre_ping=True,
            # Of two options of the same name the last counts.
            connect_args={"connect_timeout": _CONNECT_S} | query | {"options": f"{ours} {given}".strip()},
        )
        self._reading = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with as_unavailable(self.name), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with as_unavailable(self.name), self.engine.begin() as connection:
            yield connection

    def delete(self, work: Callable[[Connection], T]) -> T:
        with self.write() as connection:
            return work(connection)

    def scrub(self, wait_ms: int = 0) -> bool:
        return self.scrubbed

    def remains(self) -> list[str]:
        return [
            "dead rows and statistics of the database, until VACUUM FULL as in docs/storage.md",
            "the write-ahead log of the database's server, until its files are removed or overwritten",
            "replicas of the database, until they have followed",
            "the memory of other pr2 servers, until they are asked for the user or load other profiles",
        ]

    def examine(self, *, accept_loss: bool) -> None:
        """PostgreSQL watches over its own log."""

    def faults(self, connection: Connection) -> Iterator[str]:
        """Reading all rows finds damaged pages; indexes are verified by the server's own pg_amcheck."""
        yield from ()

    def begin_schema(self, connection: Connection) -> None:
        """Raises StoreUnavailable for a database that cannot hold every text."""
        encoding = connection.scalar(text("SHOW server_encoding"))
        if encoding != "UTF8":
            raise StoreUnavailable(
                f"{self.name} has the encoding {encoding}, which cannot hold every text: make one with "
                "CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0"
            )
        self.unhurried(connection)
        connection.execute(select(text(f"pg_advisory_xact_lock({_SCHEMA_LOCK})")))

    def unhurried(self, connection: Connection) -> None:
        connection.execute(text("SET LOCAL statement_timeout = 0"))

    def before_migration(self, revision: str, *, asked: bool) -> None:
        """Other servers may be using the store, so a person decides when it is migrated."""
        if not asked:
            raise SchemaMismatch(
                f"this store has schema {revision}, which is older than this version of pr2: make a backup, "
                "stop the servers of the older version, and run pr2 store migrate"
            )

    def keep_reserve(self) -> None:
        """Disk space is the database server's concern."""

    def probe(self, clock: Callable[[], float]) -> Callable[[], None]:
        """A database server watches over its own disk, so reading a row is enough."""

        def check() -> None:
            with self.read() as connection:
                connection.execute(select(schema.manifest.c.key).limit(1))

        return check

    def close(self) -> None:
        self.engine.dispose()
