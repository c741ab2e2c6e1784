"""The store: the only place where a user's history is kept.

A document's text and its vectors are written in one transaction, and what is acknowledged is durable
(SQLite: WAL, synchronous=FULL). Killed at any moment, the store opens again with nothing to repair.
Written with SQLAlchemy Core, so that another database needs no second code path.
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
from index.values import Receipt


class Store:
    """Everything that is kept, behind one database URL. Safe to share between threads.

    Opened by its first use. Every method raises SchemaMismatch, EncoderMismatch, and StoreUnavailable when
    the database cannot be read or written; a write that raises has changed nothing.
    """

    def __init__(self, url: str, manifest: EncoderManifest | None) -> None:
        """`manifest` of the encoder in use. None takes a store as it is, to look at, and creates none."""
        self._expected = manifest
        self.database = Database(url)
        self._ready = False

    def open(self) -> None:
        """Create or upgrade what is missing. Raises EncoderMismatch, SchemaMismatch."""
        if self._ready:
            return
        with self.database.write() as connection:
            opening.prepare(connection, self._expected)
            opening.read_encoder(connection, self._expected)
        self._ready = True

    def close(self) -> None:
        self.database.close()

    def check(self) -> None:
        """Show that the database answers."""
        with self._read() as connection:
            connection.execute(select(schema.manifest.c.key).limit(1))

    def users(self) -> list[str]:
        with self._read() as connection:
            return list(connection.scalars(select(schema.users.c.user).order_by(schema.users.c.user)))

    def version(self, user: str) -> int:
        """Grows with every change to the user's documents. Raises UnknownUser."""
        with self._read() as connection:
            return profiles.version_of(connection, user)

    def put(self, user: str, batches: Iterable[Sequence[EncodedDocument]]) -> int:
        """Insert or replace documents, all in one transaction; a replaced one keeps its position.

        `batches` is read inside the transaction, so it should be quick. Returns the new version.
        """
        with self._write() as connection:
            opening.read_encoder(connection, self._expected, lock="share")
            return profiles.put(connection, user, batches)

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
        with self._write() as connection:
            opening.read_encoder(connection, None, lock="exclusive")
            changed = profiles.swap_vectors(connection, versions, batches)
            if changed:
                return changed
            opening.write_encoder(connection, manifest)
        self._expected = manifest
        return []

    def load(self, user: str) -> StoredProfile:
        """Everything at once, as one consistent state. Raises UnknownUser."""
        with self._read() as connection:
            dimension = opening.read_encoder(connection, self._expected).dimension
            return profiles.load(connection, user, dimension)

    def document(self, user: str, document_id: str) -> Document:
        """Raises UnknownUser or UnknownDocument."""
        with self._read() as connection:
            return profiles.document(connection, user, document_id)

    def documents(self, user: str, after: int = -1, limit: int = 100) -> list[tuple[int, Document]]:
        """A page of (position, document), from the first position past `after`. Raises UnknownUser."""
        with self._read() as connection:
            return profiles.page(connection, user, after, limit)

    def count(self, user: str) -> int:
        """The number of the user's documents. Raises UnknownUser."""
        with self._read() as connection:
            return profiles.count(connection, user)

    def delete_document(self, user: str, document_id: str) -> None:
        """Raises UnknownUser or UnknownDocument."""
        with self._write() as connection:
            profiles.delete_document(connection, user, document_id)

    def erase(self, user: str) -> Receipt:
        """Delete all rows of a user, whatever table they are in. Raises UnknownUser."""
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
        """Keep answers and their trajectories, all in one transaction; None for each that was kept.

        Nothing is kept for an erased user.
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
