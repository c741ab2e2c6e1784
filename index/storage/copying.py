"""Copies a store to another place, also from one database to the other: the backup, and the restore."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Row, Table, func, insert, select

from index.errors import NotCopied
from index.storage import opening, schema
from index.storage.database import connect
from index.storage.store import Store
from index.values import Progress

_AT_ONCE = 500
"""Rows that are read and written at a time."""


@dataclass(frozen=True)
class Contents:
    """Number of rows of one table, and a digest of them all in the order of their keys."""

    rows: int
    digest: bytes


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
    target = connect(url)
    try:
        target.examine(accept_loss=False)
        copied: dict[str, Contents] = {}
        with source.database.read() as reading, target.write() as writing:
            source.database.unhurried(reading)
            target.begin_schema(writing)
            if opening.revision_of(writing)[0] is not None:
                raise NotCopied(f"there is a store in {target.name} already: copy to a new place")
            opening.apply(writing, "upgrade", opening.REVISION)
            for name, table in schema.tables.tables.items():
                copied[name] = _contents(reading, table, writing, progress)
        with target.read() as written:
            target.unhurried(written)
            for name, table in schema.tables.tables.items():
                if _contents(written, table) != copied[name]:
                    raise NotCopied(f"{name} in {target.name} differ from what was written: do not use it")
    finally:
        target.close()
    return copied


def _contents(
    connection: Connection, table: Table, into: Connection | None = None, progress: Progress | None = None
) -> Contents:
    """Digest the rows of a table, writing them to the same table of another database."""
    rows, content = 0, hashlib.blake2b()
    for some in _parts(connection, table):
        rows += len(some)
        for row in some:
            content.update(repr(tuple(row)).encode())
        if into is not None:
            into.execute(insert(table), [dict(row._mapping) for row in some])
        if progress:
            progress(len(some))
    return Contents(rows, content.digest())


def _parts(connection: Connection, table: Table) -> Iterator["list[Row[*tuple[object, ...]]]"]:
    """Yield the rows in the order of their keys, which is the same on both databases."""
    query = select(table).order_by(*table.primary_key).execution_options(yield_per=_AT_ONCE)
    for some in connection.execute(query).partitions():
        yield list(some)
