"""`pr2 train warmstart`: selects training data from judged runs, and fine-tunes a model on them."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.errors import BadInput, as_cli_errors

if TYPE_CHECKING:
    from training.policy.warmstart import Counts


def warmstart(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of pr2 evaluate --method pr2.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the data and the trained model.")
    ],
    least: Annotated[float, typer.Option("--least", min=0, max=1, help="Lowest score to learn from.")] = 0.5,
    most_per_question: Annotated[
        int, typer.Option("--most-per-question", min=1, help="Trajectories to keep per question.")
    ] = 1,
    model: Annotated[
        str, typer.Option("--model", help="Model to train: a folder, or a name on the Hugging Face Hub.")
    ] = "Qwen/Qwen2.5-7B-Instruct",
    train: Annotated[bool, typer.Option("--run", help="Train now, on all GPUs of this machine.")] = False,
) -> None:
    """Select well-judged trajectories of any policy as training data (rejection sampling).

    Writes the best answered trajectories of each question that kept to the format and scored high enough to
    DIR/sft.jsonl, and prints the OpenRLHF command that trains on them and writes the model to DIR/model.
    """
    with as_cli_errors():
        from training.extras import require
        from training.folder import locked
        from training.policy.launch import MODEL, run_warm_start, warm_start_flags
        from training.policy.warmstart import DATA, write_data

        if train:
            require("openrlhf", "openrlhf", "deepspeed")
        with locked(out):
            try:
                counts = write_data(out, runs, least=least, most_per_question=most_per_question)
            except ValueError as error:
                raise BadInput(str(error)) from None
            _print(out / DATA, counts, least)
            flags = warm_start_flags(out / DATA, out / MODEL, model, counts.kept)
            typer.echo(f"To train on them:\n  {shlex.join(['deepspeed', *flags])}")
            if train:
                raise typer.Exit(run_warm_start(flags))


def _print(data: Path, counts: "Counts", least: float) -> None:
    others = (
        (counts.unanswered, "have no answer"),
        (counts.unjudged, "are not judged"),
        (counts.too_low, f"score less than {least:g}"),
        (counts.violations, "did not keep to the format"),
        (counts.shortened, "had passages dropped from a full context"),
        (counts.surpassed, "rank behind others of the same question"),
    )
    typer.echo(f"{data}: {counts.kept} of {counts.total} trajectories")
    for count, what in others:
        if count:
            typer.echo(f"  {count} {what}")
