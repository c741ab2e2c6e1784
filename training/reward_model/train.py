"""Trains a reward model on pairs: -log σ(s⁺ - s⁻) (PrLM; arXiv 2508.07342).

People are held out, not pairs: pairs of one person resemble each other, so the published split of pairs
measures in part what was memorized.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from agent.crossencoder import Row, inputs_of
from agent.engines.weights import fingerprint
from index.numbers import Integer, Number
from training.crossencoder import CHECKPOINTS, CrossEncoderRecipe, encoder_source, load_encoder, make_trainer
from training.errors import TrainingError
from training.folder import pin_configuration, replacing_folder
from training.reward_model.contrasts import Contrast, Loser, contrasts, judged
from training.reward_model.measures import Accuracy, accuracy, length_controlled, longer_wins
from training.reward_model.model import (
    Negatives,
    ResponseInputs,
    RewardModel,
    RewardModelManifest,
    weights_hash,
)
from training.reward_model.records import PAIRS, Pair, read_manifest, read_pairs
from training.stamp import stamp
from training.tasks.datasets import held_out
from training.trainer import Watcher, last_checkpoint, notifying

REWARD_MODEL = "reward-model"
TRAINING_MANIFEST = "training.json"
LOSERS: Mapping[Negatives, Sequence[Loser]] = {"plain": ("plain",), "others": ("plain", "other")}


class UnfitPairs(TrainingError, ValueError):
    """The pairs cannot teach what was asked for; the message says what is missing."""


class Recipe(CrossEncoderRecipe):
    """Hyperparameters of a reward model. The defaults are those published with PrLM.

    The weights after the last epoch are kept: the people who are held out choose nothing, so that the
    accuracy on them is not that of the luckiest epoch.
    """

    epochs: Integer = Field(3, ge=1)
    batch_size: Integer = Field(64, ge=1)
    gradient_accumulation: Integer = Field(1, ge=1)
    learning_rate: Number = Field(5e-5, gt=0)
    warmup: Number = Field(0.0, ge=0, lt=1)
    max_tokens: Integer = Field(512, ge=8)
    seed: Integer = 42
    history: bool = False
    """Whether the model reads the user's own history as well."""
    negatives: Negatives = "plain"


@dataclass(frozen=True)
class TrainedRewardModel:
    """A reward model, measured on the people who were held out."""

    folder: Path
    step: int
    people: int
    """People whose pairs it was trained on."""
    held_out: int
    """People whose pairs it was measured on."""
    accuracy: Accuracy | None
    """Against plain answers, like the next two, so that the variants can be compared."""
    length_controlled: Accuracy | None
    """See `measures.length_controlled`."""
    longer_wins: Accuracy | None
    """The accuracy of preferring the longer answer."""
    own: Accuracy | None
    """The accuracy against answers with another person's profile; None if the pairs have none."""
    histories_cut: int
    """Pairs, in training or held out, whose history is longer than the window."""


def train(
    folder: Path,
    pairs: Path,
    model: str,
    recipe: Recipe,
    watcher: Watcher | None = None,
    load: Callable[[str, CrossEncoderRecipe], tuple[Any, Any, int]] = load_encoder,
) -> TrainedRewardModel:
    """Train on a folder of pairs, or resume from the last checkpoint. Saves to `folder`/reward-model.

    For `model` and `load`, see load_encoder. Raises TrainingUnavailable, EncoderUnavailable, InvalidPairs,
    UnfitPairs, DataError if all pairs are of one person, and ChangedConfiguration if the folder was begun
    with other pairs, another encoder or recipe.
    """
    found = read_pairs(pairs)
    _check(found, pairs, recipe)
    settings = {
        "encoder": model,
        "pairs": hashlib.sha256((pairs / PAIRS).read_bytes()).hexdigest(),
        **recipe.model_dump(),
    }
    pin_configuration(folder / TRAINING_MANIFEST, settings)
    people = {pair.user for pair in found}
    away = held_out(people, recipe.seed)
    unseen = [pair for pair in found if pair.user in away]
    losers = LOSERS[recipe.negatives]
    parts = [
        contrasts((pair for pair in found if pair.user not in away), *losers),
        contrasts(unseen, *losers),
    ]
    encoder, tokenizer, longest = load(model, recipe)
    inputs = ResponseInputs(inputs_of(encoder, tokenizer, longest), recipe.history)
    trainer = _trainer(folder, encoder, [_Dataset(part, inputs) for part in parts], recipe)
    if watcher is not None:
        trainer.add_callback(notifying(watcher))
    last = last_checkpoint(folder / CHECKPOINTS)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    trained = trainer.model.eval()
    manifest = RewardModelManifest(
        base=model,
        base_hash=fingerprint(encoder_source(model)),
        reads_history=recipe.history,
        negatives=recipe.negatives,
        max_tokens=longest,
        weights=weights_hash(trained),
        trained_on={**settings, "made": dict(read_manifest(pairs)), "step": trainer.state.global_step},
    )
    if trainer.is_world_process_zero():
        with replacing_folder(folder / REWARD_MODEL) as part:
            trained.save_pretrained(part)
            tokenizer.save_pretrained(part)
            stamp(part, **manifest.model_dump(mode="json"))
    made = RewardModel(manifest, trained, tokenizer)
    margins = judged(made, contrasts(unseen, "plain"))
    return TrainedRewardModel(
        folder / REWARD_MODEL,
        trainer.state.global_step,
        len(people) - len(away),
        len(away),
        accuracy(margins),
        length_controlled(margins),
        longer_wins(margins),
        accuracy(judged(made, contrasts(unseen, "other"))),
        made.histories_cut([one.better for one in contrasts(found, "plain")]),
    )


def _check(found: Sequence[Pair], pairs: Path, recipe: Recipe) -> None:
    """Raises UnfitPairs if the recipe asks for what the pairs do not have."""
    if not found:
        raise UnfitPairs(f"{pairs} holds no pair")
    if recipe.history and not any(pair.history for pair in found):
        raise UnfitPairs(f"{pairs} holds no histories, so there is none to read")
    if recipe.negatives == "others" and not any(pair.other for pair in found):
        raise UnfitPairs(
            f"{pairs} holds no answers with another person's profile; pr2 train pairs --others collects them"
        )


class _Dataset:
    """Contrasts as a model reads them, encoded once."""

    def __init__(self, found: Sequence[Contrast], inputs: ResponseInputs) -> None:
        self._inputs = inputs
        self._rows: list[tuple[Row, Row]] = [
            (inputs.encode(one.better).row, inputs.encode(one.worse).row) for one in found
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Row, Row]:
        return self._rows[index]

    def collate(self, items: Sequence[tuple[Row, Row]]) -> dict[str, Any]:
        """A batch: sides of shape (contrasts, 2), and a row of inputs for each of them."""
        import torch

        sides = torch.tensor([[1, 0]] * len(items))
        return {"sides": sides, **self._inputs.inputs.batch([row for both in items for row in both])}


def _trainer(folder: Path, encoder: Any, data: Sequence[_Dataset], recipe: Recipe) -> Any:
    from torch.nn.functional import logsigmoid

    learned, unseen = data
    return make_trainer(
        folder,
        encoder,
        learned,
        unseen,
        recipe,
        labels="sides",
        loss=lambda scores, sides: -logsigmoid(scores[:, 0] - scores[:, 1]).mean(),
        measured=lambda scores, sides: {"accuracy": float((scores[:, 0] > scores[:, 1]).float().mean())},
    )
