"""Training a reward model with a tiny encoder: it learns, resumes, and refuses what does not fit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agent.checkpoints import STAMP
from agent.prompts import PROMPT_VERSION
from tests.agent import tiny_selector
from tests.training.notes import Notes
from training.errors import TrainingUnavailable
from training.folder import ChangedConfiguration
from training.reward_model.contrasts import Contrast, contrasts
from training.reward_model.model import load_reward_model
from training.reward_model.records import Pair, Response, write_pairs
from training.reward_model.train import Recipe, TrainedRewardModel, UnfitPairs, train
from training.tasks.datasets import held_out
from training.tasks.errors import DataError

WORDS = ("thing", "good", "bad", "warm", "cold")
RECIPE = Recipe(epochs=4, batch_size=8, learning_rate=5e-3, max_tokens=24)


def made(count: int, *, others: bool = False) -> list[Pair]:
    """Pairs of 10 people whose personalized answers are good."""
    return [
        Pair(
            id=f"q{number}",
            user=f"u{number % 10}",
            question=f"thing {number}",
            personalized="good " * (1 + number % 3),
            plain="bad " * (1 + number % 2),
            history=("warm " * 40,),
            other="cold" if others else None,
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_selector.make(tmp_path_factory.mktemp("encoders") / "bert", None, words=WORDS))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, {"dataset": "made"}, made(60))
    return folder


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, encoder: str, pairs: Path
) -> tuple[Path, TrainedRewardModel, Notes]:
    """A training that was never interrupted."""
    folder, notes = tmp_path_factory.mktemp("trained") / "out", Notes()
    return folder, train(folder, pairs, encoder, RECIPE, notes), notes


def test_a_reward_model_learns_from_pairs_and_is_measured_on_people_held_out(
    whole: tuple[Path, TrainedRewardModel, Notes], encoder: str
) -> None:
    _, trained, notes = whole
    # 54 pairs of nine people, eight at a time.
    assert (notes.total, trained.step, trained.people, trained.held_out) == (28, 28, 9, 1)
    assert list(notes.validations) == [7, 14, 21, 28]
    assert notes.validations[28] < notes.validations[7]
    assert trained.accuracy is not None
    assert (trained.accuracy.value, trained.accuracy.pairs) == (1.0, 6)
    assert trained.longer_wins is not None
    assert trained.own is None
    assert trained.histories_cut == 0
    model = load_reward_model(trained.folder, base=encoder)
    better, worse = model.scores([Response("thing 7", "good"), Response("thing 7", "bad")])
    assert better > worse
    stamp = json.loads((trained.folder / STAMP).read_text("utf-8"))
    assert (stamp["kind"], stamp["base"], stamp["max_tokens"]) == ("reward-model", encoder, 24)
    assert (stamp["reads_history"], stamp["negatives"]) == (False, "plain")
    assert stamp["prompt_version"] == PROMPT_VERSION
    assert stamp["trained_on"]["made"] == {"dataset": "made"}


def test_the_loss_is_that_of_the_difference_of_scores(
    whole: tuple[Path, TrainedRewardModel, Notes],
) -> None:
    _, trained, notes = whole
    model = load_reward_model(trained.folder)
    away = held_out((pair.user for pair in made(60)), RECIPE.seed)
    unseen = contrasts((pair for pair in made(60) if pair.user in away), "plain")
    scores = torch.tensor([model.scores([one.better, one.worse]) for one in unseen], dtype=torch.float64)
    # log(1 + exp(-(s⁺ - s⁻))), written out.
    expected = torch.log1p(torch.exp(scores[:, 1] - scores[:, 0])).mean()
    assert notes.validations[28] == pytest.approx(float(expected), rel=1e-4)


def test_a_killed_training_comes_to_the_same_weights(
    whole: tuple[Path, TrainedRewardModel, Notes], encoder: str, pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", pairs, encoder, RECIPE, Notes(17))
    again = Notes()
    resumed = train(tmp_path / "killed", pairs, encoder, RECIPE, again)
    assert again.steps[0] == 15
    expected = load_file(whole[1].folder / "model.safetensors")
    for name, weights in load_file(resumed.folder / "model.safetensors").items():
        assert torch.equal(weights, expected[name]), name


def test_another_recipe_base_or_other_pairs_in_the_same_folder_are_refused(
    whole: tuple[Path, TrainedRewardModel, Notes], encoder: str, pairs: Path, tmp_path: Path
) -> None:
    folder = whole[0]
    with pytest.raises(ChangedConfiguration, match="history: False then, True now"):
        train(folder, pairs, encoder, RECIPE.model_copy(update={"history": True}))
    with pytest.raises(ChangedConfiguration, match=r"encoder: .* then, 'minilm' now"):
        train(folder, pairs, "minilm", RECIPE)
    write_pairs(tmp_path, {}, made(20))
    with pytest.raises(ChangedConfiguration, match="pairs"):
        train(folder, tmp_path, encoder, RECIPE)


def test_histories_that_are_longer_than_the_window_are_counted(encoder: str, tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs", {}, made(20))
    recipe = RECIPE.model_copy(update={"epochs": 1, "history": True})
    trained = train(tmp_path / "out", tmp_path / "pairs", encoder, recipe)
    assert trained.histories_cut == 20
    model = load_reward_model(trained.folder)
    assert model.reads_history
    one, other = model.scores([Response("thing", "good", ("warm",)), Response("thing", "good", ("cold",))])
    assert one != other


def test_others_answers_are_further_negatives() -> None:
    (pair,) = made(1, others=True)
    better = Response("thing 0", pair.personalized, pair.history)
    plain, other = (
        Contrast("u0", better, Response("thing 0", text, pair.history)) for text in ("bad ", "cold")
    )
    assert contrasts([pair], "plain") == [plain]
    assert contrasts([pair], "plain", "other") == [plain, other]
    assert contrasts(made(1), "plain", "other") == contrasts(made(1), "plain")


def test_pairs_without_what_the_recipe_asks_for_are_refused(encoder: str, tmp_path: Path) -> None:
    write_pairs(tmp_path / "none", {}, [])
    with pytest.raises(UnfitPairs, match="holds no pair"):
        train(tmp_path / "out", tmp_path / "none", encoder, RECIPE)
    bare = [Pair(f"q{n}", f"u{n}", "thing", "good", "bad") for n in range(4)]
    write_pairs(tmp_path / "bare", {}, bare)
    with pytest.raises(UnfitPairs, match="holds no histories"):
        train(tmp_path / "out", tmp_path / "bare", encoder, RECIPE.model_copy(update={"history": True}))
    with pytest.raises(UnfitPairs, match="pr2 train pairs --others"):
        train(tmp_path / "out", tmp_path / "bare", encoder, RECIPE.model_copy(update={"negatives": "others"}))
    write_pairs(tmp_path / "alone", {}, bare[:1])
    with pytest.raises(DataError, match="nobody is left to validate with"):
        train(tmp_path / "out", tmp_path / "alone", encoder, RECIPE)


def test_an_encoder_that_is_missing_is_named(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingUnavailable, match="cannot be loaded"):
        train(tmp_path / "out", pairs, str(tmp_path / "nothing"), RECIPE)
