"""`pr2 train retriever` as a process: killed, resumed, and used as an encoder; its refusals in words."""

import json
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from index.encoding.encoders import load_encoder
from server.cli import app
from tests.server.cli.process import PR2, ROOT
from training.feedback.records import read_feedback, read_manifest, write_feedback
from training.retriever.small import write_small_encoder
from training.retriever.worlds import people, ranked, vocabularies


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "small"
    write_small_encoder(folder)
    return folder


@pytest.fixture(scope="module")
def feedback(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feedback")
    made = people("things", vocabularies(0)[0], 12, np.random.default_rng(0))
    made[3] = replace(made[3], documents=made[3].documents[:1])
    encoder = load_encoder(str(small))
    write_feedback(folder, {"task": "made", "encoder": encoder.manifest.to_dict()}, ranked(made, encoder))
    return folder


def arguments(feedback: Path, small: Path, out: Path, *more: str) -> list[str]:
    asked = ["--feedback", str(feedback), "--encoder", str(small), "--out", str(out), "--method", "ropg-kd"]
    fast = "--temperature 0.1 --learning-rate 0.01 --epochs 4 --batch-size 4 --validate-every 2 --cpu".split()
    return ["train", "retriever", *asked, *fast, *more]


def invoked(*asked: str) -> Result:
    return CliRunner().invoke(app, asked)


def test_a_killed_training_ends_as_one_that_was_not(feedback: Path, small: Path, tmp_path: Path) -> None:
    asked = arguments(feedback, small, tmp_path / "killed")
    with subprocess.Popen([*PR2, *asked], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 4:"):
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "ropg-kd").exists()

    resumed, whole = invoked(*asked), invoked(*arguments(feedback, small, tmp_path / "whole"))
    assert resumed.exit_code == 0, resumed.output
    assert "step 2:" not in resumed.stderr
    assert "step 2:" in whole.stderr
    assert "10 questions to train on, 1 to validate with" in whole.stdout
    assert "1 left out: fewer than two documents have feedback" in whole.stderr
    assert f"pr2 profile reembed --space ropg-kd={tmp_path}" in whole.stdout
    weights = [load_file(tmp_path / run / "ropg-kd" / "model.safetensors") for run in ("killed", "whole")]
    for name, values in weights[0].items():
        assert values.equal(weights[1][name]), name
    assert load_encoder(str(tmp_path / "whole" / "ropg-kd")).manifest.name == "ropg-kd"

    changed = invoked(*arguments(feedback, small, tmp_path / "whole", "--clip", "2"))
    assert changed.exit_code != 0
    assert "was begun with another configuration" in changed.stderr


def test_refusals_are_said_in_words(feedback: Path, small: Path, tmp_path: Path) -> None:
    missing = invoked(*arguments(tmp_path / "nowhere", small, tmp_path / "out"))
    assert missing.exit_code != 0
    assert "manifest.json" in missing.stderr

    foreign = tmp_path / "foreign"
    other = {"name": "contriever", "weights_sha256": "0" * 64, "pooling": "mean", "normalized": False}
    write_feedback(foreign, {**read_manifest(feedback), "encoder": other}, read_feedback(feedback))
    refused = invoked(*arguments(foreign, small, tmp_path / "out"))
    assert refused.exit_code != 0
    assert "ranked by another encoder, contriever" in " ".join(refused.stderr.split())
    assert "--any-feedback" in refused.stderr

    lines = (foreign / "feedback.jsonl").read_text("utf-8").splitlines()
    (foreign / "feedback.jsonl").write_text(lines[0] + "\n" + json.dumps({"id": "q"}) + "\n", "utf-8")
    torn = invoked(*arguments(foreign, small, tmp_path / "out", "--any-feedback"))
    assert torn.exit_code != 0
    assert "feedback.jsonl:2" in "".join(torn.stderr.split())
