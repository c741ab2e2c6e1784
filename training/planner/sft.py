"""Fine-tunes a planner: LoRA with TRL on tokenized examples, with the loss on the plan alone.

TRL gets the labels, so that it does not encode, truncate or mask anything itself.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from index.numbers import Integer, Number
from training.errors import TrainingUnavailable
from training.extras import require
from training.folder import pin_configuration, replacing_folder
from training.planner.data import PlannerExample, Tokenizer, read_examples
from training.stamp import stamp
from training.tasks.datasets import Part
from training.trainer import Watcher, last_checkpoint, notifying, step_arguments

ADAPTER = "adapter"
CHECKPOINTS = "checkpoints"
TRAINING_MANIFEST = "training.json"

_IGNORED = -100
"""Label of tokens that the loss ignores, in PyTorch and libraries built on it."""


class Recipe(BaseModel):
    """Hyperparameters of a planner. The defaults are those published with LaMP-QA (PlanPers).

    The published batch of 32 is `batch_size` times `gradient_accumulation`. The learning rate falls
    linearly, and gradients are clipped to norm 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Integer = Field(2_000, ge=1)
    batch_size: Integer = Field(4, ge=1)
    gradient_accumulation: Integer = Field(8, ge=1)
    learning_rate: Number = Field(5e-5, gt=0)
    warmup: Number = Field(0.1, ge=0, lt=1)
    """Fraction of the steps."""
    lora_rank: Integer = Field(16, ge=1)
    lora_alpha: Integer = Field(16, ge=1)
    lora_dropout: Number = Field(0.05, ge=0, lt=1)
    validate_every: Integer = Field(250, ge=1)
    """Steps between checkpoints; each checkpoint is validated."""
    seed: Integer = 0


@dataclass(frozen=True)
class KeptAdapter:
    """The adapter that was kept, from the step with the lowest validation loss."""

    adapter: Path
    step: int
    validation_loss: float


def load_tokenizer(model: str) -> Tokenizer:
    """Load the model's tokenizer. Raises TrainingUnavailable if that fails."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise TrainingUnavailable(f"the tokenizer of {model} cannot be loaded: {error}") from None


def check_can_train(model: str, recipe: Recipe, max_length: int, *, cpu: bool) -> None:
    """Check requirements before hours are spent on examples. Raises TrainingUnavailable."""
    require("train", "datasets", "peft", "torch", "trl")
    if cpu:
        return
    import torch

    if not torch.cuda.is_available():
        parameters, size = memory_needed(model, recipe, max_length)
        raise TrainingUnavailable(
            f"no GPU was found; {model} has {parameters / 1e9:.2g} billion parameters, and training it "
            f"takes about {size / 2**30:.2g} GiB of a GPU's memory (--cpu trains tiny models without one)"
        )
    if torch.cuda.device_count() > 1:
        raise TrainingUnavailable("training uses one GPU; select it, for example with CUDA_VISIBLE_DEVICES=0")


def memory_needed(model: str, recipe: Recipe, max_length: int) -> tuple[int, int]:
    """Number of the model's parameters, and estimated bytes for training on examples of maximum length.

    The bytes are the weights in bfloat16; 16 per parameter of the adapter (itself, its gradient and Adam's
    two moments in float32); and per token, the input of every layer and the activations of one layer (34 per
    hidden unit; Korthikanti et al. 2022, section 4), since the others are recomputed.
    """
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise TrainingUnavailable(f"{model} cannot be loaded: {error}") from None
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
        parameters = network.num_parameters()
        adapter = get_peft_model(network, _lora(recipe)).num_parameters(only_trainable=True)
    units = recipe.batch_size * max_length * config.hidden_size
    return parameters, 2 * parameters + 16 * adapter + units * (2 * config.num_hidden_layers + 34)


def train(
    folder: Path,
    examples: Path,
    model: str,
    recipe: Recipe,
    *,
    cpu: bool = False,
    watcher: Watcher | None = None,
) -> KeptAdapter:
    """Train, or resume from the last checkpoint, and save the best adapter in `folder`/adapter.

    Raises ChangedConfiguration if the folder was begun with another recipe or other examples.
    """
    with examples.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    pin_configuration(
        folder / TRAINING_MANIFEST, {"model": model, "examples": digest, "cpu": cpu, **recipe.model_dump()}
    )
    trainer = make_trainer(folder / CHECKPOINTS, read_examples(examples), model, recipe, cpu=cpu)
    if watcher is not None:
        trainer.add_callback(notifying(watcher))
    last = last_checkpoint(folder / CHECKPOINTS)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    best = KeptAdapter(folder / ADAPTER, trainer.state.best_global_step, trainer.state.best_metric)
    _keep(trainer, best)
    return best


def make_trainer(
    folder: Path, examples: Iterable[PlannerExample], model: str, recipe: Recipe, *, cpu: bool
) -> Any:
    """Make TRL's trainer, which writes its checkpoints to `folder`."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    parts = _datasets(examples)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32 if cpu else torch.bfloat16),
        args=SFTConfig(
            output_dir=str(folder),
            max_steps=recipe.steps,
            max_length=None,
            eval_strategy="steps",
            eval_steps=recipe.validate_every,
            save_steps=recipe.validate_every,
            load_best_model_at_end=True,
            metric_for_best_model="eval_loss",
            greater_is_better=False,
            use_cpu=cpu,
            bf16=not cpu,
            activation_checkpointing=True,
            **step_arguments(recipe),
        ),
        train_dataset=parts["train"],
        eval_dataset=parts["validation"],
        processing_class=load_tokenizer(model),
        peft_config=_lora(recipe),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _datasets(examples: Iterable[PlannerExample]) -> dict[Part, Any]:
    import numpy as np
    from datasets import Dataset

    columns: dict[Part, dict[str, list[Any]]] = {
        part: {"input_ids": [], "labels": []} for part in ("train", "validation")
    }
    for example in examples:
        ids = np.array([*example.prompt_ids, *example.completion_ids], dtype=np.int32)
        labels = ids.copy()
        labels[: len(example.prompt_ids)] = _IGNORED
        columns[example.part]["input_ids"].append(ids)
        columns[example.part]["labels"].append(labels)
    return {part: Dataset.from_dict(values) for part, values in columns.items()}


def _lora(recipe: Recipe) -> Any:
    from peft import LoraConfig

    # The adapted matrices are not published, so peft's default for the model applies.
    return LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        task_type="CAUSAL_LM",
    )


def _keep(trainer: Any, best: KeptAdapter) -> None:
    """Write the adapter, its tokenizer and its stamp atomically."""
    with replacing_folder(best.adapter) as part:
        trainer.model.save_pretrained(part)
        trainer.processing_class.save_pretrained(part)
        stamp(part, "planner", step=best.step, validation_loss=best.validation_loss)
