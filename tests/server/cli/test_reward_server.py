"""`pr2 train reward-server` as a process, asked by the client of training."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from server.cli import app
from tests.server.cli.process import PR2, ROOT, environment
from tests.training.reward_model.tiny import make
from training.reward_model.client import InvalidScore, RewardClient, RewardModelUnavailable
from training.reward_model.model import load_reward_model
from training.reward_model.records import Response

TEA = Response("which tea", "strong black tea", ("rain rain", "north"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("models") / "history")


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address, once connections are taken. It is killed at the end."""
    command = [*PR2, "train", "reward-server", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True, env=environment()) as process:
        try:
            assert process.stdout
            said = process.stdout.readline()
            assert "http://127.0.0.1:" in said, said
            yield process, said.split()[-1]
        finally:
            process.kill()


async def test_scores_are_those_of_the_model_also_after_the_server_was_killed(folder: Path) -> None:
    model = load_reward_model(folder, device="cpu")
    expected = pytest.approx(model.scores([TEA])[0], abs=1e-5)
    with served(folder) as (process, url):
        reward = RewardClient(url, model.fingerprint, patience_s=0.0)
        await reward.check()
        assert await reward.score(TEA) == expected
        other = RewardClient(url, "0" * 64, patience_s=0.0)
        with pytest.raises(InvalidScore, match="serve that one"):
            await other.check()
        await other.aclose()
        process.kill()
        process.wait()
        with pytest.raises(RewardModelUnavailable, match="is away"):
            await reward.score(TEA)
    with served(folder, httpx.URL(url).port or 0):
        assert await reward.score(TEA) == expected
    await reward.aclose()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--host", "0.0.0.0"), "other machines can reach 0.0.0.0, and this server has no token"),
        (("--host", "no.such.host.invalid"), "cannot listen at"),
        ((), "holds no reward model"),
    ],
)
def test_it_does_not_start_without_a_model_or_where_others_reach_it(
    tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    refused = CliRunner().invoke(app, ["train", "reward-server", str(tmp_path), "--port", "0", *options])
    assert refused.exit_code == 2
    assert why in refused.stderr
