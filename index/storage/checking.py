"""Verifies a store: every document has its vectors, digests agree, and no row is left over."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, select

from index.storage import opening, schema
from index.storage.digests import digest
from index.storage.schema import owned
from index.storage.store import Store
from index.values import Progress


def faults(store: Store, progress: Progress | None = None) -> Iterator[str]:
    """Yield everything that is wrong, one sentence each, as one state of the store has it.

    `progress` is called with the number of users just done. Raises StoreUnavailable, StoreCorrupted,
    StoreDamaged and SchemaMismatch.
    """
    store.open()
    with store.database.read() as connection:
        store.database.unhurried(connection)
        yield from store.database.faults(connection)
        dimension = opening.read_encoder(connection, None).dimension
        spaces = {name: made_by.dimension for name, made_by in opening.read_spaces(connection, {}).items()}
        yield from _without_user(connection)
        columns = schema.users.c
        for user, next_position in connection.execute(
            select(columns.user, columns.next_position).order_by(columns.user)
        ).all():
            for fault in _of_user(connection, user, next_position, dimension, spaces):
                yield f"user {user!r}: {fault}"
            if progress:
                progress(1)


def _without_user(connection: Connection) -> Iterator[str]:
    users = schema.users
    for table in schema.PER_USER:
        same = and_(users.c.tenant == table.c.tenant, users.c.user == table.c.user)
        query = select(table.c.user).where(~select(users.c.user).where(same).exists()).distinct()
        if table is not users:
            for user in connection.scalars(query):
                yield f"user {user!r}: {table.name} of a user that the store does not have"


def _of_user(
    connection: Connection, user: str, next_position: int, dimension: int, spaces: Mapping[str, int]
) -> Iterator[str]:
    passages: dict[int, list[Any]] = defaultdict(list)
    for part in connection.execute(select(schema.passages).where(owned(schema.passages, user))):
        passages[part.position].append(part)
    keys = {(part.position, part.start) for parts in passages.values() for part in parts}
    for row in connection.execute(select(schema.documents).where(owned(schema.documents, user))):
        own = passages.pop(row.position, [])
        if row.position >= next_position:
            yield f"document {row.id!r} has a position that the next new document would get"
        if not own:
            yield f"document {row.id!r} has no vectors"
        yield from (f"document {row.id!r} has a vector {why}" for why in _bad(own, dimension))
        if digest(row._asdict(), [(part.start, part.end, part.vector) for part in own]) != row.digest:
            yield f"document {row.id!r} or its vectors are not as they were written: their digest differs"
    for position in passages:
        yield f"passages at position {position} belong to no document"
    vectors: dict[str, list[Any]] = {name: [] for name in spaces}
    for row in connection.execute(select(schema.space_vectors).where(owned(schema.space_vectors, user))):
        vectors.setdefault(row.space, []).append(row)
    for name, rows in vectors.items():
        if name not in spaces:
            yield f"vectors in the space {name!r}, which the store does not have"
            continue
        yield from (f"space {name!r} has a vector {why}" for why in _bad(rows, spaces[name]))
        found = {(row.position, row.start) for row in rows}
        if missing := len(keys - found):
            yield f"space {name!r} lacks the vectors of {missing} passages"
        if over := len(found - keys):
            yield f"space {name!r} has {over} vectors of no passage"
    for row in connection.execute(select(schema.answers).where(owned(schema.answers, user))):
        try:
            json.loads(row.body)
        except ValueError:
            yield f"answer {row.id!r} is not JSON"


def _bad(rows: Sequence[Any], dimension: int) -> Iterator[str]:
    for row in rows:
        if len(row.vector) != 2 * dimension:
            yield f"of {len(row.vector)} bytes instead of {2 * dimension}"
        elif not np.isfinite(np.frombuffer(row.vector, np.float16)).all():
            yield "with a value that is not finite"
