"""`pr2 train retriever`: trains an encoder on how useful its documents were to the LLM (ROPG)."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import Progress, TaskID

from server.cli.errors import as_cli_errors
from server.cli.progress import bar

if TYPE_CHECKING:
    from training.retriever.train import Trained


def retriever(
    feedback: Annotated[
        Path, typer.Option("--feedback", metavar="DIR", help="Folder of pr2 train feedback to learn from.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the state, the curves and the encoder.")
    ],
    method: Annotated[
        Literal["ropg-rl", "ropg-kd"],
        typer.Option("--method", help="Reinforcement learning, or distillation of the utility."),
    ],
    encoder: Annotated[
        str,
        typer.Option("--encoder", help="minilm, contriever, or the path of a sentence-transformers model."),
    ] = "contriever",
    validation: Annotated[
        Path | None,
        typer.Option("--validation", metavar="DIR", help="Feedback to validate with, instead of --held-out."),
    ] = None,
    held_out: Annotated[
        float, typer.Option("--held-out", min=0.01, max=0.99, help="Share of the people to validate with.")
    ] = 0.1,
    fold: Annotated[
        str | None,
        typer.Option(
            "--leave-out",
            metavar="N/K",
            help="Leave out the people of the Nth of K folds; see pr2 evaluate --fold.",
        ),
    ] = None,
    documents: Annotated[
        int | None, typer.Option("--documents", min=2, help="Only the first N of each question; default all.")
    ] = None,
    temperature: Annotated[
        float,
        typer.Option("--temperature", help="T of the softmax; below 1 for normalized vectors, and for KD."),
    ] = 1.0,
    draws: Annotated[
        int, typer.Option("--draws", min=1, help="Documents drawn per question, without replacement (RL).")
    ] = 1,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the questions.")] = 10,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Questions per step, of all processes together.")
    ] = 64,
    at_once: Annotated[
        int, typer.Option("--at-once", min=1, help="Questions in memory at a time, per process.")
    ] = 8,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="Peak learning rate; decays linearly.")
    ] = 1e-5,
    warmup: Annotated[
        float, typer.Option("--warmup", min=0, max=0.99, help="Fraction of the steps used for warm-up.")
    ] = 0.05,
    clip: Annotated[float, typer.Option("--clip", help="Maximum norm of the gradient.")] = 1.0,
    validate_every: Annotated[
        int | None,
        typer.Option("--validate-every", min=1, help="Steps between validations; default once an epoch."),
    ] = None,
    confidence: Annotated[
        float,
        typer.Option(
            "--confidence",
            min=0,
            max=0.999,
            help="With which a step must beat the encoder as it was; 0 keeps the best, as published.",
        ),
    ] = 0.95,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of split, order, draws and dropout.")] = 0,
    any_feedback: Annotated[
        bool, typer.Option("--any-feedback", help="Accept feedback of another encoder or task.")
    ] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="Train on the CPU even if there is a GPU.")] = False,
) -> None:
    """Train an encoder to find what helps the LLM, and write it to a folder in DIR named after the method.

    The defaults are those published with ROPG. The weights with the highest utility on held-out people are
    kept if they are better than the encoder as it was, beyond chance. A killed training goes on from its last
    validation; a changed configuration is refused. On several GPUs: accelerate launch -m server.cli train
    retriever ...
    """
    with as_cli_errors():
        from training.folder import locked
        from training.folds import Fold
        from training.retriever.recipe import Recipe
        from training.retriever.train import Source, train

        recipe = Recipe(
            method=method,
            documents=documents,
            temperature=temperature,
            draws=draws,
            learning_rate=learning_rate,
            warmup=warmup,
            clip=clip,
            epochs=epochs,
            batch_size=batch_size,
            at_once=at_once,
            validate_every=validate_every,
            held_out=held_out,
            confidence=confidence,
            seed=seed,
        )
        left_out = None if fold is None else Fold.parse(fold)
        source = Source(feedback, encoder, validation, any_feedback, left_out)
        if int(os.environ.get("RANK", "0")):
            # Of several processes, the first locks the folder, writes and reports for all of them.
            train(out, source, recipe, cpu=cpu)
            return
        with locked(out), bar("training", None) as (progress, task):
            trained = train(out, source, recipe, cpu=cpu, watchers=[_Watcher(progress, task)])
    _print(trained)


class _Watcher:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def begun(self, step: int, steps: int) -> None:
        self._progress.update(self._task, completed=step, total=steps)

    def trained(self, step: int, loss: float, learning_rate: float) -> None:
        self._progress.update(self._task, completed=step, description=f"loss {loss:.4f}")

    def validated(self, step: int, utility: float, unchanged: float) -> None:
        self._progress.console.print(
            f"step {step}: utility {utility:.4f}, first document unchanged {unchanged:.0%}", highlight=False
        )


def _print(trained: "Trained") -> None:
    typer.echo(f"{trained.trained_on} questions to train on, {trained.validated_with} to validate with")
    name = trained.folder.name
    for reason, count in trained.left_out.items():
        typer.echo(f"{count} left out: {reason}", err=True)
    if not trained.step:
        typer.echo(
            "No step was better than the encoder as it was, beyond chance: that is what was written.",
            err=True,
        )
    typer.echo(
        f"{trained.folder}: step {trained.step} of {trained.steps}, utility {trained.utility:.4f}\n"
        "To use it beside the store's encoder, as a retriever of its own:\n"
        f"  pr2 profile reembed --space {name}={trained.folder}\n"
        f"  pr2 serve --space {name}={trained.folder} --retriever {name}"
    )
