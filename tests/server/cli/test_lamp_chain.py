"""LaMP from feedback to a run with `auto`, each command on what the one before it wrote, with tiny models."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from tests.agent import tiny_selector
from tests.tiny_t5 import make_t5
from training.feedback.records import read_feedback
from training.retriever.small import write_small_encoder

POOL = ("none", "bm25", "dense", "ropg-kd")
LAMP = ("--benchmark", "lamp", "--task", 4)


def pr2(*arguments: object) -> Result:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chain")
    make_t5(root / "t5", limit=512)
    write_small_encoder(root / "small")
    tiny_selector.make(root / "reader", None)
    return root


def test_what_ropg_and_rspg_learn_is_used_by_the_next_command(root: Path) -> None:
    writes = ("--engine", "seq2seq", "--model", root / "t5", "--max-tokens", 4)
    encodes = ("--encoder", root / "small")
    collects = ("--measure", "likelihood", "--documents", 3)
    pr2("train", "feedback", *LAMP, *encodes, *writes, *collects, "--out", root / "feedback")
    assert [len(one.documents) for one in read_feedback(root / "feedback")] == [3] * 12

    learns = ("--method", "ropg-kd", "--temperature", 0.1, "--epochs", 1, "--batch-size", 4, "--cpu")
    pr2("train", "retriever", "--feedback", root / "feedback", *encodes, *learns, "--out", root / "ropg")

    # The profiles are those that the feedback was collected from.
    ranks = (*encodes, "--space", f"ropg-kd={root / 'ropg' / 'ropg-kd'}", "--data", root / "store")
    pr2("profile", "reembed", *ranks[2:])
    for name in POOL:
        pr2("evaluate", *LAMP, *ranks, *writes, "--retriever", name, "--out", root / name)

    runs = [part for name in POOL for part in ("--run", f"{name}={root / name}")]
    chooses = ("--mode", "post", "--model", root / "reader", "--epochs", 1, "--batch-size", 2)
    pr2("train", "selector", *runs, *chooses, "--max-tokens", 64, "--out", root / "trained")

    auto = ("--retriever", "auto", "--selector", root / "trained" / "selector")
    pr2("evaluate", *LAMP, *ranks, *writes, *auto, "--out", root / "auto")
    lines = (root / "auto" / "trajectories.jsonl").read_text("utf-8").splitlines()
    trajectories = [json.loads(line) for line in lines]
    assert len(trajectories) == 12
    for trajectory in trajectories:
        choice = trajectory["trajectory"]["selection"]
        assert list(choice["scores"]) == list(POOL)
        assert choice["retriever"] == max(choice["scores"], key=choice["scores"].get)

    exhibits = pr2("evaluate", "exhibits", *(root / name for name in (*POOL, "auto")), "--out", root / "out")
    assert "exhibits" in exhibits.stdout
    assert "ROPG-KD" in next((root / "out").glob("*.md")).read_text("utf-8")
