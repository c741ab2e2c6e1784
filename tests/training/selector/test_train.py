"""Training a selector with a tiny encoder: it learns, and resumes where it was killed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agent.checkpoints import STAMP
from agent.prompts import PROMPT_VERSION
from agent.selecting import RENDERING, Mode, choose, load_selector
from tests.agent import tiny_selector
from tests.training.notes import Notes
from training.crossencoder import CHECKPOINTS, LOGS, load_encoder
from training.errors import TrainingUnavailable
from training.folder import ChangedConfiguration
from training.selector.data import Candidate, Example, PoolData
from training.selector.prepare import MANIFEST, TRAIN, VALIDATION, prepare
from training.selector.train import (
    KeptSelector,
    Recipe,
    train,
)
from training.tasks.errors import DatasetUnavailable, InvalidRecord
from training.trainer import last_checkpoint

WORDS = ("good", "bad", "fair", "thing")
RECIPE = Recipe(
    epochs=4, batch_size=8, gradient_accumulation=2, learning_rate=5e-3, temperature=0.2, max_tokens=24
)


def examples(count: int, *, where: str = "prompt") -> list[Example]:
    """Questions whose members' prompts, or outputs, tell their scores; some have none."""
    made = []
    for number in range(count):
        members = {}
        for place, name in enumerate("abc"):
            word, score = [("good", 1.0), ("bad", 0.0), ("fair", 0.5)][(number + place) % 3]
            told = f"thing {number % 10} {word}"
            missing = number % 4 == 0 and place == 1
            members[name] = Candidate(
                prompt=told if where == "prompt" else "thing",
                output=told if where == "output" else "thing",
                score=None if missing else score,
            )
        made.append(Example(id=f"q{number}", input=f"thing {number}", members=members))
    return made


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_selector.make(tmp_path_factory.mktemp("encoders") / "bert", None, words=WORDS))


def prepared(folder: Path, mode: Mode = "pre", where: str = "prompt") -> Path:
    train, validation = examples(48, where=where), examples(12, where=where)
    data = PoolData(("a", "b", "c"), (*train, *validation), 0, {"method": "rag"})
    prepare(folder, mode, data, train, validation)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, encoder: str) -> tuple[Path, KeptSelector, Notes]:
    """A training of the mode pre that was never interrupted."""
    folder = prepared(tmp_path_factory.mktemp("trained") / "pre")
    notes = Notes()
    return folder, train(folder, encoder, RECIPE, notes), notes


def test_a_selector_learns_from_prompts(whole: tuple[Path, KeptSelector, Notes]) -> None:
    folder, kept, notes = whole
    assert notes.total == 12
    assert notes.steps == list(range(1, 13))
    assert list(notes.validations) == [3, 6, 9, 12]
    assert kept.divergence == pytest.approx(min(notes.validations.values()))
    assert kept.divergence < notes.validations[3] / 4
    selector = load_selector(kept.folder, known="abcd")
    assert choose("abc", selector.scores(["thing 3 bad", "thing 3 good", "thing 3 fair"], None)) == "b"
    assert kept.chosen > 0.95
    stamp = json.loads((kept.folder / STAMP).read_text("utf-8"))
    assert (stamp["kind"], stamp["mode"], stamp["members"]) == ("selector", "pre", ["a", "b", "c"])
    assert (stamp["max_tokens"], stamp["rendering"]) == (24, RENDERING)
    assert stamp["prompt_version"] == PROMPT_VERSION
    assert stamp["trained_on"]["divergence"] == kept.divergence
    assert stamp["trained_on"]["runs"] == {"method": "rag"}
    assert stamp["trained_on"]["best_single"] in ("a", "b", "c")
    assert stamp["trained_on"]["sha256"].keys() == {TRAIN, VALIDATION}
    assert list((folder / LOGS).iterdir())


def test_the_learning_rate_falls_linearly_after_the_warm_up(
    whole: tuple[Path, KeptSelector, Notes],
) -> None:
    state = json.loads((whole[0] / CHECKPOINTS / "checkpoint-12" / "trainer_state.json").read_text("utf-8"))
    logged = next(log for log in state["log_history"] if "learning_rate" in log)
    # One of the 12 steps is for the warm-up, and the rate is that of the tenth step, the ninth after it.
    assert logged["step"] == 10
    assert logged["learning_rate"] == pytest.approx(RECIPE.learning_rate * (12 - 9) / (12 - 1))


def test_a_killed_training_comes_to_the_same_weights(
    whole: tuple[Path, KeptSelector, Notes], encoder: str, tmp_path: Path
) -> None:
    folder = prepared(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        train(folder, encoder, RECIPE, Notes(8))
    # What a kill in the middle of writing a checkpoint leaves is passed over.
    torn = folder / CHECKPOINTS / "checkpoint-9"
    torn.mkdir()
    assert last_checkpoint(folder / CHECKPOINTS) == folder / CHECKPOINTS / "checkpoint-6"
    again = Notes()
    kept = train(folder, encoder, RECIPE, again)
    assert again.steps == list(range(7, 13))
    assert (kept.step, kept.divergence) == (whole[1].step, whole[1].divergence)
    ours, theirs = (load_file(one / "model.safetensors") for one in (kept.folder, whole[1].folder))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_post_learns_from_outputs(encoder: str, tmp_path: Path) -> None:
    kept = train(prepared(tmp_path / "post", "post", "output"), encoder, RECIPE)
    selector = load_selector(kept.folder)
    outputs = ["thing 7 fair", "thing 7 bad", "thing 7 good"]
    assert choose("abc", selector.scores(["thing"] * 3, outputs)) == "c"


def test_a_longformer_learns_with_global_attention(tmp_path: Path) -> None:
    folder = tiny_selector.make(tmp_path / "longformer", None, words=WORDS, longformer=True)
    recipe = RECIPE.model_copy(update={"epochs": 2})
    notes = Notes()
    kept = train(prepared(tmp_path / "trained"), str(folder), recipe, notes)
    assert kept.divergence == min(notes.validations.values())
    assert len(load_selector(kept.folder).scores(["thing good", "thing bad"], None)) == 2


def test_another_recipe_or_other_data_in_the_same_folder_is_refused(
    whole: tuple[Path, KeptSelector, Notes], encoder: str
) -> None:
    folder, _, _ = whole
    with pytest.raises(ChangedConfiguration, match="mode: 'pre' then, 'post' now"):
        prepared(folder, "post")
    before = (folder / TRAIN).read_bytes()
    with pytest.raises(ChangedConfiguration, match="sha256"):
        prepared(folder, where="output")
    assert (folder / TRAIN).read_bytes() == before
    with pytest.raises(ChangedConfiguration, match="learning_rate"):
        train(folder, encoder, RECIPE.model_copy(update={"learning_rate": 1e-4}))


def test_examples_that_do_not_fit_their_description_are_refused(encoder: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match="holds no examples"):
        train(tmp_path, encoder, RECIPE)
    folder = prepared(tmp_path / "pool")
    file = folder / MANIFEST
    file.write_text(file.read_text("utf-8").replace('"c"', '"d"'), "utf-8")
    with pytest.raises(InvalidRecord, match="'c' is not in the pool"):
        train(folder, encoder, RECIPE)
    file.write_text("{}", "utf-8")
    with pytest.raises(DatasetUnavailable, match="does not describe examples"):
        train(folder, encoder, RECIPE)


def test_an_encoder_that_is_missing_is_named_and_inputs_are_no_longer_than_it_reads(
    encoder: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingUnavailable, match=r"the encoder .*nothing cannot be loaded"):
        load_encoder(str(tmp_path / "nothing"), RECIPE)
    assert load_encoder(encoder, Recipe())[2] == 64
    assert load_encoder("minilm", Recipe())[2] == 512


def test_the_output_is_drawn_from_the_seed(encoder: str) -> None:
    one, other, third = (
        load_encoder(encoder, RECIPE.model_copy(update={"seed": seed}))[0].classifier.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
