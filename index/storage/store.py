"""The database: the only place where a person's history is kept.

A document's text and its vectors are written in one transaction, and what is acknowledged is durable
(SQLite: WAL, synchronous=FULL). Killed at any moment, the store opens again with nothing to repair.
Written with SQLAlchemy Core, so that another database needs no second code path.
"""

import json
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    select,
    update,
)

from index.documents import Document, iso
from index.encoding.encoders import EncoderManifest
from index.errors import EncoderMismatch, StoreUnavailable, UnknownDocument, UnknownUser
from index.storage import schema
from index.storage.database import as_unavailable, make_engine, scrub_log
from index.values import Receipt

SCHEMA_VERSION = 1
_AT_ONCE = 500
"""Keys in one IN list: below every database's limit."""


@dataclass(frozen=True)
class EncodedPassage:
    """Characters `start` to `end` of a document, and their vector: float16, shape (dimension,)."""

    start: int
    end: int
    vector: NDArray[np.float16]


@dataclass(frozen=True)
class EncodedDocument:
    document: Document
    passages: tuple[EncodedPassage, ...]


@dataclass(frozen=True)
class StoredProfile:
    """All of one person's documents, in the order in which they were first put."""

    user: str
    version: int
    documents: list[Document]
    spans: list[tuple[int, int, int]]
    """(index into documents, start, end) of every passage, in order."""
    vectors: NDArray[np.float16]
    """Shape (passages, dimension)."""


@dataclass(frozen=True)
class StoredAnswer:
    """An answer as it is kept; `body` is JSON values."""

    user: str
    id: str
    body: Mapping[str, Any]


class Store:
    """Everything that is kept, behind one database URL. Safe to share between threads.

    Every method raises StoreUnavailable when the database cannot be read or written; a write that
    raises has changed nothing.
    """

    def __init__(self, url: str, manifest: EncoderManifest | None) -> None:
        """`manifest` of the encoder in use. None takes a store as it is, to look at, and creates none."""
        self._expected = manifest
        self._engine = make_engine(url)
        self._writing = threading.Lock()
        self._ready = False

    def open(self) -> None:
        """Create what is missing. Raises EncoderMismatch when the store was made by another encoder."""
        if self._ready:
            return
        with self._write(opening=True) as connection:
            if self._expected is None and not inspect(connection).has_table(schema.manifest.name):
                raise StoreUnavailable("there is no store yet")
            schema.tables.create_all(connection)
            found = dict(connection.execute(select(schema.manifest.c.key, schema.manifest.c.value)).all())
            if not found:
                assert self._expected is not None, "an empty manifest is only written here"
                values = {"schema": str(SCHEMA_VERSION), "encoder": json.dumps(self._expected.to_dict())}
                rows = [{"key": key, "value": value} for key, value in values.items()]
                connection.execute(insert(schema.manifest), rows)
            elif found["schema"] != str(SCHEMA_VERSION):
                raise StoreUnavailable(
                    f"this store has schema {found['schema']}, this program needs {SCHEMA_VERSION}"
                )
            self._encoder(connection)
        self._ready = True

    def close(self) -> None:
        self._engine.dispose()

    def _encoder(self, connection: Connection) -> EncoderManifest:
        """The encoder that made the vectors, as this transaction sees it. Raises EncoderMismatch.

        Looked at whenever vectors are read or written: they may have been swapped since the store was
        opened.
        """
        manifest = schema.manifest.c
        stored = connection.execute(select(manifest.value).where(manifest.key == "encoder")).scalar_one()
        made_by = EncoderManifest(**json.loads(stored))
        if self._expected is not None and made_by != self._expected:
            raise EncoderMismatch(
                f"this store was made with the encoder {made_by}; it cannot be opened with "
                f"{self._expected}: open it with the former, or embed it again (pr2 profile reembed)"
            )
        return made_by

    def check(self) -> None:
        """Show that the database answers."""
        with self._read() as connection:
            connection.execute(select(schema.manifest.c.key).limit(1))

    def users(self) -> list[str]:
        with self._read() as connection:
            return list(connection.scalars(select(schema.users.c.user).order_by(schema.users.c.user)))

    def version(self, user: str) -> int:
        """Grows with every change to the person's documents. Raises UnknownUser."""
        with self._read() as connection:
            return _version(connection, user)

    def put(self, user: str, batches: Iterable[Sequence[EncodedDocument]]) -> int:
        """Insert or replace documents, all in one transaction; a replaced one keeps its place.

        `batches` is read inside the transaction, so it should be quick. Returns the new version.
        """
        with self._write() as connection:
            self._encoder(connection)
            row = connection.execute(
                select(schema.users.c.version, schema.users.c.next_position)
                .where(schema.users.c.user == user)
                .with_for_update()
            ).one_or_none()
            if row is None:
                connection.execute(insert(schema.users), {"user": user, "version": 0, "next_position": 0})
            # An erased person who comes back must not meet the versions that caches elsewhere still hold.
            version, position = (row.version, row.next_position) if row else (time.time_ns() // 1_000, 0)
            for batch in batches:
                position = _put_batch(connection, user, batch, position)
            connection.execute(
                update(schema.users)
                .where(schema.users.c.user == user)
                .values(version=version + 1, next_position=position)
            )
            return version + 1

    def swap_vectors(
        self,
        manifest: EncoderManifest,
        versions: Mapping[str, int],
        batches: Iterable[tuple[str, int, Sequence[EncodedDocument]]],
    ) -> list[str]:
        """Replace all vectors by those of another encoder, all in one transaction.

        `batches` holds (user, version, documents), `versions` the latest version of each user in it; older
        ones are passed over. Returns the users that changed since, or are not in `versions`; then nothing
        was swapped.
        """
        users = schema.users.c
        with self._write() as connection:
            now = {row.user: row.version for row in connection.execute(select(users.user, users.version))}
            changed = sorted(user for user, version in now.items() if versions.get(user) != version)
            if changed:
                return changed
            connection.execute(delete(schema.passages))
            for user, version, batch in batches:
                if now.get(user) == version:
                    _put_batch(connection, user, batch, 0)
            connection.execute(update(schema.users).values(version=users.version + 1))
            connection.execute(
                update(schema.manifest)
                .where(schema.manifest.c.key == "encoder")
                .values(value=json.dumps(manifest.to_dict()))
            )
        self._expected = manifest
        return []

    def load(self, user: str) -> StoredProfile:
        """Everything at once, as one consistent state. Raises UnknownUser."""
        documents, passages = schema.documents.c, schema.passages.c
        with self._read() as connection:
            version = _version(connection, user)
            dimension = self._encoder(connection).dimension
            rows = connection.execute(
                select(schema.documents).where(documents.user == user).order_by(documents.position)
            ).all()
            parts = connection.execute(
                select(passages.position, passages.start, passages.end, passages.vector)
                .where(passages.user == user)
                .order_by(passages.position, passages.start)
            ).all()
        places = {row.position: index for index, row in enumerate(rows)}
        flat = np.frombuffer(b"".join(part.vector for part in parts), np.float16)
        return StoredProfile(
            user=user,
            version=version,
            documents=[_document(row) for row in rows],
            spans=[(places[part.position], part.start, part.end) for part in parts],
            vectors=flat.reshape(len(parts), dimension),
        )

    def document(self, user: str, document_id: str) -> Document:
        """Raises UnknownUser or UnknownDocument."""
        columns = schema.documents.c
        with self._read() as connection:
            _version(connection, user)
            row = connection.execute(
                select(schema.documents).where(columns.user == user, columns.id == document_id)
            ).one_or_none()
        if row is None:
            raise UnknownDocument(f"{user!r} has no document {document_id!r}")
        return _document(row)

    def documents(self, user: str, after: int = -1, limit: int = 100) -> list[tuple[int, Document]]:
        """A page of (position, document), from the first position past `after`. Raises UnknownUser."""
        columns = schema.documents.c
        with self._read() as connection:
            _version(connection, user)
            rows = connection.execute(
                select(schema.documents)
                .where(columns.user == user, columns.position > after)
                .order_by(columns.position)
                .limit(limit)
            ).all()
        return [(row.position, _document(row)) for row in rows]

    def count(self, user: str) -> int:
        """How many documents the person has. Raises UnknownUser."""
        with self._read() as connection:
            _version(connection, user)
            query = select(func.count()).where(schema.documents.c.user == user)
            return int(connection.execute(query).scalar_one())

    def delete_document(self, user: str, document_id: str) -> None:
        """Raises UnknownUser or UnknownDocument."""
        documents = schema.documents.c
        with self._write() as connection:
            version = _version(connection, user, to_change=True)
            where = (documents.user == user, documents.id == document_id)
            position = connection.execute(select(documents.position).where(*where)).scalar_one_or_none()
            if position is None:
                raise UnknownDocument(f"{user!r} has no document {document_id!r}")
            connection.execute(delete(schema.documents).where(*where))
            connection.execute(
                delete(schema.passages).where(
                    schema.passages.c.user == user, schema.passages.c.position == position
                )
            )
            connection.execute(
                update(schema.users).where(schema.users.c.user == user).values(version=version + 1)
            )

    def erase(self, user: str) -> Receipt:
        """Delete everything of a person: documents, vectors and answers. Raises UnknownUser."""
        with self._write() as connection:
            _version(connection, user, to_change=True)
            counts = {}
            for table in (schema.documents, schema.passages, schema.answers, schema.users):
                counts[table.name] = connection.execute(delete(table).where(table.c.user == user)).rowcount
        scrubbed = scrub_log(self._engine)
        return Receipt(
            id=uuid.uuid4().hex,
            user=user,
            erased_at=iso(datetime.now(UTC)),
            documents=counts["documents"],
            passages=counts["passages"],
            answers=counts["answers"],
            scrubbed=scrubbed,
        )

    def save_answers(self, answers: Sequence[StoredAnswer]) -> list[UnknownUser | None]:
        """Keep answers and their trajectories, all in one transaction; None for each that was kept.

        For an erased person nothing is kept.
        """
        asking = sorted({answer.user for answer in answers})
        known: set[str] = set()
        with self._write() as connection:
            for first in range(0, len(asking), _AT_ONCE):
                some = schema.users.c.user.in_(asking[first : first + _AT_ONCE])
                known.update(connection.scalars(select(schema.users.c.user).where(some)))
            now = time.time()
            rows = [
                {"user": answer.user, "id": answer.id, "created_at": now, "body": json.dumps(answer.body)}
                for answer in answers
                if answer.user in known
            ]
            if rows:
                connection.execute(insert(schema.answers), rows)
        return [None if answer.user in known else _unknown(answer.user) for answer in answers]

    def answer(self, user: str, answer_id: str) -> dict[str, Any]:
        """Raises UnknownUser or UnknownDocument."""
        columns = schema.answers.c
        with self._read() as connection:
            _version(connection, user)
            body = connection.execute(
                select(columns.body).where(columns.user == user, columns.id == answer_id)
            ).scalar_one_or_none()
        if body is None:
            raise UnknownDocument(f"{user!r} has no answer {answer_id!r}")
        found: dict[str, Any] = json.loads(body)
        return found

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        self.open()
        with as_unavailable(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self, *, opening: bool = False) -> Iterator[Connection]:
        if not opening:
            self.open()
        # Writers queue here instead of at the database's lock, where waiting is polling.
        with self._writing, as_unavailable():
            options = self._engine.execution_options(pr2_write=True)
            with options.begin() as connection:
                yield connection


_VERSION = select(schema.users.c.version).where(schema.users.c.user == bindparam("user"))
"""Made once: it is asked at every search, and making it takes longer than running it."""


_VERSION_TO_CHANGE = _VERSION.with_for_update()
"""One writer a person at a time, also where several servers share a database."""


def _version(connection: Connection, user: str, *, to_change: bool = False) -> int:
    query = _VERSION_TO_CHANGE if to_change else _VERSION
    version = connection.execute(query, {"user": user}).scalar_one_or_none()
    if version is None:
        raise _unknown(user)
    return int(version)


def _unknown(user: str) -> UnknownUser:
    return UnknownUser(f"nothing is stored for the user {user!r}")


def _put_batch(connection: Connection, user: str, batch: Sequence[EncodedDocument], position: int) -> int:
    """Write one batch; of documents with the same id the last wins. Returns the next free position."""
    latest = {encoded.document.id: encoded for encoded in batch}
    columns = schema.documents.c
    ids = list(latest)
    places: dict[str, int] = {}
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        rows = connection.execute(
            select(columns.id, columns.position).where(columns.user == user, columns.id.in_(some))
        ).all()
        places |= {row.id: row.position for row in rows}
    known = list(places.values())
    for first in range(0, len(known), _AT_ONCE):
        some_places = known[first : first + _AT_ONCE]
        for table in (schema.documents, schema.passages):
            connection.execute(delete(table).where(table.c.user == user, table.c.position.in_(some_places)))
    document_rows, passage_rows = [], []
    for document_id, encoded in latest.items():
        if document_id not in places:
            places[document_id] = position
            position += 1
        place = places[document_id]
        document_rows.append(_row(user, place, encoded.document))
        passage_rows += [
            {
                "user": user,
                "position": place,
                "start": passage.start,
                "end": passage.end,
                "vector": passage.vector.astype(np.float16).tobytes(),
            }
            for passage in encoded.passages
        ]
    if document_rows:
        connection.execute(insert(schema.documents), document_rows)
    if passage_rows:
        connection.execute(insert(schema.passages), passage_rows)
    return position


def _row(user: str, position: int, document: Document) -> dict[str, Any]:
    return {
        "user": user,
        "id": document.id,
        "position": position,
        "text": document.text,
        "created_at": iso(document.created_at) if document.created_at else None,
        "title": document.title,
        "source": document.source,
        "metadata": json.dumps(document.metadata) if document.metadata else None,
    }


def _document(row: Any) -> Document:
    # What is in the store was validated on its way in.
    return Document.model_construct(
        id=row.id,
        text=row.text,
        created_at=datetime.fromisoformat(row.created_at) if row.created_at else None,
        title=row.title,
        source=row.source,
        metadata=json.loads(row.metadata) if row.metadata else {},
    )
