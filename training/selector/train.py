"""Trains a selector: one output on top of any encoder, for every member of a pool.

The Trainer of transformers does the rest: warm-up and decay, clipping, checkpoints, TensorBoard, and several
GPUs by Accelerate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from agent.selecting import Inputs, SelectorManifest, inputs_of, longest_input
from index.encoding.encoders import packaged_minilm
from index.numbers import Integer, Number
from training.errors import TrainingUnavailable
from training.extras import require
from training.folder import pin_configuration, replacing_folder
from training.selector.data import Example, read_examples
from training.selector.prepare import TRAIN, VALIDATION, Purpose, read_purpose
from training.stamp import stamp
from training.trainer import Watcher, last_checkpoint, notifying

SELECTOR, CHECKPOINTS, LOGS = "selector", "checkpoints", "tensorboard"
TRAINING_MANIFEST = "training.json"

_CLIP = 1.0
_LOG_EVERY = 10
_LOSS = "eval_divergence"


class Recipe(BaseModel):
    """Hyperparameters of a selector. The defaults are those published with RSPG.

    The published batch of 64 questions is `batch_size` times `gradient_accumulation`. Adam's learning rate
    falls linearly, and gradients are clipped to norm 1. Each epoch ends with a checkpoint and its validation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Integer = Field(20, ge=1)
    batch_size: Integer = Field(8, ge=1)
    """Questions on one device; each is read once for every member of the pool."""
    gradient_accumulation: Integer = Field(8, ge=1)
    learning_rate: Number = Field(1e-5, gt=0)
    warmup: Number = Field(0.05, ge=0, lt=1)
    """Fraction of the steps."""
    temperature: Number = Field(1.0, gt=0)
    """Sharpens the target, softmax(metric / temperature); scores from 0 to 1 make it nearly uniform at 1."""
    max_tokens: Integer = Field(1_024, ge=8)
    """Longest input; less if the encoder reads less."""
    seed: Integer = 0


@dataclass(frozen=True)
class KeptSelector:
    """The selector that was kept, from the epoch with the lowest divergence in validation."""

    folder: Path
    step: int
    divergence: float
    """Mean KL(softmax(metrics / T) ‖ softmax(scores)) of the validation questions."""
    chosen: float
    """Mean score of the members that it chooses for the validation questions."""


def check_can_train() -> None:
    """Raises TrainingUnavailable if a package is missing."""
    require("train", "accelerate", "tensorboard")


def load_encoder(model: str, recipe: Recipe) -> tuple[Any, Any, int]:
    """Load an encoder with a new output, its tokenizer, and the longest input.

    `model` is `minilm`, a folder, or a name on the hub. Raises TrainingUnavailable and EncoderUnavailable.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
    from transformers.utils import logging

    source = str(packaged_minilm()) if model == "minilm" else model
    logging.disable_progress_bar()
    # The output's weights are drawn, and a report that they are not in the encoder's folder is no news.
    set_seed(recipe.seed)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        encoder = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=1, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise TrainingUnavailable(f"the encoder {model} cannot be loaded: {error}") from None
    finally:
        logging.set_verbosity(verbosity)
    return encoder, tokenizer, min(recipe.max_tokens, longest_input(encoder, tokenizer))


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
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    from training.selector.loss import divergence

    class SelectorTrainer(Trainer):  # type: ignore[misc]
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            metrics = inputs.pop("metrics")
            scores = model(**inputs).logits.float().reshape(metrics.shape)
            loss = divergence(scores, metrics, recipe.temperature).mean()
            return (loss, {"scores": scores}) if return_outputs else loss

    def measured(predicted: Any) -> dict[str, float]:
        scores, metrics = map(torch.tensor, (predicted.predictions, predicted.label_ids))
        best = scores.masked_fill(metrics.isnan(), -torch.inf).argmax(dim=1, keepdim=True)
        return {
            "divergence": float(divergence(scores, metrics, recipe.temperature).mean()),
            "chosen": float(metrics.gather(1, best).mean()),
        }

    gpu = torch.cuda.is_available()
    trainer = SelectorTrainer(
        model=encoder,
        args=TrainingArguments(
            output_dir=str(folder / CHECKPOINTS),
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            per_device_eval_batch_size=recipe.batch_size,
            gradient_accumulation_steps=recipe.gradient_accumulation,
            learning_rate=recipe.learning_rate,
            warmup_steps=recipe.warmup,
            lr_scheduler_type="linear",
            max_grad_norm=_CLIP,
            logging_steps=_LOG_EVERY,
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=2,
            load_best_model_at_end=True,
            metric_for_best_model=_LOSS,
            greater_is_better=False,
            seed=recipe.seed,
            bf16=gpu and torch.cuda.is_bf16_supported(),
            use_cpu=not gpu,
            dataloader_pin_memory=gpu,
            remove_unused_columns=False,
            label_names=["metrics"],
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=data[TRAIN],
        eval_dataset=data[VALIDATION],
        data_collator=data[TRAIN].collate,
        compute_metrics=measured,
    )
    # Our loss is a mean over the batch, whatever the model's own would be.
    trainer.model_accepts_loss_kwargs = False
    trainer.remove_callback(PrinterCallback)
    if trainer.is_world_process_zero():
        trainer.add_callback(_tensorboard(folder / LOGS))
    return trainer


def _tensorboard(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    return TensorBoardCallback(SummaryWriter(str(folder)))
