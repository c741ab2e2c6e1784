"""Opens a database as a store: migrates its schema to the current revision and checks its encoder."""

import json
import threading
from collections.abc import Mapping
from typing import Literal

from sqlalchemy import Connection, delete, insert, inspect, select, text, update

from index.encoding.encoders import EncoderManifest
from index.errors import EncoderMismatch, SchemaMismatch, StoreUnavailable
from index.storage import schema
from index.storage.database import Database

REVISION = "4"
"""Latest revision in migrations/versions, which schema.py describes."""
_ENCODER, _SCHEMA, _SPACE = "encoder", "schema", "space:"
_READ_ENCODER = select(schema.manifest.c.value).where(schema.manifest.c.key == _ENCODER)
"""Built once: it is read with every profile and every change."""
# Alembic keeps the running migration in module globals.
_migrating = threading.Lock()


def prepare(
    database: Database, connection: Connection, encoder: EncoderManifest | None, *, migrate: bool = False
) -> None:
    """Create or migrate the tables, and record `encoder` as the encoder of a new store.

    With `encoder` None, no store is created. `migrate` says that somebody asked for a migration by name.
    Raises SchemaMismatch if the schema is newer or unknown, or a migration has to be asked for, and
    StoreUnavailable if there is no store to open. All of it happens in the transaction of `connection`, so
    that a process which is killed leaves the former schema.
    """
    revision, stamped = revision_of(connection)
    if revision == REVISION and stamped:
        return
    if revision is None and encoder is None:
        raise StoreUnavailable("there is no store yet")
    database.begin_schema(connection)
    revision, stamped = revision_of(connection)  # Another process may have been faster.
    if revision is not None and not (revision.isdecimal() and int(revision) <= int(REVISION)):
        raise SchemaMismatch(
            f"this store has schema {revision}, and this version of pr2 supports schemas up to {REVISION}: "
            "open it with the version that wrote it, or a newer one"
        )
    if revision is not None and revision != REVISION:
        database.before_migration(revision, asked=migrate)
    if revision is not None and not stamped:
        apply(connection, "stamp", revision)
    if revision != REVISION:
        apply(connection, "upgrade", REVISION)
        # Versions from before Alembic check this row.
        _set(connection, _SCHEMA, REVISION)
    if revision is None:
        assert encoder is not None
        write_encoder(connection, encoder)


def read_encoder(
    connection: Connection,
    expected: EncoderManifest | None,
    *,
    lock: Literal["share", "exclusive"] | None = None,
) -> EncoderManifest:
    """Return the encoder of the store's vectors, as this transaction sees it. Raises EncoderMismatch.

    Call it in every transaction that reads or writes vectors: they may have been replaced since the store
    was opened. Writing vectors takes a shared lock, replacing all of them an exclusive one.
    """
    query = _READ_ENCODER.with_for_update(read=lock == "share") if lock else _READ_ENCODER
    made_by = EncoderManifest(**json.loads(connection.execute(query).scalar_one()))
    if expected is not None and not made_by.matches(expected):
        raise EncoderMismatch(
            f"this store was made with the encoder {made_by}; it cannot be opened with "
            f"{expected}: use the former, or re-embed the store (pr2 profile reembed)"
        )
    return made_by


def write_encoder(connection: Connection, encoder: EncoderManifest) -> None:
    _set(connection, _ENCODER, json.dumps(encoder.to_dict()))


def read_spaces(
    connection: Connection, expected: Mapping[str, EncoderManifest]
) -> dict[str, EncoderManifest]:
    """Return the encoders of the store's further spaces by name. Raises EncoderMismatch.

    A space is listed here if, and only if, every passage in the store has a vector in it. The lock on the
    encoder's row (see read_encoder) covers the spaces, too.
    """
    keys = schema.manifest.c.key
    rows = connection.execute(
        select(schema.manifest).where(keys.startswith(_SPACE, autoescape=True)).order_by(keys)
    )
    made_by = {row.key.removeprefix(_SPACE): EncoderManifest(**json.loads(row.value)) for row in rows}
    for name, encoder in expected.items():
        if name in made_by and not made_by[name].matches(encoder):
            raise EncoderMismatch(
                f"the space {name!r} of this store was made with the encoder {made_by[name]}; it cannot be "
                f"opened with {encoder}: use the former, or make it again "
                f"(pr2 profile reembed --space {name}=ENCODER)"
            )
    return made_by


def begin_spaces(connection: Connection, spaces: Mapping[str, EncoderManifest]) -> None:
    """Record these spaces if the store has no documents, so that the first ones get vectors in them.

    Raises EncoderMismatch for a space of another encoder.
    """
    if spaces.keys() <= read_spaces(connection, spaces).keys():
        return
    read_encoder(connection, None, lock="exclusive")
    known = read_spaces(connection, spaces)  # Another process may have recorded them before the lock.
    if connection.execute(select(schema.documents.c.id).limit(1)).one_or_none() is None:
        for name in spaces.keys() - known.keys():
            write_space(connection, name, spaces[name])


def write_space(connection: Connection, name: str, encoder: EncoderManifest) -> None:
    _set(connection, _SPACE + name, json.dumps(encoder.to_dict()))


def drop_space(connection: Connection, name: str) -> None:
    """Delete a space and its vectors."""
    connection.execute(delete(schema.space_vectors).where(schema.space_vectors.c.space == name))
    connection.execute(delete(schema.manifest).where(schema.manifest.c.key == _SPACE + name))


def revision_of(connection: Connection) -> tuple[str | None, bool]:
    """Return the schema's revision, None if there is no store, and whether Alembic has recorded it."""
    tables = inspect(connection).get_table_names()
    if schema.manifest.name not in tables:
        return None, False
    if "alembic_version" in tables:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()), True
    # A store from before Alembic.
    query = select(schema.manifest.c.value).where(schema.manifest.c.key == _SCHEMA)
    return str(connection.execute(query).scalar_one()), False


def apply(connection: Connection, step: Literal["stamp", "upgrade"], revision: str) -> None:
    """Upgrade the tables to a revision, or record that they have it."""
    # Imported lazily: the import takes longer than opening a store that is up to date.
    from alembic import command
    from alembic.config import Config

    from index.storage import migrations

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", migrations.__path__[0].replace("%", "%%"))
    with _migrating:
        (command.stamp if step == "stamp" else command.upgrade)(config, revision)


def _set(connection: Connection, key: str, value: str) -> None:
    row = update(schema.manifest).where(schema.manifest.c.key == key).values(value=value)
    if not connection.execute(row).rowcount:
        connection.execute(insert(schema.manifest), {"key": key, "value": value})
