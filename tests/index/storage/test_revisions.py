import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from index.errors import EncoderMismatch, SchemaMismatch
from index.profiles import Profiles
from index.storage import opening, schema
from index.storage.store import Store
from tests.index.fakes import HashEncoder

BEFORE_ALEMBIC = Path(__file__).with_name("data") / "before_alembic.db"
"""Written by commit 9363ef8 with HashEncoder: three documents and an answer of ana, one document of bo."""
ENCODER = HashEncoder()


def everything(path: Path) -> list[str]:
    """All tables and rows, without the number of the schema."""
    with closing(sqlite3.connect(path)) as connection:
        lines = [line for line in connection.iterdump() if "alembic_version" not in line]
    return sorted(line.replace("VALUES('schema','2')", "VALUES('schema','1')") for line in lines)


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


@pytest.mark.parametrize("stamped", [False, True], ids=["before Alembic", "revision 1"])
def test_a_file_of_the_first_schema_opens_and_loses_nothing(store: Store, path: Path, stamped: bool) -> None:
    shutil.copy(BEFORE_ALEMBIC, path)
    if stamped:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
            connection.execute("INSERT INTO alembic_version VALUES ('1')")
    before = everything(path)
    store.open()
    added = [line for line in everything(path) if line not in before]
    assert len(added) == 1
    assert added[0].startswith("CREATE TABLE space_vectors")
    assert [line for line in everything(path) if line not in added] == before
    assert revision(path) == [("2",)]
    assert store.spaces() == {}
    assert store.users() == ["ana", "bo"]
    assert store.answer("ana", "0123abcd")["answer"] == "Green tea [1]."
    (found,) = Profiles(store, ENCODER).search("ana", ["green tea"], 1, "dense")
    assert (found[0].document_id, found[0].title, found[0].created_at) == (
        "tea", "Breakfast", "2024-05-01T08:00:00Z",
    )  # fmt: skip
    assert len(store.load("ana").spans) > len(store.load("ana").documents) == 3


def test_a_file_from_before_the_revisions_keeps_its_encoder(path: Path) -> None:
    shutil.copy(BEFORE_ALEMBIC, path)
    other = Store(f"sqlite:///{path}", HashEncoder("other").manifest)
    with pytest.raises(EncoderMismatch):
        other.open()
    other.close()


@pytest.mark.parametrize(("table", "column"), [("manifest", "value"), ("alembic_version", "version_num")])
@pytest.mark.parametrize("other", ["3", "0a1b"])
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
