"""The command line on a store whose log is damaged, and for an answer that could not be stored."""

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from agent.trajectory import Limits, Trajectory
from index.storage.store import Store
from server.answers import AnswerRecord
from server.cli import app
from server.cli.render import StepPrinter
from tests.index.fakes import HashEncoder
from tests.index.storage.test_store import encoded


@pytest.fixture
def damaged(tmp_path: Path) -> str:
    """A folder as a killed process leaves it, with garbage in the log."""
    store = Store(f"sqlite:///{tmp_path / 'pr2.db'}", HashEncoder().manifest)
    for user in ("ana", "bo", "cleo"):
        store.put(user, [[encoded("a")]])
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("pr2.db", "pr2.db-wal"):
        shutil.copy(tmp_path / name, folder)
    store.close()
    log = folder / "pr2.db-wal"
    content = bytearray(log.read_bytes())
    middle = len(content) - 12 * (24 + 4_096)
    content[middle : middle + 8] = b"garbage!"
    log.write_bytes(content)
    return str(folder)


def test_a_damaged_log_is_one_line_and_the_loss_can_be_accepted(
    damaged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        refused = CliRunner().invoke(app, ["profile", "list", "--data", damaged])
        assert (refused.exit_code, refused.stdout) == (2, "")
        (line,) = refused.stderr.splitlines()
        assert line.startswith(f"pr2: {damaged}/pr2.db-wal is damaged: at least ")
        assert "PR2_ACCEPT_LOSS=true" in line
        assert "pr2 store check" in line
    monkeypatch.setenv("PR2_ACCEPT_LOSS", "true")
    accepted = CliRunner().invoke(app, ["profile", "list", "--data", damaged])
    assert accepted.exit_code == 0
    monkeypatch.delenv("PR2_ACCEPT_LOSS")
    after = CliRunner().invoke(app, ["profile", "list", "--data", damaged])
    assert (after.exit_code, after.stdout) == (0, accepted.stdout)


def test_an_answer_that_could_not_be_stored_says_so() -> None:
    out = io.StringIO()
    record = AnswerRecord(
        "1", "ana", "2024-05-01", "pr2", "hybrid", Trajectory("Tea?", Limits()), stored=False
    )
    with StepPrinter(Console(file=out, width=200)) as printer:
        printer.footer(record)
    assert out.getvalue().rstrip().endswith(" · could not be stored")
