"""`pr2 profile import --users`: a folder of many users, on the command line."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.cli import app
from tests.index.bulk.folders import write


@pytest.fixture
def pr2(tmp_path: Path) -> Any:
    def run(*arguments: str | Path) -> tuple[int, list[str], list[str]]:
        here = ["--data", str(tmp_path / "local")]
        result = CliRunner().invoke(app, ["profile", *map(str, arguments), *here])
        return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()

    return run


def test_the_users_of_a_folder_are_imported_and_a_broken_file_is_named(pr2: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "users", {"ana": [{"text": "Pears."}], "ben": [{"text": "Tea."}, {"text": ""}]})
    code, out, said = pr2("import", "all", folder, "--users", "--workers", "1")
    assert (code, out) == (
        1,
        ["stored 1 documents of 1 users: 1 added, 0 unchanged, 0 replaced; 0 items left out"],
    )
    assert said[0].startswith("pr2: ben: ben.ndjson: line 2: text: ")
    assert said[1:] == ["1 of 2 users failed, and nothing of them was stored"]
    assert pr2("list")[1] == ["       1  ana"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("all", "users"), "--workers and --ray go with --users"),
        (("zoe", "users", "--users"), "users has no entry for 'zoe'"),
        (("all", "nowhere", "--users"), "cannot read nowhere: No such file or directory"),
        (("all", "users", "--users", "--server", "http://localhost:1"), "not through a --server"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    pr2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    write(tmp_path / "users")
    monkeypatch.chdir(tmp_path)
    code, out, said = pr2("import", *arguments, "--workers", "2")
    assert (code, out) == (2, [])
    assert message in said[0]
