"""`pr2 evaluate sweep` on the sample data, with the built-in policy."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from server.cli import app
from tests.engine import PLAIN, Engine, writes
from tests.tiny_t5 import make_t5


def sweep(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", "sweep", *map(str, arguments)])


def test_a_sweep_runs_every_cell_and_a_failed_one_is_shown_as_failed(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    asked = ("--out", out, "--top-k", 2, "--top-k", 1, "--limit", 3)
    result = sweep(*asked, "--retriever", "recency", "--retriever", "psychic")
    assert result.exit_code == 1, result.output
    failed = [line for line in result.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 4
    assert all("-psychic-k" in line and "psychic" in line.partition(": ")[2] for line in failed)
    text = (out / "sweep.md").read_text()
    assert "8 cells on sample, 4 failed" in text
    rows = [line for line in text.splitlines() if ", k = " in line and line.startswith("|")]
    assert [row.split(" | ")[0] for row in rows] == [
        f"| {retriever}, k \\= {k}" if "\\=" in row else f"| {retriever}, k = {k}"
        for row, (retriever, k) in zip(
            rows, [("recency", 1), ("recency", 2), ("psychic", 1), ("psychic", 2)], strict=True
        )
    ]
    assert [row.count("failed") for row in rows] == [0, 0, 2, 2]
    # The built-in policy does not read instructions, so both methods answer alike.
    assert all("+0.0000" in row for row in rows[:2])
    page = (out / "sweep.html").read_text()
    assert "prlm − rag, k = 1" in page
    manifest = json.loads((out / "prlm-recency-k2" / "manifest.json").read_text())
    assert (manifest["method"], manifest["retriever"], manifest["limits"]["top_k"]) == ("prlm", "recency", 2)
    records = {file: file.read_bytes() for file in out.glob("*-recency-*/records.jsonl")}
    assert len(records) == 4
    again = sweep(*asked, "--retriever", "recency")
    assert again.exit_code == 0, again.output
    assert {file: file.read_bytes() for file in records} == records, "nothing is answered twice"
    assert "failed" not in (out / "sweep.md").read_text().partition("## ")[2]
    changed = sweep(*asked[:-1], 2, "--retriever", "recency")
    assert changed.exit_code == 1
    assert "was begun with another configuration" in changed.stderr


def test_a_sweep_over_lamp_asks_each_method_in_its_way(tmp_path: Path) -> None:
    t5 = make_t5(tmp_path / "t5", limit=512)
    reply = "<think>Short.</think><answer>Trains</answer>"
    with Engine(lambda request: writes(reply), dialect=PLAIN) as engine:
        asked = ("--benchmark", "lamp", "--task", 4, "--limit", 2, "--out", tmp_path / "sweep")
        served = ("--policy", "openai", "--base-url", engine.base_url, "--model", "tiny")
        result = sweep(*asked, *served, "--tokenizer", t5, "--retriever", "bm25", "--top-k", 1)
    assert result.exit_code == 0, result.output
    responses = {
        method: (tmp_path / "sweep" / f"{method}-bm25-k1" / "responses.json").read_text()
        for method in ("prlm", "rag")
    }
    assert "<think>" in responses["rag"], "the published prompt, continued as it is"
    assert [one["output"] for one in json.loads(responses["prlm"])["golds"]] == ["Trains", "Trains"]
    assert "2 cells on lamp-sample-4, 0 failed" in (tmp_path / "sweep" / "sweep.md").read_text()


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    for arguments, said in (
        (("--method", "prlm"), "at least two methods"),
        (("--method", "prlm", "--method", "none"), "none reads no passages"),
        (("--method", "prlm", "--method", "psychic"), "there is no method 'psychic'"),
        (("--dataset", "nowhere.jsonl"), "nowhere.jsonl"),
    ):
        result = sweep("--out", tmp_path / "sweep", *arguments)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "sweep").exists()
