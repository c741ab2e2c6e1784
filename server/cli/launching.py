"""`pr2 train policy`: the policy on OpenRLHF, by a command that is shown and then run."""

import hashlib
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.errors import BadInput, said_plainly

if TYPE_CHECKING:
    from training.policy.launch import Preset


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
    with said_plainly():
        from training.folder import locked, pin_configuration
        from training.policy import launch
        from training.policy.environment import Configuration
        from training.policy.prepare import ENVIRONMENT, TRAIN
        from training.stamp import stamp

        chosen = launch.changed(launch.load_preset(preset), flag or [])
        if not all((prepared / name).is_file() for name in (ENVIRONMENT, TRAIN)):
            raise BadInput(f"{prepared} was not prepared: pr2 train prepare --out {prepared}")
        begins_with = model or chosen.model
        _check_warm(begins_with, cold_start)
        prompts = (prepared / TRAIN).read_bytes()
        words = launch.flags(chosen, prepared, out, begins_with, prompts.count(b"\n"))
        variables = launch.environment(prepared)
        run = launch.command(words, ray, variables)
        typer.echo(_needs(chosen, preset))
        typer.echo(launch.as_shell(run, {} if ray else variables))
        if dry_run:
            return
        if ray is None:
            _check_machine(chosen, preset)
        elif which("ray") is None:
            raise BadInput("a job is given to Ray by its own command: pip install 'pr2[openrlhf]'")
        configuration = Configuration.model_validate_json((prepared / ENVIRONMENT).read_text("utf-8"))
        with locked(out):
            # Where it is watched from may change, and keys are nobody's to keep.
            settled = {name: value for name, value in chosen.flags.items() if not name.startswith("logger.")}
            digest = hashlib.sha256(prompts).hexdigest()
            facts = {"model": begins_with, "prompts": digest, "flags": settled}
            pin_configuration(out / "policy.json", {**facts, **configuration.model_dump(mode="json")})
            code = subprocess.run(run, env=os.environ | variables, check=False).returncode
            if code == 0 and (out / launch.MODEL).is_dir():
                stamp(out / launch.MODEL, "policy")
                typer.echo(f"{out / launch.MODEL}: pr2 serve --policy vllm --model {out / launch.MODEL}")
    raise typer.Exit(code)


def _check_warm(model: str, cold_start: bool) -> None:
    """A model that never saw the tags seldom writes them, and learns nothing from trajectories without."""
    from agent.checkpoints import STAMP, check_prompts, prompt_version

    check_prompts(model)
    if prompt_version(model) is None and not cold_start:
        raise BadInput(
            f"{model} has no {STAMP} that says on which prompts it was trained: warm it up first "
            "(pr2 train warmstart), or begin all the same with --cold-start"
        )


def _needs(preset: "Preset", name: str) -> str:
    from training.policy.launch import gpus, memory_needed

    return (
        f"{name}: {_gpus(gpus(preset))} of {preset.gpus.gib} GiB; by the estimate, "
        f"{memory_needed(preset):.0f} GiB of each are needed at the most"
    )


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' * (count != 1)}"


def _check_machine(preset: "Preset", name: str) -> None:
    """Said now, since a training takes minutes to find out."""
    import torch

    from training.policy.launch import gpus, memory_needed

    wanted = gpus(preset)
    count = torch.cuda.device_count()
    memory = [torch.cuda.get_device_properties(index).total_memory / 2**30 for index in range(count)]
    needed = memory_needed(preset)
    if count < wanted or min(memory) < needed:
        here = f"{count} of {min(memory):.0f} GiB" if memory else "none"
        raise BadInput(
            f"{name} needs {_gpus(wanted)} with about {needed:.0f} GiB each, and here "
            f"{'is' if count == 1 else 'are'} {here}: take another preset, or change it by --flag "
            "(ds.adam_offload=true moves the optimizer to the host)"
        )
    missing = [module for module in ("openrlhf", "ray", "deepspeed", "vllm") if find_spec(module) is None]
    if missing:
        raise BadInput(f"training needs {', '.join(missing)}: pip install 'pr2[openrlhf]'")
