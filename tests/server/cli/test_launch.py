"""`pr2 train policy` up to its start, which needs a GPU."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from agent.checkpoints import STAMP
from agent.prompts import PROMPT_VERSION
from server.cli import app
from training.policy.environment import Configuration
from training.policy.prepare import ENVIRONMENT, TRAIN
from training.stamp import stamp


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / ENVIRONMENT).write_text(Configuration(data=folder).model_dump_json())
    (folder / TRAIN).write_text("{}\n" * 40)
    return folder


@pytest.fixture
def warm(tmp_path: Path) -> Path:
    folder = tmp_path / "warm"
    folder.mkdir()
    stamp(folder, "policy")
    return folder


def train(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", "policy", *map(str, arguments)])


def test_the_command_and_what_it_needs_are_shown(prepared: Path, warm: Path, tmp_path: Path) -> None:
    asked = (prepared, "--out", tmp_path / "out", "--preset", "tiny", "--method", "pr2", "--model", warm)
    result = train(*asked, "--flag", "actor.adam.lr=3e-6", "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("tiny: 1 GPU of 24 GiB; estimated peak use 1")
    assert f"PR2_TRAINING={prepared / ENVIRONMENT}" in result.stdout
    assert "-m training.policy.openrlhf.trainer" in result.stdout
    assert "--actor.adam.lr 3e-06" in result.stdout
    assert f"--actor.model_name_or_path {warm}" in result.stdout
    assert not (tmp_path / "out").exists()


def test_a_ray_cluster_gets_it_as_a_job(prepared: Path, warm: Path, tmp_path: Path) -> None:
    asked = (prepared, "--out", tmp_path / "out", "--model", warm, "--ray", "http://head:8265", "--dry-run")
    result = train(*asked)
    assert "ray job submit" in result.stdout
    assert "http://head:8265" in result.stdout


def test_a_job_for_ray_needs_rays_command(
    prepared: Path, warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = train(prepared, "--out", tmp_path / "out", "--model", warm, "--ray", "http://head:8265")
    assert result.exit_code == 2
    assert "submitting a job needs the command ray" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_estimate_is_reported_and_nothing_starts(
    prepared: Path, warm: Path, tmp_path: Path
) -> None:
    result = train(prepared, "--out", tmp_path / "out", "--preset", "tiny", "--model", warm)
    assert result.exit_code == 2
    assert "tiny needs 1 GPU with about 1" in result.stderr
    assert "this machine has none" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_training_that_cannot_start_is_one_line(prepared: Path, warm: Path, tmp_path: Path) -> None:
    cold = tmp_path / "cold"
    cold.mkdir()
    old = tmp_path / "old"
    old.mkdir()
    (old / STAMP).write_text(json.dumps({"kind": "policy", "prompt_version": "0"}))
    for arguments, said in (
        ((tmp_path, "--model", warm), "is not prepared: run pr2 train prepare"),
        ((prepared, "--model", cold), "warm it up first"),
        ((prepared, "--model", old), f"this is version {PROMPT_VERSION}"),
        ((prepared, "--model", warm, "--method", "prlm"), "is prepared for the method pr2"),
        ((prepared, "--model", warm, "--preset", "huge"), "'huge' is neither a preset"),
        ((prepared, "--model", warm, "--flag", "lr"), "use NAME=VALUE"),
        ((prepared, "--model", warm, "--flag", "vllm.num_engines=4"), "the same number"),
    ):
        result = train(*arguments, "--out", tmp_path / "out", "--dry-run")
        assert result.exit_code == 2, result.output
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_a_cold_start_can_be_requested(prepared: Path, tmp_path: Path) -> None:
    result = train(prepared, "--out", tmp_path / "out", "--cold-start", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "--actor.model_name_or_path Qwen/Qwen2.5-7B-Instruct" in result.stdout


def test_a_policy_that_was_trained_on_other_prompts_is_not_served(tmp_path: Path) -> None:
    (tmp_path / STAMP).write_text(json.dumps({"prompt_version": "0"}))
    asked = ["ask", "ana", "Why?", "--data", str(tmp_path), "--policy", "vllm", "--model", str(tmp_path)]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2, result.output
    assert "was trained on version 0 of the prompts" in result.stderr
