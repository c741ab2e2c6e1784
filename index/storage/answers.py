"""Rows of stored answers: one per question, with its trajectory as JSON."""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, tuple_, update

from index.errors import UnknownDocument, UnknownUser
from index.storage import schema
from index.storage.profiles import AT_ONCE, missing, unknown_user, version_of
from index.storage.redaction import Deleted, document_ids
from index.storage.schema import owned, owner


@dataclass(frozen=True)
class StoredAnswer:
    """An answer in the store; `body` holds JSON values."""

    user: str
    id: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Place of an answer among its user's, which are ordered by the time of storing."""

    stored_at: float
    """Unix time, in seconds."""
    id: str


def save(connection: Connection, answers: Sequence[StoredAnswer]) -> list[UnknownUser | None]:
    """Insert answers. Returns None for each that was stored, an error for each whose user is erased.

    The text of documents that were deleted while the answer was written is not stored.
    """
    asking = sorted({answer.user for answer in answers})
    known: set[str] = set()
    for first in range(0, len(asking), AT_ONCE):
        some = asking[first : first + AT_ONCE]
        columns = schema.users.c
        query = select(columns.user).where(columns.tenant == schema.TENANT, columns.user.in_(some))
        # Locked so that nothing of these users is deleted before the insert. Imports go on meanwhile.
        lock = query.order_by(columns.user).with_for_update(read=True, key_share=True)
        known.update(connection.scalars(lock))
    now = time.time()
    rows = [
        owner(answer.user)
        | {
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
    body = _body(connection, user, answer_id)
    if body is None:
        raise _unknown_answer(user, answer_id)
    found: dict[str, Any] = json.loads(body)
    return found


def page(
    connection: Connection, user: str, before: Place | None, limit: int
) -> list[tuple[Place, dict[str, Any]]]:
    """Return at most `limit` answers, newest first, from the one that precedes `before` in time.

    None begins with the newest. Raises UnknownUser.
    """
    version_of(connection, user)
    columns = schema.answers.c
    place = tuple_(columns.created_at, columns.id)
    query = select(columns.created_at, columns.id, columns.body).where(owned(schema.answers, user))
    if before is not None:
        query = query.where(place < (before.stored_at, before.id))
    newest = query.order_by(columns.created_at.desc(), columns.id.desc()).limit(limit)
    return [(Place(row.created_at, row.id), json.loads(row.body)) for row in connection.execute(newest)]


def remove(connection: Connection, user: str, answer_id: str) -> None:
    """Delete a stored answer. Raises UnknownUser or UnknownDocument."""
    version_of(connection, user, to_delete=True)
    where = (owned(schema.answers, user), schema.answers.c.id == answer_id)
    if not connection.execute(delete(schema.answers).where(*where)).rowcount:
        raise _unknown_answer(user, answer_id)


def change(
    connection: Connection,
    user: str,
    answer_id: str,
    changed: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> None:
    """Replace the body of a stored answer by what `changed` makes of it.

    Raises UnknownUser, UnknownDocument and what `changed` raises, and then changes nothing.
    """
    version_of(connection, user, to_delete=True)  # A redaction must not be overwritten.
    body = _body(connection, user, answer_id)
    if body is None:
        raise _unknown_answer(user, answer_id)
    _replace(connection, user, answer_id, json.dumps(changed(json.loads(body))))


def _unknown_answer(user: str, answer_id: str) -> UnknownDocument:
    return UnknownDocument(f"{user!r} has no answer {answer_id!r}")


@dataclass(frozen=True)
class Redacted:
    """The new body of an answer, and the SHA-256 of the body that it was made from."""

    id: str
    body: str
    made_from: bytes


def redacted(connection: Connection, user: str, deleted: Deleted, seen: set[str]) -> Iterator[Redacted]:
    """Yield the user's answers that hold text of the document, without it. Adds the ids of all to `seen`.

    With many answers this takes a while; it locks nothing.
    """
    columns = schema.answers.c
    query = select(columns.id, columns.body).where(owned(schema.answers, user))
    for row in connection.execute(query.execution_options(yield_per=AT_ONCE)):
        seen.add(row.id)
        if (body := _without(deleted, row.body)) is not None:
            yield Redacted(row.id, body, _digest(row.body))


def redact(
    connection: Connection, user: str, deleted: Deleted, found: Iterable[Redacted], seen: Collection[str]
) -> None:
    """Store the redacted answers, and redact those that were stored or changed after they were looked at."""
    columns = schema.answers.c
    for answer in found:
        stored = _body(connection, user, answer.id)
        if stored is not None:
            unchanged = _digest(stored) == answer.made_from
            _replace(connection, user, answer.id, answer.body if unchanged else _without(deleted, stored))
    for answer_id in set(
        connection.scalars(select(columns.id).where(owned(schema.answers, user)))
    ).difference(seen):
        _replace(connection, user, answer_id, _without(deleted, _body(connection, user, answer_id) or "{}"))


def _without(deleted: Deleted, body: str) -> str | None:
    """Return the body without the document's text, None if it has none."""
    if not deleted.may_be_in(body):
        return None
    changed = deleted.removed_from(json.loads(body))
    return None if changed is None else json.dumps(changed)


def _digest(body: str) -> bytes:
    return hashlib.sha256(body.encode()).digest()


def _body(connection: Connection, user: str, answer_id: str) -> str | None:
    columns = schema.answers.c
    query = select(columns.body).where(owned(schema.answers, user), columns.id == answer_id)
    return connection.execute(query).scalar_one_or_none()


def _replace(connection: Connection, user: str, answer_id: str, body: str | None) -> None:
    if body is not None:
        columns = schema.answers.c
        row = update(schema.answers).where(owned(schema.answers, user), columns.id == answer_id)
        connection.execute(row.values(body=body))


def _without_deleted(connection: Connection, answer: StoredAnswer) -> Mapping[str, Any]:
    body = answer.body
    for document_id in missing(connection, answer.user, document_ids(body)):
        body = Deleted(document_id).removed_from(body) or body
    return body
