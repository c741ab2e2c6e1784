"""PrLM's training on OpenRLHF's own command line: method `prlm`, reward `prlm`, and a served reward model.

The reward server is a process of its own. It is killed in the middle of the training, and comes back.
"""

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.methods import METHODS
from index.documents import Document
from tests.openrlhf import model
from tests.openrlhf.test_training import QUESTIONS_A_STEP, ROOT, Training
from tests.openrlhf.world import made, row_of
from tests.training.reward_model.tiny import make as make_reward_model
from training.policy.environment import CONFIGURATION, Configuration
from training.policy.openrlhf.trainer import main
from training.policy.prepare import write_prompts
from training.policy.prlm import Weights
from training.policy.prlm_reward import PrlmSettings
from training.policy.reward import Costs
from training.policy.rows import Row
from training.reward_model.client import InvalidScore, RewardModelUnavailable
from training.reward_model.model import read_manifest

STEPS, SAMPLES = 10, 4
KILLED_AFTER = 2
METHOD = METHODS["prlm"]


class Server:
    """`pr2 train reward-server` as a process, which can be killed and started again at its address."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "server.cli", "train", "reward-server", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        assert self.process.stdout
        said = self.process.stdout.readline()
        assert "http://127.0.0.1:" in said, said
        self.port = int(said.rpartition(":")[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(make_reward_model(tmp_path_factory.mktemp("reward") / "model"))
    yield started
    started.kill()


def settings(server: Server, **changed: object) -> PrlmSettings:
    """A call is repeated for ten seconds, so that a step without the server takes as long."""
    known = {"url": server.url, "model": read_manifest(server.folder).weights, "quality": "rubric"}
    return PrlmSettings.model_validate({**known, "patience_s": 10.0, **changed})


def configured(folder: Path, reward: PrlmSettings) -> Path:
    configuration = Configuration(
        data=folder,
        retriever="bm25",
        limits=model.LIMITS,
        method=METHOD.name,
        costs=Costs(invalid=0.0),
        reward=reward,
    )
    file = folder / "training.json"
    file.write_text(configuration.model_dump_json(), "utf-8")
    return file


def rows(count: int) -> Iterator[Row]:
    for number in range(count):
        topic = model.TOPICS[number % len(model.TOPICS)]
        yield row_of(topic.question, expects=topic.answer.removesuffix(" [1]."))


@dataclass
class Trained:
    run: Training
    outage: int
    """The first step that was logged with a failure."""


@pytest.fixture(scope="module")
def trained(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("prlm")
    made(folder, [Document(id=name, text=text) for name, text in model.DOCUMENTS.items()], model.LIMITS)
    model.make(folder / "model", METHOD.name)
    configured(folder, settings(server))
    write_prompts(folder / "prompts.jsonl", rows(STEPS * QUESTIONS_A_STEP), model.LIMITS, METHOD)
    write_prompts(folder / "validation.jsonl", rows(1), model.LIMITS, METHOD)
    samples = str(SAMPLES)
    sizes = ("--rollout.n_samples_per_prompt", samples, "--rollout.micro_batch_size", samples)
    batches = ("--train.batch_size", str(QUESTIONS_A_STEP * SAMPLES), "--train.micro_batch_size", samples)
    run = Training(folder, "trained", *sizes, *batches, "--eval.steps", "-1", "--ckpt.save_steps", "-1")
    try:
        run.wait(KILLED_AFTER)
        server.kill()
        outage = KILLED_AFTER + 1
        run.wait(outage)
        if not run.steps[outage]["unjudged"]:
            # Its last score was given before the server was killed.
            outage += 1
            run.wait(outage)
        server.start()
        run.wait()
        yield Trained(run, outage)
    finally:
        run.kill()


def test_every_step_is_trained_and_logs_the_parts_of_the_reward(trained: Trained) -> None:
    steps = trained.run.steps
    assert list(steps) == list(range(1, STEPS + 1))
    assert trained.run.process.returncode == 0
    rounding = 1e-6  # OpenRLHF averages in single precision.
    for logged in steps.values():
        assert 0 <= logged["bonus_preference"] <= Weights().preference + rounding
        assert 0 <= logged["bonus_format"] <= Weights().format + rounding
        assert logged["searches"] == 0, "the passages are found before the policy writes"
    first = steps[1]
    assert (first["unjudged"], first["preference_failed"]) == (0, 0)
    assert first["bonus_preference"] > 0
    assert first["bonus_format"] > 0
    assert first["passages_read"] == 1


def test_answers_without_a_score_are_counted_while_the_server_is_away(trained: Trained) -> None:
    logged = trained.run.steps[trained.outage]
    assert logged["unjudged"] == logged["preference_failed"] > 0
    said = trained.run.log.read_text(errors="replace")
    assert "an answer is left unjudged: the reward model at http://127.0.0.1:" in said


def test_training_goes_on_with_scores_once_the_server_is_back(trained: Trained) -> None:
    last = trained.run.steps[STEPS]
    assert (last["unjudged"], last["preference_failed"]) == (0, 0)
    assert last["bonus_preference"] > 0


@pytest.mark.parametrize(
    ("changed", "error"), [({"model": "0" * 64}, InvalidScore), ({"url": None}, RewardModelUnavailable)]
)
def test_a_reward_model_that_is_away_or_another_ends_the_training_before_its_first_step(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, object],
    error: type[Exception],
) -> None:
    made(tmp_path, [Document(id="t", text="tea")], model.LIMITS)
    if server.process.poll() is not None:
        server.start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    given = {name: nobody if value is None else value for name, value in changed.items()}
    file = configured(tmp_path, settings(server, patience_s=0.0, **given))
    monkeypatch.setenv(CONFIGURATION, str(file))
    with pytest.raises(error, match=r"http://127\.0\.0\.1:"):
        main([])
