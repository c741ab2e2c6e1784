"""Trains a selector: one output on top of any encoder, for every member of a pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from agent.crossencoder import Inputs, inputs_of
from agent.selecting import SelectorManifest
from index.numbers import Integer, Number
from training.crossencoder import CHECKPOINTS, CrossEncoderRecipe, load_encoder, make_trainer
from training.folder import pin_configuration, replacing_folder
from training.selector.data import Example, read_examples
from training.selector.prepare import TRAIN, VALIDATION, Purpose, read_purpose
from training.stamp import stamp
from training.trainer import Watcher, last_checkpoint, notifying

SELECTOR = "selector"
TRAINING_MANIFEST = "training.json"

_LOSS = "eval_divergence"


class Recipe(CrossEncoderRecipe):
    """Hyperparameters of a selector. The defaults are those published with RSPG.

    The published batch of 64 questions is `batch_size` times `gradient_accumulation`; each question is read
    once for every member of the pool.
    """

    epochs: Integer = Field(20, ge=1)
    batch_size: Integer = Field(8, ge=1)
    gradient_accumulation: Integer = Field(8, ge=1)
    learning_rate: Number = Field(1e-5, gt=0)
    warmup: Number = Field(0.05, ge=0, lt=1)
    max_tokens: Integer = Field(1_024, ge=8)
    temperature: Number = Field(1.0, gt=0)
    """Sharpens the target, softmax(metric / temperature); scores from 0 to 1 make it nearly uniform at 1."""


@dataclass(frozen=True)
class KeptSelector:
    """The selector that was kept, from the epoch with the lowest divergence in validation."""

    folder: Path
    step: int
    divergence: float
    """Mean KL(softmax(metrics / T) ‖ softmax(scores)) of the validation questions."""
    chosen: float
    """Mean score of the members that it chooses for the validation questions."""


def train(folder: Path, model: str, recipe: Recipe, watcher: Watcher | None = None) -> KeptSelector:
    """Train on the folder's examples, or resume from the last checkpoint, and keep the best selector.

    It is saved in `folder`/selector. For `model`, see load_encoder. Raises TrainingUnavailable,
    EncoderUnavailable, InvalidRecord, and ChangedConfiguration if the folder was begun with another encoder
    or recipe.
    """
    purpose = read_purpose(folder)
    settings = {"encoder": model, **recipe.model_dump()}
    pin_configuration(folder / TRAINING_MANIFEST, settings)
    encoder, tokenizer, longest = load_encoder(model, recipe)
    inputs = inputs_of(encoder, tokenizer, longest)
    data = {
        name: _Dataset(list(read_examples(folder / name, purpose.members)), purpose, inputs)
        for name in (TRAIN, VALIDATION)
    }
    trainer = _trainer(folder, encoder, data, recipe)
    if watcher is not None:
        trainer.add_callback(notifying(watcher, _LOSS))
    last = last_checkpoint(folder / CHECKPOINTS)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    state = trainer.state
    found = next(log for log in state.log_history if _LOSS in log and log["step"] == state.best_global_step)
    best = KeptSelector(folder / SELECTOR, state.best_global_step, found[_LOSS], found["eval_chosen"])
    manifest = SelectorManifest(
        mode=purpose.mode,
        members=purpose.members,
        max_tokens=longest,
        rendering=purpose.rendering,
        trained_on={
            **settings,
            **purpose.model_dump(mode="json", exclude={"mode", "members", "rendering"}),
            "step": best.step,
            "divergence": best.divergence,
            "chosen": best.chosen,
        },
    )
    if trainer.is_world_process_zero():
        with replacing_folder(best.folder) as part:
            trainer.model.save_pretrained(part)
            tokenizer.save_pretrained(part)
            stamp(part, **manifest.model_dump(mode="json"))
    return best


class _Dataset:
    """Examples as a model reads them: encoded inputs of every member, and its score or NaN."""

    def __init__(self, examples: Sequence[Example], purpose: Purpose, inputs: Inputs) -> None:
        self._examples = examples
        self._purpose = purpose
        self._inputs = inputs

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, number: int) -> tuple[list[tuple[list[int], list[int]]], list[float]]:
        members, scores = self._examples[number].members, self._examples[number].scores
        rows = []
        for name in self._purpose.members:
            # A member without a score is masked, so its input only has to be short.
            one = members.get(name) if name in scores else None
            output = None if self._purpose.mode == "pre" else one.output if one else ""
            rows.append(self._inputs.encode(one.prompt if one else "", output))
        return rows, [scores.get(name, float("nan")) for name in self._purpose.members]

    def collate(
        self, items: Sequence[tuple[list[tuple[list[int], list[int]]], list[float]]]
    ) -> dict[str, Any]:
        """A batch: metrics of shape (questions, members), and one row of inputs for each of them."""
        import torch

        metrics = torch.tensor([scores for _, scores in items])
        return {"metrics": metrics, **self._inputs.batch([row for rows, _ in items for row in rows])}


def _trainer(folder: Path, encoder: Any, data: Mapping[str, _Dataset], recipe: Recipe) -> Any:
    import torch

    from training.selector.loss import divergence

    def measured(scores: Any, metrics: Any) -> dict[str, float]:
        best = scores.masked_fill(metrics.isnan(), -torch.inf).argmax(dim=1, keepdim=True)
        return {
            "divergence": float(divergence(scores, metrics, recipe.temperature).mean()),
            "chosen": float(metrics.gather(1, best).mean()),
        }

    return make_trainer(
        folder,
        encoder,
        data[TRAIN],
        data[VALIDATION],
        recipe,
        labels="metrics",
        loss=lambda scores, metrics: divergence(scores, metrics, recipe.temperature).mean(),
        measured=measured,
        best=_LOSS,
    )
