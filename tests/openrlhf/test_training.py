"""A whole training on OpenRLHF's own command line: Ray, DeepSpeed, vLLM, our agent, and a judge over HTTP.

It runs without a GPU, thanks to the shims, but needs a C++ compiler: DeepSpeed builds its Adam on first use.
The training is killed after its first checkpoint and resumed from there.
"""

import ast
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from index.documents import Document
from tests.openrlhf import model
from tests.openrlhf.world import made, row_of
from training.judging.factory import JudgeConfiguration, JudgeUnavailable
from training.policy.environment import CONFIGURATION, Configuration
from training.policy.launch import TRAINER
from training.policy.openrlhf.trainer import main
from training.policy.prepare import write_prompts
from training.policy.rows import Row

ROWS, QUESTIONS_A_STEP, SAMPLES, VALIDATION_ROWS = 40, 2, 8, 4
STEPS, SAVED = ROWS // QUESTIONS_A_STEP, 10
LONGEST_S = 900.0
ROOT = Path(__file__).parents[2]

FLAGS = {
    "--data.max_len": model.CONTEXT,
    "--rollout.batch_size": QUESTIONS_A_STEP,
    "--rollout.n_samples_per_prompt": SAMPLES,
    "--rollout.micro_batch_size": SAMPLES,
    "--train.batch_size": QUESTIONS_A_STEP * SAMPLES,
    "--train.micro_batch_size": SAMPLES,
    "--actor.num_gpus_per_node": 1,
    "--actor.adam.lr": 2e-4,
    "--actor.lr_scheduler": "constant",
    "--algo.kl.init_coef": 0,
    "--vllm.num_engines": 1,
    "--vllm.gpu_memory_utilization": 0.1,
    "--ds.attn_implementation": "eager",
    "--ckpt.save_steps": SAVED,
    "--eval.steps": SAVED,
    "--eval.n_samples_per_prompt": 1,
}
ENVIRONMENT = {
    "DS_ACCELERATOR": "cpu",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": 8, "GPU": 2}),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}


class Training:
    """A run of the command line, and its log."""

    def __init__(self, folder: Path, name: str, *flags: str) -> None:
        self.log = folder / f"{name}.log"
        places = {
            "--actor.model_name_or_path": folder / "model",
            "--data.prompt_dataset": folder / "prompts.jsonl",
            "--eval.dataset": folder / "validation.jsonl",
            "--ckpt.path": folder / "checkpoints",
            "--ckpt.output_dir": folder / name,
        }
        pairs = (str(part) for pair in (FLAGS | places).items() for part in pair)
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    TRAINER,
                    *pairs,
                    "--vllm.enforce_eager",
                    *flags,
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=os.environ
                | ENVIRONMENT
                | {
                    CONFIGURATION: str(folder / "training.json"),
                    "PYTHONPATH": f"{Path(__file__).parent / 'shims'}:{ROOT}",
                },
            )

    @property
    def steps(self) -> dict[int, dict[str, float]]:
        """The logged values of each step."""
        found = re.findall(r"Global step (\d+): (\{.*\})", self.log.read_text(errors="replace"))
        return {int(number): ast.literal_eval(logged) for number, logged in found}

    def wait(self, step: int | None = None) -> None:
        """Wait for this step, or for a successful end."""
        deadline = time.monotonic() + LONGEST_S
        while step not in self.steps:
            ended = self.process.poll()
            assert ended is None or (step is None and ended == 0), self.log.read_text()[-8000:]
            if ended == 0:
                return
            assert time.monotonic() < deadline, self.log.read_text()[-8000:]
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill the run and all its child processes without warning."""
        if self.process.poll() is None:
            main = psutil.Process(self.process.pid)
            processes = [main, *main.children(recursive=True)]
            for process in processes:
                process.kill()
            psutil.wait_procs(processes, 30)


@dataclass
class Trained:
    """A killed training, and the one that resumed it."""

    folder: Path
    killed: Training
    resumed: Training
    asked_before: list[str]
    asked_after: list[str]

    @property
    def steps(self) -> dict[int, dict[str, float]]:
        before = {number: logged for number, logged in self.killed.steps.items() if number <= SAVED}
        return before | self.resumed.steps


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its address, and the file with the narratives that it judged."""
    log = tmp_path_factory.mktemp("judge") / "log"
    log.touch()
    command = [sys.executable, "-m", "tests.openrlhf.judge_server", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip(), log
        process.terminate()


@pytest.fixture(scope="module")
def folder(judge: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs of a training: store, prompts, model and configuration."""
    prepared = tmp_path_factory.mktemp("training")
    documents = [Document(id=name, text=text) for name, text in model.DOCUMENTS.items()]
    made(prepared, documents, model.LIMITS)
    model.make(prepared / "model")
    configuration = Configuration(
        data=prepared,
        retriever="bm25",
        limits=model.LIMITS,
        judge=JudgeConfiguration(kind="openai", url=judge[0]),
    )
    (prepared / "training.json").write_text(configuration.model_dump_json(), "utf-8")
    write_prompts(prepared / "prompts.jsonl", rows("row", ROWS), model.LIMITS)
    write_prompts(prepared / "validation.jsonl", rows("validation", VALIDATION_ROWS), model.LIMITS)
    return prepared


def rows(name: str, count: int) -> Iterator[Row]:
    """Questions that differ in the judge's log."""
    for number in range(count):
        row = row_of(model.TOPICS[number % len(model.TOPICS)].question, without_profile=0.5)
        logged = row.question.model_copy(update={"narrative": f"{name} {number}"})
        yield row.model_copy(update={"question": logged})


@pytest.fixture(scope="module")
def trained(folder: Path, judge: tuple[str, Path]) -> Trained:
    _, log = judge
    log.write_text("")
    first = Training(folder, "killed")
    try:
        first.wait(SAVED + 1)
    finally:
        first.kill()
    asked_before = in_order(log.read_text().splitlines())
    log.write_text("")
    # Without cached verdicts the judge is called again, and its log shows the questions.
    for kept in folder.glob("verdicts.db*"):
        kept.unlink()
    second = Training(folder, "resumed", "--ckpt.load_enable")
    try:
        second.wait()
    finally:
        second.kill()
    return Trained(folder, first, second, asked_before, in_order(log.read_text().splitlines()))


def in_order(lines: Sequence[str]) -> list[str]:
    """The training questions, in order."""
    return list(dict.fromkeys(line for line in lines if line.startswith("row ")))


def test_the_formula_leaves_no_choice_of_an_estimator() -> None:
    with pytest.raises(SystemExit, match=r"remove --algo\.advantage\.estimator"):
        main(["--algo.advantage.estimator=gae"])


def test_a_judge_that_does_not_answer_ends_the_training_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, [Document(id="t", text="tea")], model.LIMITS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        judge = JudgeConfiguration(kind="openai", url=f"http://127.0.0.1:{free.getsockname()[1]}/v1")
    configuration = Configuration(data=tmp_path, retriever="bm25", judge=judge)
    (tmp_path / "training.json").write_text(configuration.model_dump_json(), "utf-8")
    monkeypatch.setenv(CONFIGURATION, str(tmp_path / "training.json"))
    with pytest.raises(JudgeUnavailable, match=judge.url):
        main([])


def test_the_reward_rises(trained: Trained) -> None:
    assert list(trained.steps) == [*range(1, STEPS + 1)]
    rewards = [logged["reward"] for logged in trained.steps.values()]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.2, rewards


def test_a_resumed_training_begins_after_its_checkpoint(trained: Trained) -> None:
    assert min(trained.resumed.steps) == SAVED + 1
    assert trained.resumed.process.returncode == 0


def test_a_resumed_training_asks_the_questions_that_were_left_in_their_order(trained: Trained) -> None:
    done = QUESTIONS_A_STEP * SAVED
    before, after = trained.asked_before, trained.asked_after
    assert not set(before[:done]) & set(after)
    assert set(before[:done] + after) == {f"row {number}" for number in range(ROWS)}
    # The questions of lost steps come again, and first.
    lost = set(before[done:])
    assert lost
    assert lost <= set(after[: len(lost) + 1])


def test_every_step_logs_its_samples(trained: Trained) -> None:
    for logged in trained.steps.values():
        assert logged["unjudged"] == 0
        assert logged["without_profile_known"] == 1
        assert logged["rollout/num_samples"] == QUESTIONS_A_STEP * SAMPLES
        assert "group_reward_std" not in logged, "the advantages are not those of OpenRLHF"


def test_an_evaluation_logs_how_many_were_not_judged(trained: Trained) -> None:
    said = trained.resumed.log.read_text(errors="replace")
    assert "'eval_unjudged': 0.0" in said
    assert f"'eval_num_samples': {VALIDATION_ROWS}.0" in said


def test_the_trained_model_is_saved(trained: Trained) -> None:
    assert (trained.folder / "resumed" / "model.safetensors").stat().st_size > 0


def test_the_asynchronous_trainer_has_our_advantages_too(folder: Path) -> None:
    run = Training(folder, "async", "--train.async_enable", "--ckpt.path", str(folder / "none"))
    try:
        run.wait(2)
        logged: Any = run.steps[2]
        assert logged["unjudged"] == 0
        assert "group_reward_std" not in logged
    finally:
        run.kill()
