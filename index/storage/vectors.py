"""Vectors as rows of the database: float16, one row for each passage and space."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from index.errors import StoreUnavailable
from index.storage import schema


def to_bytes(vector: NDArray[np.float16]) -> bytes:
    return vector.astype(np.float16).tobytes()


def of_bytes(user: str, stored: Sequence[bytes], dimension: int) -> NDArray[np.float16]:
    """Return the user's vectors as an array, shape (vectors, dimension). Raises StoreUnavailable."""
    if set(map(len, stored)) - {2 * dimension}:
        raise StoreUnavailable(
            f"the database is damaged: a vector of the user {user!r} does not have {dimension} dimensions; "
            "put that user's documents again"
        )
    return np.frombuffer(b"".join(stored), np.float16).reshape(len(stored), dimension)


def load_spaces(
    connection: Connection,
    user: str,
    passages: Sequence[tuple[int, int]],
    spaces: Mapping[str, int],
    positions: Sequence[int] | None = None,
) -> dict[str, NDArray[np.float16]]:
    """Return the user's vectors in further spaces by name, each of shape (passages, dimension).

    `passages` are (position, start) of all passages in order, or of all at some `positions`, and `spaces` the
    dimensions by name. Raises StoreUnavailable unless every passage has a vector in each space.
    """
    columns = schema.space_vectors.c
    query = (
        select(columns.space, columns.position, columns.start, columns.vector)
        .where(schema.owned(schema.space_vectors, user), columns.space.in_(spaces))
        .order_by(columns.position, columns.start)
    )
    if positions is not None:
        query = query.where(columns.position.in_(positions))
    rows = connection.execute(query).all()
    by_space: dict[str, list[Any]] = {name: [] for name in spaces}
    for row in rows:
        by_space[row.space].append(row)
    for name, found in by_space.items():
        if [(row.position, row.start) for row in found] != list(passages):
            raise StoreUnavailable(
                f"the database is damaged: vectors of the user {user!r} are missing in the space {name!r}; "
                "put that user's documents again"
            )
    return {
        name: of_bytes(user, [row.vector for row in found], spaces[name]) for name, found in by_space.items()
    }
