"""Several processes train one selector together, as `accelerate launch` starts them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent.selecting import load_selector
from tests.agent import tiny_selector
from tests.training.selector.test_data import record, run

ROOT = Path(__file__).parents[3]


@pytest.mark.retrievers
def test_two_processes_share_the_questions_and_the_folder(tmp_path: Path) -> None:
    encoder = tiny_selector.make(tmp_path / "encoder", None)
    runs = {
        name: run(tmp_path / name, name, [record(number, score) for number in range(40)])
        for name, score in (("a", 1.0), ("b", 0.5))
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = tmp_path / "out"
    command = [sys.executable, "-m", "server.cli", "train", "selector", "--mode", "pre"]
    command += [part for name, folder in runs.items() for part in ("--run", f"{name}={folder}")]
    command += ["--model", str(encoder), "--out", str(out), "--max-tokens", "40", "--epochs", "2"]
    command += ["--batch-size", "3", "--gradient-accumulation", "2", "--learning-rate", "1e-3"]
    cluster = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **cluster, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert said[0][0] == said[1][0]
    # 36 questions in steps of 2 processes x 3 questions x 2 batches.
    assert {file.name for file in (out / "checkpoints").iterdir()} == {"checkpoint-3", "checkpoint-6"}
    selector = load_selector(out / "selector")
    better, worse = selector.scores(["Question: What about 7?\n\n[1] a found this", "b found this"], None)
    assert better > worse
