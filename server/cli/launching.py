"""`pr2 train policy`: the policy on OpenRLHF, by a command that is shown and then run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.errors import as_cli_errors

if TYPE_CHECKING:
    from training.policy.preset import Preset


def policy(
    prepared: Annotated[
        Path, typer.Argument(metavar="PREPARED", help="The folder of pr2 train prepare.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder of the run. Started again, it goes on.")
    ],
    preset: Annotated[
        str,
        typer.Option("--preset", metavar="NAME|FILE", help="qwen2.5-7b, gemma-2-9b, tiny, or a TOML file."),
    ] = "qwen2.5-7b",
    model: Annotated[
        str | None, typer.Option("--model", help="What training begins with: the folder of a warm start.")
    ] = None,
    cold_start: Annotated[
        bool, typer.Option("--cold-start", help="Begin with a model that was never shown the tags.")
    ] = False,
    flag: Annotated[
        list[str] | None,
        typer.Option("--flag", metavar="NAME=VALUE", help="Another of OpenRLHF's flags; repeatable."),
    ] = None,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="Of a Ray cluster, to run there as a job.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the command, and do not run it.")] = False,
) -> None:
    """Train a policy on what `pr2 train prepare` wrote, with OpenRLHF.

    DIR gets checkpoints, from which it goes on when it is started again, TensorBoard's curves, and at the end
    the model, for `pr2 serve --policy vllm --model DIR/model`.
    """
    with as_cli_errors():
        from training.policy import launch
        from training.policy.preset import changed, load_preset

        chosen = changed(load_preset(preset), flag or [])
        job = launch.make_job(prepared, out, chosen, model or chosen.model, cold_start=cold_start, ray=ray)
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
        f"{name}: {counted_gpus(gpus(preset))} of {preset.gpus.gib} GiB; by the estimate, "
        f"{memory_needed(preset):.0f} GiB of each are needed at the most"
    )
