"""`pr2 train policy`: shows the command that trains a policy on OpenRLHF, then runs it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.errors import as_cli_errors

if TYPE_CHECKING:
    from training.policy.preset import Preset


def policy(
    prepared: Annotated[
        Path,
        typer.Argument(metavar="PREPARED", help="Folder written by pr2 train prepare.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the run; an interrupted one is resumed.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            "--preset", metavar="NAME|FILE", help="qwen2.5-7b, gemma-2-9b, tiny, prlm-…, or a TOML file."
        ),
    ] = "qwen2.5-7b",
    method: Annotated[
        str | None,
        typer.Option("--method", help="Method that PREPARED has to be for; default: whichever it is for."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Initial model: the folder of a warm start.")
    ] = None,
    cold_start: Annotated[
        bool, typer.Option("--cold-start", help="Accept a model that has not been warmed up.")
    ] = False,
    flag: Annotated[
        list[str] | None,
        typer.Option("--flag", metavar="NAME=VALUE", help="Override a flag of OpenRLHF; repeatable."),
    ] = None,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="Ray cluster to submit the job to.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the command without running it.")] = False,
) -> None:
    """Train a policy with OpenRLHF on the folder that `pr2 train prepare` wrote.

    Writes checkpoints (to resume from), TensorBoard curves and finally the model to DIR; serve it with
    `pr2 serve --policy vllm --model DIR/model`.
    """
    with as_cli_errors():
        from training.policy import launch
        from training.policy.preset import changed, load_preset

        chosen = changed(load_preset(preset), flag or [])
        job = launch.make_job(
            prepared, out, chosen, model or chosen.model, method=method, cold_start=cold_start, ray=ray
        )
        typer.echo(_needs(chosen, preset))
        typer.echo(launch.as_shell(job.command, {} if ray else job.variables))
        if dry_run:
            return
        launch.check_can_run(job, preset)
        code = launch.run(job)
        trained = out / launch.MODEL
        if code == 0 and trained.is_dir():
            typer.echo(f"{trained}: pr2 serve --policy vllm --model {trained}")
    raise typer.Exit(code)


def _needs(preset: "Preset", name: str) -> str:
    from training.policy.launch import counted_gpus
    from training.policy.preset import gpus, memory_needed

    return (
        f"{name}: {counted_gpus(gpus(preset))} of {preset.gpus.gib} GiB; estimated peak use "
        f"{memory_needed(preset):.0f} GiB each"
    )
