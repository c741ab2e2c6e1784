"""Trains a retriever on a folder of feedback, resumes it, and writes the encoder."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from index.encoding.encoders import SentenceTransformerEncoder, load_trainable
from training.extras import require
from training.feedback.records import FEEDBACK, TASK, Feedback, read_feedback, read_manifest
from training.folder import pin_configuration, replacing_folder
from training.folds import Fold
from training.retriever.origin import check_encoder, check_task, trained_task
from training.retriever.processes import Processes
from training.retriever.questions import TooLittleFeedback, hold_out, usable
from training.retriever.recipe import Recipe, Watcher
from training.retriever.trainer import Trainer
from training.stamp import stamp

CONFIGURATION, STATE, CURVES = "training.json", "state.pt", "tensorboard"


@dataclass(frozen=True)
class Source:
    """The feedback to learn from, and the encoder that ranked its documents."""

    feedback: Path
    encoder: str
    """minilm, contriever, or the path of a sentence-transformers model."""
    validation: Path | None = None
    """Feedback to validate with; None holds out some of the people."""
    any_feedback: bool = False
    """Train even if encoder or task of the feedback are others."""
    fold: Fold | None = None
    """People to leave out, so that others can see how the encoder serves people it was not trained on."""


@dataclass(frozen=True)
class Trained:
    """The encoder that was kept, from the step with the highest utility on the held-out questions."""

    folder: Path
    step: int
    """0 if no step was better than the encoder as it was, beyond chance."""
    utility: float
    steps: int
    trained_on: int
    """Questions."""
    validated_with: int
    left_out: Mapping[str, int]
    """Numbers of questions that could not be used, by reason."""


def train(
    folder: Path,
    source: Source,
    recipe: Recipe,
    *,
    cpu: bool = False,
    watchers: Sequence[Watcher] = (),
    load: Callable[..., SentenceTransformerEncoder] = load_trainable,
) -> Trained:
    """Train in `folder`, or go on there, and write the best encoder to a folder in it named after the method
    and the fold that was left out.

    Raises ForeignFeedback if the feedback is that of another encoder or task, TooLittleFeedback, and
    ChangedConfiguration if the folder was begun with another source or recipe. Every process that Accelerate
    starts calls this. `load` opens the encoder, given its name and the device; parameters that it has frozen
    are not trained.
    """
    require("train", "accelerate", "tensorboard")
    processes = Processes(cpu=cpu)
    encoder = load(source.encoder, device=str(processes.device))
    task = _check(source, encoder)
    questions, held_out, left_out = _questions(source, recipe)
    if processes.main:
        pin_configuration(folder / CONFIGURATION, _configuration(source, encoder, task, recipe))
    processes.wait()
    trainer = Trainer(encoder.model, encoder.manifest, questions, held_out, recipe, processes)
    if (folder / STATE).exists():
        trainer.restore(torch.load(folder / STATE, map_location="cpu", weights_only=True))
    if processes.main:
        with _curves(folder / CURVES, trainer.step) as curves:
            _run(trainer, [*watchers, curves], partial(_save, trainer, folder / STATE))
    else:
        _run(trainer, [], lambda: None)
    best = trainer.keep_best()
    made = Trained(
        folder / (source.fold.named(recipe.method) if source.fold else recipe.method),
        best.step,
        best.utility,
        trainer.steps,
        len(questions),
        len(held_out),
        left_out,
    )
    if processes.main:
        _write(encoder, made, _configuration(source, encoder, task, recipe))
    processes.wait()
    return made


def _check(source: Source, encoder: SentenceTransformerEncoder) -> str:
    """Check where the feedback comes from. Returns its task."""
    manifest = read_manifest(source.feedback)
    task = str(manifest[TASK])
    if source.any_feedback:
        return task
    check_encoder(source.feedback, manifest, encoder.manifest)
    if (before := trained_task(source.encoder)) is not None:
        check_task(source.feedback, manifest, before, f"the encoder in {source.encoder} was trained")
    if source.validation is not None:
        held_out = read_manifest(source.validation)
        check_encoder(source.validation, held_out, encoder.manifest)
        check_task(source.validation, held_out, task, f"that in {source.feedback}")
    return task


def _questions(source: Source, recipe: Recipe) -> tuple[list[Feedback], list[Feedback], Mapping[str, int]]:
    """Questions to train on and to validate with, and the numbers of those left out."""
    found = usable(read_feedback(source.feedback), recipe.method, recipe.documents, source.fold)
    if source.validation is None:
        questions, held_out = hold_out(found.used, recipe.held_out, recipe.seed)
        return questions, held_out, found.left_out
    other = usable(read_feedback(source.validation), recipe.method, recipe.documents)
    for folder, part in ((source.feedback, found), (source.validation, other)):
        if not part.used:
            raise TooLittleFeedback(f"{folder} has no feedback that {recipe.method} can use")
    left_out = {
        reason: found.left_out.get(reason, 0) + other.left_out.get(reason, 0)
        for reason in {**found.left_out, **other.left_out}
    }
    return list(found.used), list(other.used), left_out


def _configuration(
    source: Source, encoder: SentenceTransformerEncoder, task: str, recipe: Recipe
) -> dict[str, Any]:
    return {
        "task": task,
        "encoder": encoder.manifest.to_dict(),
        "feedback": _digest(source.feedback),
        "validation": None if source.validation is None else _digest(source.validation),
        **({"fold": str(source.fold)} if source.fold else {}),
        "recipe": recipe.model_dump(),
    }


def _digest(feedback: Path) -> str:
    with (feedback / FEEDBACK).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _run(trainer: Trainer, watchers: Sequence[Watcher], save: Callable[[], None]) -> None:
    """Train to the end, validating before the first step, at intervals, and after the last step."""

    def validate() -> None:
        found = trainer.validate()
        save()
        for watcher in watchers:
            watcher.validated(trainer.step, found.utility, found.unchanged)

    for watcher in watchers:
        watcher.begun(trainer.step, trainer.steps)
    if trainer.best is None:
        validate()
    while trainer.step < trainer.steps:
        loss = trainer.train()
        for watcher in watchers:
            watcher.trained(trainer.step, loss, trainer.rate())
        if trainer.step % trainer.every == 0 or trainer.step == trainer.steps:
            validate()


def _save(trainer: Trainer, file: Path) -> None:
    """Replace the file by a complete one that is on disk."""
    draft = file.with_name(f".{file.name}.tmp")
    with draft.open("wb") as stream:
        torch.save(trainer.state(), stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


def _write(encoder: SentenceTransformerEncoder, made: Trained, configuration: Mapping[str, Any]) -> None:
    """Write the encoder and its stamp, all at once."""
    with replacing_folder(made.folder) as part:
        encoder.model.save_pretrained(str(part), create_model_card=False)
        stamp(part, "retriever", step=made.step, validation_utility=made.utility, **configuration)


@contextmanager
def _curves(folder: Path, step: int) -> Iterator[Watcher]:
    """TensorBoard's curves, from after `step`: what a killed process wrote beyond it is hidden."""
    from torch.utils.tensorboard import SummaryWriter

    class Curves:
        def begun(self, step: int, steps: int) -> None:
            pass

        def trained(self, step: int, loss: float, learning_rate: float) -> None:
            writer.add_scalar("loss", loss, step)
            writer.add_scalar("learning_rate", learning_rate, step)

        def validated(self, step: int, utility: float, unchanged: float) -> None:
            writer.add_scalar("validation/utility", utility, step)
            writer.add_scalar("validation/unchanged", unchanged, step)

    with SummaryWriter(str(folder), purge_step=step + 1) as writer:
        yield Curves()
