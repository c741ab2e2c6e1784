"""Copies a store to another place, also from one database to the other: the backup, and the restore."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select

from index.errors import NotCopied
from index.storage import opening, schema
from index.storage.database import Database, connect
from index.storage.store import Store
from index.values import Progress

AT_ONCE = 500
"""Rows that are read and written at a time."""


@dataclass(frozen=True)
class Contents:
    """Number of rows of one table, and a digest of them all in the order of their keys."""

    rows: int
    digest: bytes


class Counting:
    """Counts and digests the rows of one table while they pass."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._rows, self._content, self._progress = 0, hashlib.blake2b(), progress

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        self._rows += len(rows)
        for row in rows:
            self._content.update(repr(tuple(row)).encode())
        if self._progress:
            self._progress(len(rows))

    @property
    def contents(self) -> Contents:
        return Contents(self._rows, self._content.digest())


def size(store: Store) -> int:
    """Return the number of rows in all tables."""
    store.open()
    with store.database.read() as connection:
        store.database.unhurried(connection)
        tables = schema.tables.tables.values()
        return sum(connection.execute(select(func.count()).select_from(each)).scalar_one() for each in tables)


def copy(source: Store, url: str, progress: Progress | None = None) -> dict[str, Contents]:
    """Copy one state of `source`, which may be in use, to a new store at `url`, and read it back.

    Everything is written in one transaction: a copy that breaks off leaves no store. `progress` is called
    with the number of rows just written. Returns the contents by table. Raises NotCopied if there is a store
    already or what is read back differs, StoreUnavailable, StoreDamaged, SchemaMismatch.
    """
    source.open()
    copied: dict[str, Contents] = {}
    with new_database(url) as target:
        with source.database.read() as reading, new_tables(target) as writing:
            source.database.unhurried(reading)
            for name, table in schema.tables.tables.items():
                copied[name] = fill(writing, table, parts(reading, table), progress)
        read_back(target, copied)
    return copied


@contextmanager
def new_database(url: str) -> Iterator[Database]:
    """The database at `url`, closed at the end. Raises StoreUnavailable, StoreDamaged."""
    database = connect(url)
    try:
        database.examine(accept_loss=False)
        yield database
    finally:
        database.close()


@contextmanager
def new_tables(database: Database) -> Iterator[Connection]:
    """A write that begins with the empty tables of a new store. Raises NotCopied if there is a store."""
    with database.write() as writing:
        database.begin_schema(writing)
        if opening.revision_of(writing)[0] is not None:
            raise NotCopied(f"there is a store in {database.name} already: copy to a new place")
        opening.apply(writing, "upgrade", opening.REVISION)
        yield writing


def fill(
    writing: Connection, table: Table, rows: Iterable[Sequence[Any]], progress: Progress | None
) -> Contents:
    """Write a table's rows, which come in parts, with their values in the order of the columns."""
    counting = Counting(progress)
    for some in rows:
        counting.add(some)
        writing.execute(insert(table), [dict(zip(table.c.keys(), row, strict=True)) for row in some])
    return counting.contents


def differing(
    read: Callable[[Table], Iterable[Sequence[Any]]], expected: Mapping[str, Contents]
) -> str | None:
    """Return the name of a table of which `read` gives other contents, in parts; None if there is none."""
    for name, table in schema.tables.tables.items():
        counting = Counting()
        for some in read(table):
            counting.add(some)
        if counting.contents != expected[name]:
            return name
    return None


def read_back(database: Database, copied: Mapping[str, Contents]) -> None:
    """Raise NotCopied if the tables do not have these contents."""
    with database.read() as written:
        database.unhurried(written)
        if name := differing(partial(parts, written), copied):
            raise NotCopied(f"{name} in {database.name} differ from what was written: do not use it")


def parts(connection: Connection, table: Table) -> Iterator[Sequence[Any]]:
    """Yield the rows, AT_ONCE at a time, in the order of their keys, which is the same on both databases."""
    query = select(table).order_by(*table.primary_key).execution_options(yield_per=AT_ONCE)
    for some in connection.execute(query).partitions():
        yield list(some)
