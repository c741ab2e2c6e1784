"""`pr2 train warmstart`: from judged runs to the data, and the training, of a policy's warm start."""

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
        Path, typer.Option("--out", metavar="DIR", help="The folder of the data and the trained model.")
    ],
    least: Annotated[
        float, typer.Option("--least", min=0, max=1, help="The lowest score that is learned from.")
    ] = 0.5,
    most_per_question: Annotated[
        int, typer.Option("--most-per-question", min=1, help="Of each question, the best so many.")
    ] = 1,
    model: Annotated[
        str, typer.Option("--model", help="The model to train: its folder, or its name on the hub.")
    ] = "Qwen/Qwen2.5-7B-Instruct",
    train: Annotated[bool, typer.Option("--run", help="Train now, on all GPUs of this machine.")] = False,
) -> None:
    """Choose well-judged trajectories of any policy, for a model to learn from (rejection sampling).

    DIR/sft.jsonl gets the best of each question that were answered, kept to the format, and scored enough.
    The command that trains on them, by OpenRLHF, is printed; the model then lies in DIR/model.
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
        (counts.shortened, "had passages taken out, for lack of room"),
        (counts.surpassed, "are behind better ones of the same question"),
    )
    typer.echo(f"{data}: {counts.kept} of {counts.total} trajectories")
    for count, what in others:
        if count:
            typer.echo(f"  {count} {what}")
