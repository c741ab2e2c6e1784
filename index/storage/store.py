"""The store: the single source of truth for users' histories.

A document's text and its vectors are written in one transaction, and acknowledged writes are durable
(SQLite: WAL, synchronous=FULL). A process that is killed at any moment leaves nothing to repair. SQLAlchemy
Core serves SQLite and PostgreSQL from the same code; what differs is in sqlite.py and postgresql.py.
"""

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from index.documents import Document, iso
from index.encoding.encoders import EncoderManifest
from index.encoding.spool import Spool
from index.errors import EncoderMismatch, UnknownSpace, UnknownUser
from index.storage import answers, loading, opening, profiles, schema
from index.storage.answers import Place, StoredAnswer
from index.storage.database import connect
from index.storage.health import Health
from index.storage.loading import StoredChange, StoredProfile
from index.storage.profiles import EncodedDocument
from index.storage.redaction import Deleted
from index.values import Changes, Receipt

_REMAINS = (
    "backups and copies of the store (pr2 store copy, pr2 store export, pg_dump, snapshots of the disk)",
    "folders that pr2 evaluate and pr2 train made from the store: runs, feedback, prepared data, weights",
    "logs and traces that are kept outside of the store, such as those of a proxy or of an engine",
)
"""Places that no store knows: see docs/storage.md."""


class Store:
    """Documents, vectors and answers behind one database URL. Safe to share between threads.

    The first use opens it. Every method may raise SchemaMismatch, EncoderMismatch, or StoreUnavailable if
    the database cannot be read or written; a write that raises has changed nothing.
    """

    def __init__(
        self,
        url: str,
        manifest: EncoderManifest | None,
        spaces: Mapping[str, EncoderManifest] | None = None,
        *,
        keep_reserve: bool = False,
        accept_loss: bool = False,
    ) -> None:
        """`manifest` is that of the encoder in use. None opens an existing store with any encoder. `spaces`
        are the manifests of the encoders of further spaces, by the space's name.

        With `keep_reserve`, some disk space is set aside so that documents can be deleted when the disk is
        full. With `accept_loss`, a store with a damaged log is opened without the writes behind the damage.
        """
        self._expected = manifest
        self._spaces = dict(spaces or {})
        self.database = connect(url)
        self._health = Health(self.database)
        self._keep_reserve = keep_reserve
        self._accept_loss = accept_loss
        self._ready = False

    def open(self, *, migrate: bool = False) -> None:
        """Create the store if it is missing.

        An older schema is migrated: of a SQLite file always, after it has been copied aside; of any other
        database, which other servers may be using, only with `migrate`. Raises EncoderMismatch,
        SchemaMismatch, StoreDamaged.
        """
        if self._ready:
            return
        self.database.examine(accept_loss=self._accept_loss)
        with self.database.write() as connection:
            opening.prepare(self.database, connection, self._expected, migrate=migrate)
            opening.read_encoder(connection, self._expected)
            opening.begin_spaces(connection, self._spaces)
        # A process that was killed may have deleted without scrubbing.
        self.database.scrub(wait_ms=0)
        if self._keep_reserve:
            self.database.keep_reserve()
        self._ready = True

    def close(self) -> None:
        self.database.close()

    def check(self) -> None:
        """Try what the store promises: to write durably, and to read. Raises StoreUnavailable."""
        self.open()
        self._health.check()

    def users(self) -> list[str]:
        with self._read() as connection:
            columns = schema.users.c
            query = select(columns.user).where(columns.tenant == schema.TENANT).order_by(columns.user)
            return list(connection.scalars(query))

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
        Returns the new version. Raises WouldReplace, without `replace`, if contents would be lost,
        EncoderMismatch if the store has a space that this one was opened without, and NotStored if a document
        that comes without vectors is not stored as it is.
        """
        with self._write() as connection:
            opening.read_encoder(connection, self._expected, lock="share")
            spaces = opening.read_spaces(connection, self._spaces)
            without = sorted(spaces.keys() - self._spaces.keys())
            if without:
                raise EncoderMismatch(_not_in_use(without[0], spaces[without[0]]))
            return profiles.put(
                connection, user, batches, changes or Changes(), replace=replace, spaces=spaces
            )

    def unchanged(self, user: str, documents: Iterable[Document]) -> set[str]:
        """Return the ids of those documents that are stored with the same contents."""
        with self._read() as connection:
            return profiles.unchanged(connection, user, documents)

    def spaces(self) -> dict[str, EncoderManifest]:
        """Return the encoders of the further spaces that every passage has a vector in, by name."""
        with self._read() as connection:
            return opening.read_spaces(connection, self._spaces)

    def encoder(self) -> EncoderManifest:
        """Return the encoder of the store's own vectors."""
        with self._read() as connection:
            return opening.read_encoder(connection, self._expected)

    def drop_space(self, name: str) -> None:
        """Delete a further space and its vectors. Raises UnknownSpace."""

        def work(connection: Connection) -> None:
            self.database.unhurried(connection)
            opening.read_encoder(connection, None, lock="exclusive")
            known = opening.read_spaces(connection, {})
            if name not in known:
                raise UnknownSpace(f"the store has no space {name!r}; it has {', '.join(known) or 'none'}")
            opening.drop_space(connection, name)

        self.open()
        self.database.delete(work)

    def swap_vectors(
        self,
        manifest: EncoderManifest,
        versions: Mapping[str, int],
        batches: Iterable[tuple[str, int, Sequence[EncodedDocument]]],
        space: str | None = None,
    ) -> list[str]:
        """Replace all vectors, or those in one further space, by another encoder's, in one transaction.

        Passages are split for the store's own encoder, so its replacement drops all further spaces.

        `batches` has (user, version, documents), and `versions` the latest version of each user in it; older
        batches are skipped. Returns users who have changed since or are not in `versions`; if there are any,
        nothing was replaced.
        """
        with self._write() as connection:
            self.database.unhurried(connection)
            opening.read_encoder(connection, None, lock="exclusive")
            changed = profiles.swap_vectors(connection, versions, batches, space)
            if changed:
                return changed
            if space is None:
                opening.write_encoder(connection, manifest)
                for name in opening.read_spaces(connection, {}):
                    opening.drop_space(connection, name)
            else:
                opening.write_space(connection, space, manifest)
        if space is None:
            self._expected = manifest
        else:
            self._spaces = {**self._spaces, space: manifest}
        return []

    def load(self, user: str) -> StoredProfile:
        """Return the whole profile in one consistent state. Raises UnknownUser."""
        with self._read() as connection:
            return loading.load(connection, user, *self._dimensions(connection))

    def changes(
        self, user: str, since: int, spaces: Collection[str] = (), most: int = profiles.AT_ONCE
    ) -> StoredChange | None:
        """Return what has changed since a version of the profile, with vectors in the further `spaces`.

        None if the whole profile is to be loaded: more than `most` documents have changed, there are other
        spaces now, or the version is too old. Raises UnknownUser.
        """
        with self._read() as connection:
            dimension, found = self._dimensions(connection)
            if found.keys() != set(spaces):
                return None
            return loading.changes(connection, user, since, most, dimension, found)

    def _dimensions(self, connection: Connection) -> tuple[int, dict[str, int]]:
        """The dimensions of the store's vectors and of those in the spaces in use, by name."""
        dimension = opening.read_encoder(connection, self._expected).dimension
        made_by = opening.read_spaces(connection, self._spaces) if self._spaces else {}
        return dimension, {name: made_by[name].dimension for name in self._spaces if name in made_by}

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
        """Delete a document, and its text from stored answers. Raises UnknownUser or UnknownDocument."""
        seen: set[str] = set()
        with Spool() as found:
            with self._read() as connection:
                deleted = Deleted(document_id, (profiles.document(connection, user, document_id).text,))
                # Before the write, so that nobody waits for a search through many answers.
                for answer in answers.redacted(connection, user, deleted, seen):
                    found.add(answer)

            def work(connection: Connection) -> None:
                profiles.delete_document(connection, user, document_id)
                answers.redact(connection, user, deleted, found, seen)

            self.database.delete(work)

    def erase(self, user: str) -> Receipt:
        """Delete a user's rows from every table. The receipt names what that does not reach.

        Raises UnknownUser.
        """

        def work(connection: Connection) -> dict[str, int]:
            profiles.version_of(connection, user, to_delete=True)
            return {
                table.name: connection.execute(delete(table).where(schema.owned(table, user))).rowcount
                for table in schema.PER_USER
            }

        self.open()
        counts = self.database.delete(work)
        scrubbed = self.database.scrubbed
        return Receipt(
            id=uuid.uuid4().hex,
            user=user,
            erased_at=iso(datetime.now(UTC)),
            documents=counts["documents"],
            passages=counts["passages"],
            answers=counts["answers"],
            scrubbed=scrubbed,
            space_vectors=counts["space_vectors"],
            remains=(*self.database.remains(), *_REMAINS),
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

    def answers(
        self, user: str, before: Place | None = None, limit: int = 100
    ) -> list[tuple[Place, dict[str, Any]]]:
        """Return a page of stored answers, newest first. Raises UnknownUser."""
        with self._read() as connection:
            return answers.page(connection, user, before, limit)

    def change_answer(
        self, user: str, answer_id: str, changed: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    ) -> None:
        """See answers.change. Raises UnknownUser, UnknownDocument and what `changed` raises."""
        with self._write() as connection:
            answers.change(connection, user, answer_id, changed)

    def delete_answer(self, user: str, answer_id: str) -> None:
        """Delete a stored answer. Raises UnknownUser or UnknownDocument."""
        self.open()
        self.database.delete(lambda connection: answers.remove(connection, user, answer_id))

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


def _not_in_use(name: str, encoder: EncoderManifest) -> str:
    return (
        f"this store has the space {name!r} (encoder {encoder}), so no document is stored without a vector "
        f"in it: add --space {name}=ENCODER (setting spaces), or delete the space with "
        f"pr2 profile spaces --drop {name}"
    )
