"""Stores of earlier schemas are migrated, on both databases, whole or not at all."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Table, create_engine, insert, inspect, select, text

from index.errors import EncoderMismatch, SchemaMismatch
from index.profiles import Profiles
from index.storage import opening, schema
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.postgresql import Cluster

DATA = Path(__file__).with_name("data")
BEFORE_ALEMBIC = DATA / "before_alembic.db"
"""Written by commit 9363ef8 with HashEncoder: three documents and an answer of ana, one document of bo."""
REVISION_2 = DATA / "revision_2.db"
"""Written by commit 148a41f with HashEncoder: as many, with vectors in a space "other", too."""
ENCODER = HashEncoder()


def everything(path: Path) -> list[str]:
    """All tables and rows."""
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.iterdump())


def contents(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of each table, without what revisions 3 and 4 add."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for table in inspect(connection).get_table_names():
        if table in schema.tables.tables or table == "alembic_version":
            reflected = Table(table, MetaData(), autoload_with=connection)
            added = ["tenant", "digest"] + ["version", "reading"] * (table == "documents")
            kept = [column for column in reflected.c if column.name not in added]
            found[table] = sorted(tuple(row) for row in connection.execute(select(*kept)))
    found["manifest"] = [row for row in found["manifest"] if row[0] != "schema"]
    found.pop("alembic_version", None)
    assert found.pop("deletions", []) == []
    return found


def contents_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        found = contents(connection)
    engine.dispose()
    return found


def tables(path: Path) -> dict[str, str]:
    """The CREATE statement of each table, with white space normalized."""
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name: " ".join(sql.split()) for name, sql in made if name != "alembic_version"}


def revision(path: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchall()


def mark(path: Path, table: str, column: str, value: str) -> None:
    where = " WHERE key = 'schema'" if table == "manifest" else ""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = ?{where}", (value,))


def test_the_revisions_make_the_tables_of_the_schema(store: Store, path: Path, tmp_path: Path) -> None:
    store.open()
    engine = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    schema.tables.create_all(engine)
    engine.dispose()
    assert tables(path) == tables(tmp_path / "other.db")
    assert revision(path) == [(opening.REVISION,)]


def make(path: Path, schema: str) -> None:
    """Put a file of an earlier schema there."""
    shutil.copy(REVISION_2 if schema == "2" else BEFORE_ALEMBIC, path)
    if schema == "1":
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
            connection.execute("INSERT INTO alembic_version VALUES ('1')")


@pytest.mark.parametrize("earlier", ["before Alembic", "1", "2"])
def test_a_file_of_every_earlier_schema_opens_and_loses_nothing(
    store: Store, path: Path, earlier: str
) -> None:
    make(path, earlier)
    before, dump = contents_of(path), everything(path)
    store.open()
    assert {"space_vectors": [], **before} == contents_of(path)
    assert revision(path) == [(opening.REVISION,)]
    copy = path.with_name(f"{path.name}-schema-{'2' if earlier == '2' else '1'}")
    assert everything(copy) == dump
    assert copy.stat().st_mode & 0o777 == 0o600
    assert sorted(store.spaces()) == (["other"] if earlier == "2" else [])
    assert store.users() == ["ana", "bo"]
    assert store.answer("ana", "0123abcd")["answer"] == "Green tea [1]."
    (found,) = Profiles(store, ENCODER).search("ana", ["green tea"], 1, "dense")
    assert (found[0].document_id, found[0].title, found[0].created_at) == (
        "tea", "Breakfast", "2024-05-01T08:00:00Z",
    )  # fmt: skip
    assert len(store.load("ana").spans) > len(store.load("ana").documents) == 3


def test_a_store_is_copied_aside_once(store: Store, path: Path) -> None:
    make(path, "2")
    store.open()
    copy = path.with_name(f"{path.name}-schema-2")
    copy.unlink()
    again = Store(f"sqlite:///{path}", ENCODER.manifest)
    again.open()
    again.close()
    assert not copy.exists()


def test_the_revisions_make_the_tables_of_the_schema_on_postgresql(postgresql: Cluster) -> None:
    store = Store(postgresql.create("made"), ENCODER.manifest)
    store.open()
    with store.database.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or name in schema.tables.tables,
            },
        )
        assert compare_metadata(context, schema.tables) == []
        partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'documents'::regclass"
        assert connection.scalar(text(partitions)) == 16
    store.close()


@pytest.fixture
def older(postgresql: Cluster, tmp_path: Path) -> Iterator[Store]:
    """A store of revision 2 on PostgreSQL."""
    file = create_engine(f"sqlite:///{REVISION_2}")
    store = Store(postgresql.create(tmp_path.name), ENCODER.manifest)
    with file.connect() as source, store.database.write() as connection:
        opening.apply(connection, "upgrade", "2")
        for name in schema.tables.tables.keys() - {"deletions"}:
            table = Table(name, MetaData(), autoload_with=source)
            connection.execute(insert(table), [dict(row._mapping) for row in source.execute(select(table))])
    file.dispose()
    yield store
    store.close()


def test_postgresql_is_migrated_when_somebody_asks_for_it(older: Store) -> None:
    for _ in range(2):
        with pytest.raises(SchemaMismatch, match=r"has schema 2, .* stop the servers .* pr2 store migrate"):
            older.users()
    older.open(migrate=True)
    with older.database.read() as connection:
        assert contents(connection) == contents_of(REVISION_2)
    assert older.users() == ["ana", "bo"]
    assert len(older.load("ana").documents) == 3


def killed_while_migrating(url: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.index.storage.migrating", url],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half-way\n"
        child.kill()


def test_a_migration_that_is_killed_half_way_has_changed_nothing(store: Store, path: Path) -> None:
    make(path, "2")
    before = everything(path)
    killed_while_migrating(f"sqlite:///{path}")
    assert everything(path) == before
    store.open()
    assert contents_of(path) == contents_of(REVISION_2)


def test_a_migration_of_postgresql_that_is_killed_half_way_has_changed_nothing(older: Store) -> None:
    killed_while_migrating(older.database.engine.url.render_as_string(hide_password=False))
    with older.database.write() as connection:
        older.database.begin_schema(connection)  # Waits until the server has rolled the other one back.
        assert opening.revision_of(connection) == ("2", True)
        assert contents(connection) == contents_of(REVISION_2)
    older.open(migrate=True)
    assert older.users() == ["ana", "bo"]


def test_a_new_database_can_be_opened_by_many_at_the_same_time(postgresql: Cluster) -> None:
    url = postgresql.create("new")

    def open_and_close(_: int) -> None:
        store = Store(url, ENCODER.manifest)
        try:
            store.open()
        finally:
            store.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(open_and_close, range(4)))


def test_a_file_from_before_the_revisions_keeps_its_encoder(path: Path) -> None:
    shutil.copy(BEFORE_ALEMBIC, path)
    other = Store(f"sqlite:///{path}", HashEncoder("other").manifest)
    with pytest.raises(EncoderMismatch):
        other.open()
    other.close()


@pytest.mark.parametrize(("table", "column"), [("manifest", "value"), ("alembic_version", "version_num")])
@pytest.mark.parametrize("other", [str(int(opening.REVISION) + 1), "0a1b"])
def test_a_store_of_another_schema_is_refused_and_stays_as_it_is(
    store: Store, path: Path, table: str, column: str, other: str
) -> None:
    if table == "manifest":
        shutil.copy(BEFORE_ALEMBIC, path)
    else:
        made = Store(f"sqlite:///{path}", ENCODER.manifest)
        made.open()
        made.close()
    mark(path, table, column, other)
    before = everything(path)
    with pytest.raises(SchemaMismatch, match=f"has schema {other}, and this version of pr2 supports"):
        store.users()
    assert everything(path) == before


def test_every_table_with_a_user_is_erased_with_the_user() -> None:
    assert set(schema.PER_USER) == {table for table in schema.tables.tables.values() if "user" in table.c}
