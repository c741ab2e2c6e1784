"""Reads a user's profile: the whole of it, or what has changed since a version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BindParameter, Connection, bindparam, select

from index.documents import Document
from index.storage import schema, vectors
from index.storage.profiles import AT_ONCE, REMEMBERED, version_of
from index.storage.rows import Record, document_of
from index.storage.schema import owned

_USER: BindParameter[str] = bindparam("user")
# Built once: after each change they are run again, and building them takes longer than running them.
_DOCUMENTS = (
    select(*(schema.documents.c[name] for name in Record._fields), schema.documents.c.reading)
    .where(owned(schema.documents, _USER))
    .order_by(schema.documents.c.position)
)
_CHANGED = _DOCUMENTS.where(schema.documents.c.version > bindparam("since")).limit(bindparam("most"))
_DELETED = select(schema.deletions.c.position).where(
    owned(schema.deletions, _USER), schema.deletions.c.version > bindparam("since")
)
_PASSAGES = (
    select(*(schema.passages.c[name] for name in ("position", "start", "end", "vector")))
    .where(owned(schema.passages, _USER))
    .order_by(schema.passages.c.position, schema.passages.c.start)
)
_SOME_PASSAGES = _PASSAGES.where(schema.passages.c.position.in_(bindparam("places", expanding=True)))


@dataclass(frozen=True)
class StoredProfile:
    """All documents of one user, in the order in which they were first put; or some, in the same order."""

    user: str
    version: int
    records: Sequence[Record | Document]
    spans: Sequence[tuple[int, int, int]]
    """(index into records, start, end) of each passage, in order."""
    vectors: NDArray[np.float16]
    """Shape (passages, dimension)."""
    spaces: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)
    """Vectors of the same passages in further spaces, by the space's name."""
    readings: Sequence[bytes | None] = ()
    """The reading that was kept with each document; see index.ranking.reading."""

    @cached_property
    def documents(self) -> list[Document]:
        return list(map(document_of, self.records))

    def parts(self, index: int) -> list[tuple[int, int]]:
        """Return (start, end) of each passage of the document at `index`."""
        starts = np.searchsorted([span[0] for span in self.spans], [index, index + 1])
        return [span[1:] for span in self.spans[starts[0] : starts[1]]]


@dataclass(frozen=True)
class StoredChange:
    """The changes of a profile since a version of it."""

    written: StoredProfile
    """The documents that were put since, with the present version."""
    removed: Sequence[int]
    """Positions in the store of documents that were deleted since; some may have been put since, too."""


def load(
    connection: Connection, user: str, dimension: int, spaces: Mapping[str, int] | None = None
) -> StoredProfile:
    """Return all documents and vectors; `spaces` are the dimensions of further spaces to load, by name.

    Raises UnknownUser, and StoreUnavailable if a vector is damaged or missing.
    """
    version = version_of(connection, user)
    rows = connection.execute(_DOCUMENTS, {"user": user}).all()
    return _profile(connection, user, version, rows, dimension, spaces or {}, whole=True)


def changes(
    connection: Connection,
    user: str,
    since: int,
    most: int,
    dimension: int,
    spaces: Mapping[str, int] | None = None,
) -> StoredChange | None:
    """Return what has changed since a version of the profile.

    None if more than `most` documents were put, or the version is not among those for which the store knows
    the deletions: it may be of a user who was erased and has returned. Raises what `load` raises.
    """
    version = version_of(connection, user)
    if not 0 <= version - since < REMEMBERED:
        return None
    most = min(most, AT_ONCE)
    rows = connection.execute(_CHANGED, {"user": user, "since": since, "most": most + 1}).all()
    if len(rows) > most:
        return None
    removed = connection.scalars(_DELETED, {"user": user, "since": since}).all()
    return StoredChange(_profile(connection, user, version, rows, dimension, spaces or {}), removed)


def _profile(
    connection: Connection,
    user: str,
    version: int,
    rows: Sequence[Any],
    dimension: int,
    spaces: Mapping[str, int],
    *,
    whole: bool = False,
) -> StoredProfile:
    """Read the passages of documents: of these rows, which may be the `whole` profile."""
    records = [Record._make(row[:-1]) for row in rows]
    places = [record.position for record in records]
    some = None if whole else places
    query, given = (_PASSAGES, {}) if some is None else (_SOME_PASSAGES, {"places": some})
    parts = connection.execute(query, {"user": user} | given).all()
    owners, starts, ends, encoded = zip(*parts, strict=True) if parts else ((), (), (), ())
    indexes = {place: index for index, place in enumerate(places)}
    return StoredProfile(
        user=user,
        version=version,
        records=records,
        spans=list(zip(map(indexes.__getitem__, owners), starts, ends, strict=True)),
        vectors=vectors.of_bytes(user, encoded, dimension),
        spaces=vectors.load_spaces(connection, user, list(zip(owners, starts, strict=True)), spaces, some)
        if spaces
        else {},
        readings=[row[-1] for row in rows],
    )
