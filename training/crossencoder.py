"""Trains an encoder with one output by the Trainer of transformers: selectors and reward models.

The Trainer does warm-up and decay, clipping, checkpoints, TensorBoard, and several GPUs by Accelerate.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from agent.crossencoder import longest_input
from index.encoding.models import packaged_minilm
from index.numbers import Integer, Number
from training.errors import TrainingUnavailable
from training.extras import require
from training.trainer import step_arguments

CHECKPOINTS, LOGS = "checkpoints", "tensorboard"

_LOG_EVERY = 10


class CrossEncoderRecipe(BaseModel):
    """Hyperparameters of both. Adam's learning rate falls linearly, and gradients are clipped to norm 1.

    Each epoch ends with a checkpoint and its validation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Integer = Field(ge=1)
    batch_size: Integer = Field(ge=1)
    """Examples on one device."""
    gradient_accumulation: Integer = Field(ge=1)
    learning_rate: Number = Field(gt=0)
    warmup: Number = Field(ge=0, lt=1)
    """Fraction of the steps."""
    max_tokens: Integer = Field(ge=8)
    """Longest input; less if the encoder reads less."""
    seed: Integer = 0


class Dataset(Protocol):
    """Examples, and how a batch is made of them: a model's parameters, and the `labels` by their name."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...

    def collate(self, items: Any) -> dict[str, Any]: ...


def check_can_train() -> None:
    """Raises TrainingUnavailable if a package is missing."""
    require("train", "accelerate", "tensorboard")


def encoder_source(model: str) -> str:
    """The folder or name of an encoder; `minilm` is the packaged one."""
    return str(packaged_minilm()) if model == "minilm" else model


def load_encoder(model: str, recipe: CrossEncoderRecipe) -> tuple[Any, Any, int]:
    """Load an encoder with a new output, its tokenizer, and the longest input.

    `model` is `minilm`, a folder, or a name on the hub. Raises TrainingUnavailable and EncoderUnavailable.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
    from transformers.utils import logging

    source = encoder_source(model)
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


def make_trainer(
    folder: Path,
    encoder: Any,
    train: Dataset,
    validation: Dataset,
    recipe: CrossEncoderRecipe,
    *,
    labels: str,
    loss: Callable[[Any, Any], Any],
    measured: Callable[[Any, Any], Mapping[str, float]],
    best: str | None = None,
) -> Any:
    """Make a Trainer that writes its checkpoints and curves to the folder.

    `labels` names the labels in a batch, whose shape the scores get, too. `loss` is called with scores and
    labels, and returns a mean over the batch; `measured` is called with those of all validation examples.
    With `best`, the name of a measure, the epoch with its lowest value is kept, else the last.
    """
    import torch
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    class CrossEncoderTrainer(Trainer):  # type: ignore[misc]
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            labelled = inputs.pop(labels)
            scores = model(**inputs).logits.float().reshape(labelled.shape)
            found = loss(scores, labelled)
            return (found, {"scores": scores}) if return_outputs else found

    gpu = torch.cuda.is_available()
    trainer = CrossEncoderTrainer(
        model=encoder,
        args=TrainingArguments(
            output_dir=str(folder / CHECKPOINTS),
            num_train_epochs=recipe.epochs,
            logging_steps=_LOG_EVERY,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=best is not None,
            metric_for_best_model=best,
            greater_is_better=False if best is not None else None,
            bf16=gpu and torch.cuda.is_bf16_supported(),
            use_cpu=not gpu,
            dataloader_pin_memory=gpu,
            remove_unused_columns=False,
            label_names=[labels],
            **step_arguments(recipe),
        ),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=train.collate,
        compute_metrics=lambda found: measured(*map(torch.tensor, (found.predictions, found.label_ids))),
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
