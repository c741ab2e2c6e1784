"""`pr2 train warmstart` on real runs of the extractive policy."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.cli import app


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of `pr2` and `rag` on the same few questions."""
    folder = tmp_path_factory.mktemp("runs")
    for method in ("pr2", "rag"):
        asked = ("--dataset", "sample", "--limit", "4", "--method", method, "--out", str(folder / method))
        result = CliRunner().invoke(app, ["evaluate", *asked])
        assert result.exit_code == 0, result.output
    return folder


def warmstart(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", "warmstart", *map(str, arguments)])


def scores(run: Path) -> dict[str, float]:
    return {one["id"]: one["score"] for one in lines(run / "records.jsonl")}


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_good_trajectories_are_written_and_the_training_command_is_printed(
    runs: Path, tmp_path: Path
) -> None:
    every = scores(runs / "pr2")
    least = min(score for score in every.values() if score > min(every.values()))
    good = {name: score for name, score in every.items() if score >= least}
    out = tmp_path / "warm start"
    result = warmstart(runs / "pr2", "--out", out, "--least", least, "--model", "some/model")
    assert result.exit_code == 0, result.output
    rows = lines(out / "sft.jsonl")
    assert {row["id"]: row["score"] for row in rows} == good
    kept = lines(runs / "pr2" / "trajectories.jsonl")
    transcripts = {one["id"]: one["trajectory"]["transcript"] for one in kept}
    for row in rows:
        assert "".join(segment["text"] for segment in row["segments"]) == transcripts[row["id"]]
        assert [segment["author"] for segment in row["segments"][:2]] == ["environment", "policy"]
    said = result.stdout.splitlines()
    assert said[0] == f"{out / 'sft.jsonl'}: {len(good)} of 4 trajectories"
    assert said[1] == f"  {4 - len(good)} score less than {least:g}"
    command = shlex.split(said[-1])
    assert command[:3] == ["deepspeed", "--module", "training.policy.openrlhf.sft"]
    flags = dict(zip(command[1::2], command[2::2], strict=False))
    assert flags["--model.model_name_or_path"] == "some/model"
    assert flags["--data.dataset"] == str(out / "sft.jsonl")
    assert int(flags["--train.batch_size"]) <= len(good)
    assert command[-2:] == ["--ckpt.output_dir", str(out / "model")]


def test_a_missing_extra_is_named_before_anything_is_written(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openrlhf", None)
    result = warmstart(runs / "pr2", "--out", tmp_path / "out", "--least", 0, "--run")
    assert result.exit_code == 2
    assert "training needs openrlhf" in result.stderr
    assert "pip install 'pr2[openrlhf]'" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pr2", "rag"), "a policy is trained for one method, but runs are of pr2, rag"),
        (("pr2", "pr2"), "more than once"),
        (("nowhere",), "nowhere holds no run"),
        (("pr2", "--least", 1), "the best scores 0."),
    ],
    ids=["two methods", "given twice", "no run", "nothing good enough"],
)
def test_an_input_error_is_one_line(
    arguments: tuple[object, ...], said: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    result = warmstart(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
