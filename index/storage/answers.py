"""Rows of stored answers: one per question, with its trajectory as JSON."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from index.errors import UnknownDocument, UnknownUser
from index.storage import schema
from index.storage.profiles import AT_ONCE, unknown_user, version_of


@dataclass(frozen=True)
class StoredAnswer:
    """An answer in the store; `body` holds JSON values."""

    user: str
    id: str
    body: Mapping[str, Any]


def save(connection: Connection, answers: Sequence[StoredAnswer]) -> list[UnknownUser | None]:
    """Insert answers. Returns None for each that was stored, an error for each whose user is erased."""
    asking = sorted({answer.user for answer in answers})
    known: set[str] = set()
    for first in range(0, len(asking), AT_ONCE):
        users = schema.users.c.user
        # Locked so that no user is erased before the insert.
        query = select(users).where(users.in_(asking[first : first + AT_ONCE])).order_by(users)
        known.update(connection.scalars(query.with_for_update(read=True)))
    now = time.time()
    rows = [
        {"user": answer.user, "id": answer.id, "created_at": now, "body": json.dumps(answer.body)}
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
