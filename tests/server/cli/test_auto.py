"""`--retriever auto` on the command line, with an untrained selector."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.selecting import RENDERING, SelectorManifest
from server.cli import app
from tests.agent.tiny_selector import make
from training.evaluation.records import MANIFEST

run = CliRunner().invoke


@pytest.fixture
def selectors(tmp_path: Path) -> dict[str, str]:
    """Folders of a selector of each mode."""
    return {
        mode: str(
            make(
                tmp_path / mode,
                SelectorManifest(
                    mode=mode, members=("none", "bm25", "recency"), max_tokens=64, rendering=RENDERING
                ),
            )
        )
        for mode in ("pre", "post")
    }


@pytest.mark.usefixtures("history")
def test_ask_shows_the_choice_and_what_the_others_took(tmp_path: Path, selectors: dict[str, str]) -> None:
    for mode, folder in selectors.items():
        asked = ["ask", "ana", "Do I love pears?", "--data", str(tmp_path), "--selector", folder]
        result = run(app, [*asked, "--retriever", "auto"])
        assert result.exit_code == 0, result.stderr
        score = r"-?\d+\.\d\d"
        footer = result.stdout.splitlines()[-1]
        choice = rf"retriever \w+ \(none {score}, bm25 {score}, recency {score}\)"
        assert re.search(choice, footer), footer
        assert ("2 other answers: 0 tokens written" in footer) == (mode == "post")


@pytest.mark.usefixtures("history")
def test_ask_without_a_selector_says_how_to_get_one(tmp_path: Path) -> None:
    asked = ["ask", "ana", "Why?", "--data", str(tmp_path), "--retriever", "auto"]
    result = run(app, asked)
    assert result.exit_code == 2
    assert "pr2 train selector" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_run_with_auto_keeps_the_selector_in_its_manifest(
    tmp_path: Path, selectors: dict[str, str]
) -> None:
    evaluated = ["evaluate", "--dataset", "sample", "--limit", "2", "--retriever", "auto"]
    for mode, folder in selectors.items():
        out = tmp_path / f"run-{mode}"
        result = run(app, [*evaluated, "--selector", folder, "--out", str(out)])
        assert result.exit_code == 0, result.output
        selector = json.loads((out / MANIFEST).read_text())["selector"]
        assert (selector["mode"], selector["members"]) == (mode, ["none", "bm25", "recency"])
        assert re.fullmatch("[0-9a-f]{64}", selector["weights"])
    refused = run(app, [*evaluated, "--out", str(tmp_path / "none")])
    assert (refused.exit_code, (tmp_path / "none").exists()) == (2, False)
    assert "pr2 train selector" in refused.stderr
