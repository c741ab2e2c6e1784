"""The store: the single source of truth for users' histories.

A document's text and its vectors are written in one transaction, and acknowledged writes are durable
(SQLite: WAL, synchronous=FULL). A process that is killed at any moment leaves nothing to repair. Uses
SQLAlchemy Core, so that another database needs no second code path.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from index.documents import Document, iso
from index.encoding.encoders import EncoderManifest
from index.errors import UnknownUser
from index.storage import answers, opening, profiles, schema
from index.storage.answers import StoredAnswer
from index.storage.database import Database
from index.storage.profiles import EncodedDocument, StoredProfile
from index.values import Changes, Receipt


class Store:
    """Documents, vectors and answers behind one database URL. Safe to share between threads.

    The first use opens it. Every method may raise SchemaMismatch, EncoderMismatch, or StoreUnavailable if
    the database cannot be read or written; a write that raises has changed nothing.
    """

    def __init__(self, url: str, manifest: EncoderManifest | None) -> None:
        """`manifest` is that of the encoder in use. None opens an existing store with any encoder."""
        self._expected = manifest
        self.database = Database(url)
        self._ready = False

    def open(self) -> None:
        """Create the store if it is missing, or migrate it. Raises EncoderMismatch, SchemaMismatch."""
        if self._ready:
            return
        with self.database.write() as connection:
            opening.prepare(connection, self._expected)
            opening.read_encoder(connection, self._expected)
        self._ready = True

    def close(self) -> None:
        self.database.close()

    def check(self) -> None:
        """Run a query to show that the database responds."""
        with self._read() as connection:
            connection.execute(select(schema.manifest.c.key).limit(1))

    def users(self) -> list[str]:
        with self._read() as connection:
            return list(connection.scalars(select(schema.users.c.user).order_by(schema.users.c.user)))

    def version(self, user: str) -> int:
        """Return the profile's version, which grows with every change. Raises UnknownUser."""
        with self._read() as connection:
            return profiles.version_of(connection, user)

    def put(
        self,
        user: str,
        batches: Iterable[Sequence[EncodedDocument]],
        changes: Changes | None = None,
        *,
        replace: bool = True,
    ) -> int:
        """Insert or replace documents in one transaction; a replaced document keeps its position.

        `batches` is read inside the transaction, so it should be quick. What changed is added to `changes`.
        Returns the new version. Raises WouldReplace, without `replace`, if contents would be lost.
        """
        with self._write() as connection:
            opening.read_encoder(connection, self._expected, lock="share")
            return profiles.put(connection, user, batches, changes or Changes(), replace=replace)

    def swap_vectors(
        self,
        manifest: EncoderManifest,
        versions: Mapping[str, int],
        batches: Iterable[tuple[str, int, Sequence[EncodedDocument]]],
    ) -> list[str]:
        """Replace all vectors by those of another encoder, in one transaction.

        `batches` has (user, version, documents), and `versions` the latest version of each user in it; older
        batches are skipped. Returns users who have changed since or are not in `versions`; if there are any,
        nothing was replaced.
        """
        with self._write() as connection:
            opening.read_encoder(connection, None, lock="exclusive")
            changed = profiles.swap_vectors(connection, versions, batches)
            if changed:
                return changed
            opening.write_encoder(connection, manifest)
        self._expected = manifest
        return []

    def load(self, user: str) -> StoredProfile:
        """Return the whole profile in one consistent state. Raises UnknownUser."""
        with self._read() as connection:
            dimension = opening.read_encoder(connection, self._expected).dimension
            return profiles.load(connection, user, dimension)

    def document(self, user: str, document_id: str) -> Document:
        """Raises UnknownUser or UnknownDocument."""
        with self._read() as connection:
            return profiles.document(connection, user, document_id)

    def documents(self, user: str, after: int = -1, limit: int = 100) -> list[tuple[int, Document]]:
        """Return a page of (position, document), starting after position `after`. Raises UnknownUser."""
        with self._read() as connection:
            return profiles.page(connection, user, after, limit)

    def count(self, user: str) -> int:
        """Return the number of documents. Raises UnknownUser."""
        with self._read() as connection:
            return profiles.count(connection, user)

    def delete_document(self, user: str, document_id: str) -> None:
        """Raises UnknownUser or UnknownDocument."""
        with self._write() as connection:
            profiles.delete_document(connection, user, document_id)

    def erase(self, user: str) -> Receipt:
        """Delete a user's rows from every table. Raises UnknownUser."""
        with self._write() as connection:
            profiles.version_of(connection, user, to_change=True)
            counts = {
                table.name: connection.execute(delete(table).where(table.c.user == user)).rowcount
                for table in schema.PER_USER
            }
        scrubbed = self.database.scrub()
        return Receipt(
            id=uuid.uuid4().hex,
            user=user,
            erased_at=iso(datetime.now(UTC)),
            documents=counts["documents"],
            passages=counts["passages"],
            answers=counts["answers"],
            scrubbed=scrubbed,
        )

    def save_answers(self, stored: Sequence[StoredAnswer]) -> list[UnknownUser | None]:
        """Store answers in one transaction.

        Returns None for each that was stored, and an error for each whose user has been erased.
        """
        with self._write() as connection:
            return answers.save(connection, stored)

    def answer(self, user: str, answer_id: str) -> dict[str, Any]:
        """Raises UnknownUser or UnknownDocument."""
        with self._read() as connection:
            return answers.find(connection, user, answer_id)

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        self.open()
        with self.database.read() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        self.open()
        with self.database.write() as connection:
            yield connection
