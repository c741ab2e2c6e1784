"""Rows of a user's profile: documents, passages with their vectors, and the profile's version."""

import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from index.documents import Document
from index.errors import UnknownDocument, UnknownUser, WouldReplace
from index.storage import schema, vectors
from index.storage.database import insert_if_missing
from index.storage.digests import digest
from index.storage.rows import document_of, row_of
from index.storage.schema import owned, owner
from index.values import Changes, Tally

_ENCODED = (schema.passages, schema.space_vectors)
"""Tables with rows for each passage of a document."""
AT_ONCE = 500
"""Keys per IN list, below every database's limit."""
REMEMBERED = 1_000
"""Versions of a profile for which the store knows which documents have been deleted since."""


@dataclass(frozen=True)
class EncodedPassage:
    """Characters `start` to `end` of a document and their vector, float16, shape (dimension,)."""

    start: int
    end: int
    vector: NDArray[np.float16]
    spaces: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)
    """Vectors in further spaces, by the space's name."""


@dataclass(frozen=True)
class EncodedDocument:
    document: Document
    passages: tuple[EncodedPassage, ...] | None
    """None for a document that is stored with the same contents, whose vectors were not made again."""
    reading: bytes | None = None
    """Its reading (index.ranking.reading). Without one, the document is read whenever it is loaded."""


class NotStored(Exception):
    """A document without vectors is not stored with these contents any more: it has to be encoded."""


_VERSION = select(schema.users.c.version).where(owned(schema.users, bindparam("user")))
"""Built once: every search runs it, and building it takes longer than running it."""
_VERSION_TO_DELETE = _VERSION.with_for_update()
"""Locks the user's row: one writer per user, even if several servers share a database.

This lock also waits for answers that are being stored; see answers.save.
"""


def version_of(connection: Connection, user: str, *, to_delete: bool = False) -> int:
    """Return the profile's version, which grows with every change. Raises UnknownUser."""
    query = _VERSION_TO_DELETE if to_delete else _VERSION
    version = connection.execute(query, {"user": user}).scalar_one_or_none()
    if version is None:
        raise unknown_user(user)
    return int(version)


def unknown_user(user: str) -> UnknownUser:
    return UnknownUser(f"nothing is stored for the user {user!r}")


def put(
    connection: Connection,
    user: str,
    batches: Iterable[Sequence[EncodedDocument]],
    changes: Changes,
    *,
    replace: bool,
    spaces: Collection[str] = (),
) -> int:
    """See Store.put. `spaces` names the further spaces of the store. Raises NotStored."""
    version, start = _claimed(connection, user)
    position = start
    differs: dict[str, bool] = {}
    for batch in batches:
        _compare(connection, user, batch, start, differs, changes.added)
        new = [encoded for encoded in batch if encoded.passages is not None]
        position = _put_batch(connection, user, new, version + 1, position, spaces)
    for document_id, changed in differs.items():
        (changes.replaced if changed else changes.unchanged).add(document_id)
    if changes.replaced.count and not replace:
        raise WouldReplace(_would_replace(changes.replaced))
    connection.execute(
        update(schema.users)
        .where(owned(schema.users, user))
        .values(version=version + 1, next_position=position)
    )
    return version + 1


def _claimed(connection: Connection, user: str) -> tuple[int, int]:
    """Create the user if missing, lock their row, and return its version and next position."""
    # Random: a user who returns after an erasure must not reuse versions that the caches of other servers
    # hold, also if the clock was set back.
    new = owner(user) | {"version": secrets.randbits(62), "next_position": 0}
    columns = schema.users.c
    query = select(columns.version, columns.next_position).where(owned(schema.users, user))
    query = query.with_for_update(key_share=True)
    # Another server may create or erase the user between the two statements.
    while (row := connection.execute(query).one_or_none()) is None:
        insert_if_missing(connection, schema.users, new)
    return row.version, row.next_position


def swap_vectors(
    connection: Connection,
    versions: Mapping[str, int],
    batches: Iterable[tuple[str, int, Sequence[EncodedDocument]]],
    space: str | None = None,
) -> list[str]:
    """See Store.swap_vectors. `space` None means the vectors of the store's own encoder, and all passages."""
    users = schema.users.c
    query = select(users.user, users.version).where(users.tenant == schema.TENANT)
    # Locked, so that nothing is deleted which would be written again.
    now = {row.user: row.version for row in connection.execute(query.with_for_update(key_share=True))}
    changed = sorted(user for user, version in now.items() if versions.get(user) != version)
    if changed:
        return changed
    if space is None:
        for table in _ENCODED:
            connection.execute(delete(table))
    else:
        connection.execute(delete(schema.space_vectors).where(schema.space_vectors.c.space == space))
    for user, version, batch in batches:
        if now.get(user) != version:
            continue
        if space is None:
            _put_batch(connection, user, batch, version + 1, 0)
        else:
            _put_vectors(connection, user, batch, _positions(connection, user, batch), [space])
    connection.execute(update(schema.users).values(version=users.version + 1))
    return []


def document(connection: Connection, user: str, document_id: str) -> Document:
    """Raises UnknownUser or UnknownDocument."""
    version_of(connection, user)
    columns = schema.documents.c
    row = connection.execute(
        select(schema.documents).where(owned(schema.documents, user), columns.id == document_id)
    ).one_or_none()
    if row is None:
        raise unknown_document(user, document_id)
    return document_of(row)


def page(connection: Connection, user: str, after: int, limit: int) -> list[tuple[int, Document]]:
    """Return (position, document) of the first documents after position `after`. Raises UnknownUser."""
    version_of(connection, user)
    columns = schema.documents.c
    rows = connection.execute(
        select(schema.documents)
        .where(owned(schema.documents, user), columns.position > after)
        .order_by(columns.position)
        .limit(limit)
    ).all()
    return [(row.position, document_of(row)) for row in rows]


def count(connection: Connection, user: str) -> int:
    """Return the number of documents. Raises UnknownUser."""
    version_of(connection, user)
    query = select(func.count()).where(owned(schema.documents, user))
    return int(connection.execute(query).scalar_one())


def missing(connection: Connection, user: str, document_ids: Collection[str]) -> list[str]:
    """Return those ids of which the user has no document, sorted."""
    columns = schema.documents.c
    absent = set(document_ids)
    ordered = sorted(document_ids)
    for first in range(0, len(ordered), AT_ONCE):
        some = ordered[first : first + AT_ONCE]
        absent.difference_update(
            connection.scalars(select(columns.id).where(owned(schema.documents, user), columns.id.in_(some)))
        )
    return sorted(absent)


def delete_document(connection: Connection, user: str, document_id: str) -> None:
    """Raises UnknownUser or UnknownDocument."""
    version = version_of(connection, user, to_delete=True)
    documents = schema.documents.c
    where = (owned(schema.documents, user), documents.id == document_id)
    position = connection.execute(select(documents.position).where(*where)).scalar_one_or_none()
    if position is None:
        raise unknown_document(user, document_id)
    connection.execute(delete(schema.documents).where(*where))
    for table in _ENCODED:
        connection.execute(delete(table).where(owned(table, user), table.c.position == position))
    deletions = schema.deletions
    connection.execute(
        delete(deletions).where(owned(deletions, user), deletions.c.version <= version - REMEMBERED)
    )
    row = owner(user) | {"version": version + 1, "position": position}
    connection.execute(insert(deletions), row)
    connection.execute(update(schema.users).where(owned(schema.users, user)).values(version=version + 1))


def unknown_document(user: str, document_id: str) -> UnknownDocument:
    return UnknownDocument(f"{user!r} has no document {document_id!r}")


def _compare(
    connection: Connection,
    user: str,
    batch: Sequence[EncodedDocument],
    start: int,
    differs: dict[str, bool],
    added: Tally[str],
) -> None:
    """Compare a batch with what was stored before the put: before position `start`.

    A document that was stored gets an entry in `differs`; one that is new is added to `added`.
    """
    latest = {encoded.document.id: encoded for encoded in batch}
    for document_id, row in _rows(connection, user, latest):
        encoded = latest[document_id]
        changed = row is None or not _same(row, encoded.document)
        if changed and encoded.passages is None:
            raise NotStored
        if row is None:
            added.add(document_id)
        elif row.position < start:
            differs[document_id] = differs.get(document_id, False) or changed


def unchanged(connection: Connection, user: str, documents: Iterable[Document]) -> set[str]:
    """Return the ids of those documents that are stored with the same contents."""
    latest = {document.id: document for document in documents}
    rows = _rows(connection, user, latest)
    return {document_id for document_id, row in rows if row is not None and _same(row, latest[document_id])}


def _rows(connection: Connection, user: str, document_ids: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield each id with its stored row, None if there is none."""
    columns = schema.documents.c
    ids = list(document_ids)
    for first in range(0, len(ids), AT_ONCE):
        some = ids[first : first + AT_ONCE]
        query = select(schema.documents).where(owned(schema.documents, user), columns.id.in_(some))
        stored = {row.id: row for row in connection.execute(query)}
        for document_id in some:
            yield document_id, stored.get(document_id)


def _same(row: Any, document: Document) -> bool:
    return document_of(row).to_dict() == document.to_dict()


def _would_replace(replaced: Tally[str]) -> str:
    named = ", ".join(map(repr, replaced.first))
    more = f" and {replaced.count - len(replaced.first)} more" if replaced.count > len(replaced.first) else ""
    return f"other contents are stored under these ids, and nothing is replaced: {named}{more}"


def _put_batch(
    connection: Connection,
    user: str,
    batch: Sequence[EncodedDocument],
    version: int,
    position: int,
    spaces: Collection[str] = (),
) -> int:
    """Write one batch; the last document with an id wins. Returns the next free position.

    `version` is the one that the profile will have.
    """
    latest = {encoded.document.id: encoded for encoded in batch}
    positions = _positions(connection, user, latest.values())
    known = list(positions.values())
    for first in range(0, len(known), AT_ONCE):
        replaced = known[first : first + AT_ONCE]
        for table in (schema.documents, *_ENCODED):
            connection.execute(delete(table).where(owned(table, user), table.c.position.in_(replaced)))
    for document_id in latest:
        if document_id not in positions:
            positions[document_id] = position
            position += 1
    rows: list[dict[str, Any]] = []
    passage_rows: list[dict[str, Any]] = []
    for name, encoded in latest.items():
        row = row_of(user, positions[name], encoded.document)
        parts = [
            (passage.start, passage.end, vectors.to_bytes(passage.vector))
            for passage in encoded.passages or ()
        ]
        rows.append(row | {"digest": digest(row, parts), "version": version, "reading": encoded.reading})
        key = owner(user) | {"position": positions[name]}
        passage_rows += [key | {"start": s, "end": e, "vector": vector} for s, e, vector in parts]
    if rows:
        connection.execute(insert(schema.documents), rows)
    if passage_rows:
        connection.execute(insert(schema.passages), passage_rows)
    _put_vectors(connection, user, latest.values(), positions, spaces)
    return position


def _positions(connection: Connection, user: str, batch: Iterable[EncodedDocument]) -> dict[str, int]:
    """The positions of those documents that are stored, by id."""
    columns = schema.documents.c
    ids = list(dict.fromkeys(encoded.document.id for encoded in batch))
    positions: dict[str, int] = {}
    for first in range(0, len(ids), AT_ONCE):
        some = ids[first : first + AT_ONCE]
        rows = connection.execute(
            select(columns.id, columns.position).where(owned(schema.documents, user), columns.id.in_(some))
        ).all()
        positions |= {row.id: row.position for row in rows}
    return positions


def _put_vectors(
    connection: Connection,
    user: str,
    batch: Iterable[EncodedDocument],
    positions: Mapping[str, int],
    spaces: Collection[str],
) -> None:
    """Write the passages' vectors in these further spaces."""
    rows = [
        _key(user, positions[encoded.document.id], passage)
        | {"space": space, "vector": vectors.to_bytes(passage.spaces[space])}
        for encoded in batch
        for passage in encoded.passages or ()
        for space in spaces
    ]
    if rows:
        connection.execute(insert(schema.space_vectors), rows)


def _key(user: str, position: int, passage: EncodedPassage) -> dict[str, Any]:
    return owner(user) | {"position": position, "start": passage.start}
