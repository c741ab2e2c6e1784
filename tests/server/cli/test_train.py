"""`pr2 train planner` with the real store and encoder, and a tiny generated model."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from tests.training import tiny

# peft uses a deprecated name of transformers.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

HOBBIES = {"ana": "sunflowers", "ben": "brass keys", "cleo": "old maps", "dora": "kites"}


def record(number: int, user: str) -> dict[str, Any]:
    hobby = HOBBIES[user]
    notes = [f"I spend my weekends with {hobby}.", "The bus was late.", f"{user.title()} likes rain."]
    return {
        "id": f"q{number}",
        "question": f"How could I show {hobby} to my neighbour?",
        "category": "Art_and_Entertainment",
        "narrative": "My neighbour is curious.",
        "rubric_aspects": [{"aspect": f"Beauty of {hobby}", "reason": "It shows.", "evidence": "curious"}],
        "profile": [{"id": f"n{place}", "text": text} for place, text in enumerate(notes)],
    }


def written(file: Path, *users: str) -> Path:
    records = [record(number, user) for number, user in enumerate(users, 1)]
    file.write_text("".join(json.dumps(one) + "\n" for one in records))
    return file


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return written(tmp_path / "own.jsonl", "ana", "ana", "ben", "cleo", "dora", "dora")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("model"))


def planner(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", "planner", *map(str, arguments)])


def examples(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "examples.jsonl").read_text().splitlines()]


def test_examples_are_made_from_each_persons_own_passages(dataset: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = ("--dataset", dataset, "--model", model, "--out", out, "--prepare-only")
    result = planner(*asked, "--top-k", 1)
    assert result.exit_code == 0, result.output
    assert "all of 1 of the 4 profiles, drawn with seed 0" in result.stdout
    made = examples(out)
    assert [one["part"] for one in made] == sorted(one["part"] for one in made)
    assert sorted(one["id"] for one in made) == [f"q{number}" for number in range(1, 7)]
    for one in made:
        hobby = HOBBIES[("ana", "ana", "ben", "cleo", "dora", "dora")[int(one["id"][1:]) - 1]]
        assert f"I spend my weekends with {hobby}." in one["prompt"]
        assert f"- Beauty of {hobby}" in one["completion"]
        assert "curious" not in one["prompt"]
        assert "bus" not in one["prompt"]
    held = {one["prompt"] for one in made if one["part"] == "validation"}
    assert held.isdisjoint(one["prompt"] for one in made if one["part"] == "train")
    before = (out / "examples.jsonl").read_bytes()
    assert planner(*asked, "--top-k", 1).exit_code == 0
    assert (out / "examples.jsonl").read_bytes() == before
    refused = planner(*asked, "--top-k", 2, "--retriever", "bm25")
    assert refused.exit_code == 2
    assert "retriever: 'hybrid' then, 'bm25' now; top_k: 1 then, 2 now" in refused.stderr


def test_a_validation_file_is_used_as_given(dataset: Path, model: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other.jsonl", "ben", "cleo")
    out = tmp_path / "run"
    result = planner(
        *("--dataset", dataset, "--validation", other, "--limit", 2),
        *("--model", model, "--out", out, "--prepare-only"),
    )
    assert result.exit_code == 0, result.output
    assert f"2 questions to train on, 2 to validate with: {other}" in result.stdout
    assert [one["part"] for one in examples(out)] == ["train", "train", "validation", "validation"]


def test_a_planner_is_trained_and_the_command_that_serves_it_is_printed(
    dataset: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    small = ("--steps", 3, "--validate-every", 2, "--batch-size", 2, "--gradient-accumulation", 1)
    asked = ("--dataset", dataset, "--model", model, "--out", out, "--cpu", *small)
    result = planner(*asked)
    assert result.exit_code == 0, result.output
    assert "step 2: validation loss" in result.stderr
    assert (
        f"vllm serve {model} --port 8001 --enable-lora --lora-modules planner={out / 'adapter'}"
        in result.stdout
    )
    assert "--planner-model planner --planner-protocol tags --top-k 10" in result.stdout
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "pr2.json"} <= {
        file.name for file in (out / "adapter").iterdir()
    }
    again = planner(*asked)
    assert again.exit_code == 0, again.output
    assert again.stdout == result.stdout
    refused = planner(*asked, "--learning-rate", "0.001")
    assert refused.exit_code == 2
    assert "learning_rate: 5e-05 then, 0.001 now" in refused.stderr


def test_without_a_gpu_it_says_how_much_memory_one_needs(dataset: Path, model: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    out = tmp_path / "run"
    result = planner("--dataset", dataset, "--model", model, "--out", out)
    assert result.exit_code == 2
    assert "GiB of a GPU's memory" in result.stderr
    assert not out.exists()


def test_a_missing_extra_is_named(
    dataset: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    result = planner("--dataset", dataset, "--model", model, "--out", tmp_path / "run", "--cpu")
    assert result.exit_code == 2
    assert "pip install 'pr2[train]'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dataset", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--model", "/nowhere/model"), "/nowhere/model"),
        (("--dataset", "one.jsonl"), "--validation"),
        (("--learning-rate", "0"), "learning_rate"),
        (("--retriever", "psychic"), "psychic"),
    ],
    ids=["no file", "no model", "one person", "no learning", "no retriever"],
)
def test_an_input_error_is_one_line(
    arguments: tuple[str, ...],
    said: str,
    dataset: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "one.jsonl", "ana", "ana")
    result = planner("--dataset", dataset, "--model", model, "--out", "run", "--prepare-only", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
