"""`pr2 train pairs` and `pr2 train reward-model`, each on what the one before it wrote, with tiny models."""

from pathlib import Path

from typer.testing import CliRunner, Result

from server.cli import app
from tests.agent import tiny_selector
from tests.tiny_t5 import make_t5
from training.reward_model.model import load_reward_model
from training.reward_model.records import read_pairs


def pr2(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def pairs(out: Path, *arguments: object) -> Result:
    return pr2("train", "pairs", "--out", out, *arguments)


def test_pairs_of_lamp_train_a_reward_model(tmp_path: Path) -> None:
    t5 = make_t5(tmp_path / "t5", limit=512)
    asked = ("--benchmark", "lamp", "--task", 7, "--limit", 6, "--others", "--history", 2)
    chosen = ("--engine", "seq2seq", "--model", t5, "--max-tokens", 4)
    result = pairs(tmp_path / "pairs", *asked, *chosen, "--retriever", "recency")
    assert result.exit_code == 0, result.output
    found = read_pairs(tmp_path / "pairs")
    assert f"{len(found)} pairs, {6 - len(found)} left out because a side is empty" in result.output
    assert all(pair.other and len(pair.history) == 2 for pair in found)

    encoder = tiny_selector.make(tmp_path / "encoder", None)
    learns = ("--model", encoder, "--history", "--negatives", "others", "--max-tokens", 64, "--epochs", 1)
    result = pr2("train", "reward-model", tmp_path / "pairs", "--out", tmp_path / "out", *learns)
    assert result.exit_code == 0, result.output
    model = load_reward_model(tmp_path / "out" / "reward-model", base=str(encoder))
    assert (model.reads_history, model.manifest.negatives) == (True, "others")
    assert "held out" in result.output
    for measure in ("accuracy", "length-controlled", "longer wins", "own profile"):
        assert measure in result.output
    assert f"{len(found)} histories are longer than the window" in result.output

    changed = pr2(
        "train", "reward-model", tmp_path / "pairs", "--out", tmp_path / "out", *learns, "--seed", 1
    )
    assert (changed.exit_code, "begun with another configuration" in changed.output) == (2, True)
