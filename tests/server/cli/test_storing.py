"""`pr2 store`: what it prints, and its exit codes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from index.storage.opening import REVISION
from index.storage.store import Store
from server.cli import app
from tests.index.fakes import HashEncoder
from tests.index.storage.test_revisions import REVISION_2
from tests.index.storage.test_store import encoded
from tests.postgresql import Cluster


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["store", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a store with two documents of ana."""
    folder = tmp_path / "data"
    folder.mkdir()
    store = Store(f"sqlite:///{folder / 'pr2.db'}", HashEncoder().manifest)
    store.put("ana", [[encoded("a"), encoded("b")]])
    store.close()
    return folder


def damage(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM passages WHERE position = 1")


def test_a_sound_store_has_no_fault(folder: Path) -> None:
    result = run("check", "--data", folder)
    assert (result.exit_code, result.stdout) == (0, f"no fault in {folder}/pr2.db\n")


def test_faults_are_named_with_exit_code_1(folder: Path) -> None:
    damage(folder / "pr2.db")
    result = run("check", "--data", folder)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "user 'ana': document 'b' has no vectors",
        "user 'ana': document 'b' or its vectors are not as they were written: their digest differs",
        f"2 faults in {folder}/pr2.db",
    ]


def test_a_file_that_is_no_database_is_a_fault(folder: Path) -> None:
    (folder / "pr2.db").write_bytes(b"not a database " * 1_000)
    result = run("check", "--data", folder)
    assert result.exit_code == 1
    assert f"file is not a database; {folder}/pr2.db is damaged" in result.stdout


def test_without_a_store_there_is_nothing_to_check_or_copy(tmp_path: Path) -> None:
    commands: list[list[str | Path]] = [
        ["check", "--data", tmp_path],
        ["copy", tmp_path, tmp_path / "b"],
        ["migrate", "--data", tmp_path],
        ["export", tmp_path / "b", "--data", tmp_path],
    ]
    for command in commands:
        result = run(*command)
        assert (result.exit_code, result.stderr) == (2, f"pr2: there is no store in {tmp_path}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_backed_up_moved_to_postgresql_and_restored(
    folder: Path, tmp_path: Path, postgresql: Cluster
) -> None:
    url = postgresql.create("moved")
    backup, restored = tmp_path / "backups" / "monday", tmp_path / "restored"
    for source, target in ((folder, backup), (backup, url), (url, restored)):
        result = run("copy", source, target)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("copied 1 users, 2 documents, 2 passages and 0 answers\nno fault in ")
    assert backup.stat().st_mode & 0o777 == 0o700
    assert run("check", "--data", restored).exit_code == 0
    again = run("copy", folder, url)
    assert again.exit_code == 2
    assert "already: copy to a new place" in again.stderr
    assert url not in again.stderr


def test_a_store_is_exported_and_imported_again(folder: Path, tmp_path: Path) -> None:
    exported, again = tmp_path / "parquet", tmp_path / "again"
    result = run("export", exported, "--data", folder)
    assert (result.exit_code, result.stdout) == (
        0,
        "exported 1 users, 2 documents, 2 passages and 0 answers\n",
    )
    result = run("import", exported, "--data", again)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "imported 1 users, 2 documents, 2 passages and 0 answers",
        f"no fault in {again}/pr2.db",
    ]
    for command in ("export", "import"):
        refused = run(command, exported, "--data", folder)
        assert refused.exit_code == 2
        assert "already" in refused.stderr
    assert "is not an export of a store" in run("import", folder, "--data", tmp_path / "none").stderr


def test_a_copy_of_a_damaged_store_says_so(folder: Path, tmp_path: Path) -> None:
    damage(folder / "pr2.db")
    result = run("copy", folder, tmp_path / "copy")
    assert result.exit_code == 1
    assert "document 'b' has no vectors" in result.stdout


def test_the_settings_name_the_database(
    folder: Path, tmp_path: Path, postgresql: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.create("named")
    assert run("copy", folder, url).exit_code == 0
    monkeypatch.setenv("PR2_DATABASE_URL", url)
    result = run("check")
    assert result.exit_code == 0
    assert result.stdout.startswith("no fault in postgresql://pr2:***@127.0.0.1:")


def test_an_older_store_is_migrated_and_copied_aside(tmp_path: Path) -> None:
    (tmp_path / "pr2.db").write_bytes(REVISION_2.read_bytes())
    result = run("migrate", "--data", tmp_path)
    assert (result.exit_code, result.stdout) == (0, f"the store has schema {REVISION}\n")
    assert (tmp_path / "pr2.db-schema-2").read_bytes()[:15] == b"SQLite format 3"
    assert run("check", "--data", tmp_path).exit_code == 0
