"""Rows of stored answers: one per question, with its trajectory as JSON."""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from index.errors import UnknownDocument, UnknownUser
from index.storage import schema
from index.storage.profiles import AT_ONCE, missing, unknown_user, version_of
from index.storage.redaction import Deleted, document_ids


@dataclass(frozen=True)
class StoredAnswer:
    """An answer in the store; `body` holds JSON values."""

    user: str
    id: str
    body: Mapping[str, Any]


def save(connection: Connection, answers: Sequence[StoredAnswer]) -> list[UnknownUser | None]:
    """Insert answers. Returns None for each that was stored, an error for each whose user is erased.

    The text of documents that were deleted while the answer was written is not stored.
    """
    asking = sorted({answer.user for answer in answers})
    known: set[str] = set()
    for first in range(0, len(asking), AT_ONCE):
        users = schema.users.c.user
        # Locked so that no user is erased before the insert.
        query = select(users).where(users.in_(asking[first : first + AT_ONCE])).order_by(users)
        known.update(connection.scalars(query.with_for_update(read=True)))
    now = time.time()
    rows = [
        {
            "user": answer.user,
            "id": answer.id,
            "created_at": now,
            "body": json.dumps(_without_deleted(connection, answer)),
        }
        for answer in answers
        if answer.user in known
    ]
    if rows:
        connection.execute(insert(schema.answers), rows)
    return [None if answer.user in known else unknown_user(answer.user) for answer in answers]


def find(connection: Connection, user: str, answer_id: str) -> dict[str, Any]:
    """Return the body of a stored answer. Raises UnknownUser or UnknownDocument."""
    version_of(connection, user)
    columns = schema.answers.c
    body = connection.execute(
        select(columns.body).where(columns.user == user, columns.id == answer_id)
    ).scalar_one_or_none()
    if body is None:
        raise UnknownDocument(f"{user!r} has no answer {answer_id!r}")
    found: dict[str, Any] = json.loads(body)
    return found


@dataclass(frozen=True)
class Scan:
    """Ids of a user's answers: all that were stored, and those that may hold a deleted document's text."""

    seen: frozenset[str]
    suspects: frozenset[str]


def scan(connection: Connection, user: str, deleted: Deleted) -> Scan:
    """Look through the user's answers for the document. This may take a while, and locks nothing."""
    columns = schema.answers.c
    rows = connection.execution_options(yield_per=AT_ONCE).execute(
        select(columns.id, columns.body).where(columns.user == user)
    )
    seen, suspects = set(), set()
    for row in rows:
        seen.add(row.id)
        if deleted.may_be_in(row.body):
            suspects.add(row.id)
    return Scan(frozenset(seen), frozenset(suspects))


def redact(connection: Connection, user: str, deleted: Deleted, scanned: Scan) -> None:
    """Remove the document's text from the suspects, and from answers that were stored since the scan."""
    columns = schema.answers.c
    ids = set(connection.scalars(select(columns.id).where(columns.user == user)))
    changed = [
        {"of": user, "named": answer_id, "body": json.dumps(body)}
        for answer_id, stored in _bodies(connection, user, (ids - scanned.seen) | (ids & scanned.suspects))
        if deleted.may_be_in(stored) and (body := deleted.removed_from(json.loads(stored))) is not None
    ]
    if changed:
        where = (columns.user == bindparam("of"), columns.id == bindparam("named"))
        connection.execute(update(schema.answers).where(*where).values(body=bindparam("body")), changed)


def _bodies(connection: Connection, user: str, ids: Collection[str]) -> Iterator[tuple[str, str]]:
    columns = schema.answers.c
    ordered = sorted(ids)
    for first in range(0, len(ordered), AT_ONCE):
        some = ordered[first : first + AT_ONCE]
        rows = connection.execute(
            select(columns.id, columns.body).where(columns.user == user, columns.id.in_(some))
        )
        yield from ((row.id, row.body) for row in rows.all())


def _without_deleted(connection: Connection, answer: StoredAnswer) -> Mapping[str, Any]:
    body = answer.body
    for document_id in missing(connection, answer.user, document_ids(body)):
        body = Deleted(document_id).removed_from(body) or body
    return body
