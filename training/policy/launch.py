"""Builds and runs the commands that train a policy on OpenRLHF, here or on a Ray cluster."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

from agent.checkpoints import STAMP, check_prompts, prompt_version
from training.errors import TrainingUnavailable
from training.extras import require
from training.folder import locked, pin_configuration
from training.policy.environment import CONFIGURATION, Configuration
from training.policy.prepare import ENVIRONMENT, TRAIN, VALIDATION
from training.policy.preset import InvalidPreset, Preset, gpus, memory_needed
from training.stamp import stamp

CHECKPOINTS, MODEL, CURVES = "checkpoints", "model", "tensorboard"
TRAINER = "training.policy.openrlhf.trainer"
_MANIFEST = "policy.json"
_SFT = "training.policy.openrlhf.sft"
_SFT_BATCH = 32


@dataclass(frozen=True)
class Job:
    """A training of a policy, ready to be shown or run."""

    out: Path
    preset: Preset
    command: Sequence[str]
    variables: Mapping[str, str]
    """Environment variables, by which workers find the training configuration."""
    ray: str | None
    """Address of the cluster that runs it; None for this machine."""
    configuration: Mapping[str, Any]
    """JSON values that `out` is pinned to."""


def make_job(
    prepared: Path,
    out: Path,
    preset: Preset,
    model: str,
    *,
    method: str | None = None,
    cold_start: bool = False,
    ray: str | None = None,
) -> Job:
    """Set up the training of `model` on the folder `prepared`, which `pr2 train prepare` wrote.

    Raises TrainingUnavailable if nothing was prepared, or not for `method` or the preset, or if the model was
    not warmed up and `cold_start` is not set: a model that has never seen the tags rarely writes them, and
    learns nothing from trajectories without them. Raises InvalidPreset, InvalidConfiguration, and EngineError
    if the model was trained on other prompts.
    """
    if not all((prepared / name).is_file() for name in (ENVIRONMENT, TRAIN)):
        raise TrainingUnavailable(f"{prepared} is not prepared: run pr2 train prepare --out {prepared}")
    configuration = Configuration.read(prepared / ENVIRONMENT)
    if method not in (None, configuration.method):
        raise TrainingUnavailable(
            f"{prepared} is prepared for the method {configuration.method}: prepare another folder with "
            f"--method {method}"
        )
    _check_prepared(preset, configuration, prepared)
    check_prompts(model)
    if prompt_version(model) is None and not cold_start:
        raise TrainingUnavailable(
            f"{model} has no {STAMP}, which names the prompts that it was trained on: warm it up first "
            "(pr2 train warmstart), or start without that by --cold-start"
        )
    prompts = (prepared / TRAIN).read_bytes()
    variables = environment(prepared)
    words = command(flags(preset, prepared, out, model, prompts.count(b"\n")), ray, variables)
    # Logging may change between runs, and its keys must not be written to disk.
    pinned = {name: value for name, value in preset.flags.items() if not name.startswith("logger.")}
    facts = {"model": model, "prompts": hashlib.sha256(prompts).hexdigest(), "flags": pinned}
    return Job(out, preset, words, variables, ray, facts | configuration.model_dump(mode="json"))


def _check_prepared(preset: Preset, configuration: Configuration, prepared: Path) -> None:
    """Raises TrainingUnavailable, naming the settings, if the preset is for others than these."""

    def found(name: str) -> Any:
        value: Any = configuration
        for part in name.split("."):
            value = getattr(value, part, None)
        return value

    wrong = [
        f"{name} is {json.dumps(found(name))}, not {json.dumps(value)}"
        for name, value in preset.prepared.items()
        if found(name) != value
    ]
    if wrong:
        raise TrainingUnavailable(
            f"the preset is for another preparation than that of {prepared} ({'; '.join(wrong)}): prepare "
            "another folder, or change the table [prepared] in a copy of the preset"
        )


def check_can_run(job: Job, name: str) -> None:
    """Raises TrainingUnavailable if GPUs, memory or packages are missing, before minutes of start-up.

    `name` is that of the preset, for the message.
    """
    if job.ray is None:
        _check_gpus(job.preset, name)
        require("openrlhf", "openrlhf", "ray", "deepspeed", "vllm")
    elif which("ray") is None:
        raise TrainingUnavailable("submitting a job needs the command ray: pip install 'pr2[openrlhf]'")


def _check_gpus(preset: Preset, name: str) -> None:
    import torch

    wanted, needed = gpus(preset), memory_needed(preset)
    count = torch.cuda.device_count()
    memory = [torch.cuda.get_device_properties(index).total_memory / 2**30 for index in range(count)]
    if count < wanted or min(memory) < needed:
        here = f"{count} of {min(memory):.0f} GiB" if memory else "none"
        raise TrainingUnavailable(
            f"{name} needs {counted_gpus(wanted)} with about {needed:.0f} GiB each; this machine has {here}: "
            "choose another preset, or override its flags by --flag "
            "(ds.adam_offload=true moves the optimizer to the host)"
        )


def counted_gpus(count: int) -> str:
    """The count with its unit."""
    return f"{count} GPU{'s' * (count != 1)}"


def run(job: Job) -> int:
    """Run the job, stamp the trained model with the version of its prompts, and return the exit code.

    Raises FolderInUse, and ChangedConfiguration if the folder was begun with another configuration.
    """
    with locked(job.out):
        pin_configuration(job.out / _MANIFEST, job.configuration)
        code = subprocess.run(job.command, env=os.environ | job.variables, check=False).returncode
        if code == 0 and (job.out / MODEL).is_dir():
            stamp(job.out / MODEL, "policy")
    return code


def flags(preset: Preset, prepared: Path, out: Path, model: str, rows: int) -> list[str]:
    """OpenRLHF's flags for prompts of `rows` lines. Raises InvalidPreset."""
    # Workers may run in another working directory.
    prepared, out = prepared.resolve(), out.resolve()
    if Path(model).is_dir():
        model = str(Path(model).resolve())
    batch = int(preset.number("rollout.batch_size"))
    if rows < batch:
        raise InvalidPreset(f"a step takes {batch} questions, but there are only {rows} (rollout.batch_size)")
    paths = {
        "actor.model_name_or_path": model,
        "data.prompt_dataset": str(prepared / TRAIN),
        "eval.dataset": str(prepared / VALIDATION),
        "ckpt.path": str(out / CHECKPOINTS),
        "ckpt.output_dir": str(out / MODEL),
        "ckpt.load_enable": True,
        "logger.tensorboard_dir": str(out / CURVES),
        # In an incomplete last step, some GPUs would get no samples and the others would wait for ever.
        "data.max_samples": rows // batch * batch,
    }
    return [word for flag in {**paths, **preset.flags}.items() for word in _words(*flag)]


def command(words: Sequence[str], ray: str | None, environment: Mapping[str, str]) -> list[str]:
    """The command that runs the trainer, here or as a job of the Ray cluster at the address `ray`."""
    if ray is None:
        return [sys.executable, "-m", TRAINER, *words]
    runtime = json.dumps({"env_vars": dict(environment)})
    submit = ["ray", "job", "submit", "--address", ray, "--runtime-env-json", runtime]
    return [*submit, "--", "python3", "-m", TRAINER, *words]


def environment(prepared: Path) -> dict[str, str]:
    """The environment variable by which workers find the training configuration."""
    return {CONFIGURATION: str((prepared / ENVIRONMENT).resolve())}


def as_shell(words: Sequence[str], variables: Mapping[str, str]) -> str:
    """The command for a shell, one flag a line. Values of flags ending in `.key` are hidden."""
    words = [
        "…" if before.endswith(".key") else word for before, word in zip(("", *words), words, strict=False)
    ]
    assignments = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    lines = [" ".join(assignments)] if assignments else []
    line: list[str] = []
    for word in words:
        if word.startswith("--") and line:
            lines.append(" ".join(line))
            line = []
        line.append(shlex.quote(word))
    return " \\\n  ".join([*lines, " ".join(line)])


def _words(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    return [f"--{name}", *map(str, value if isinstance(value, list) else [value])]


def warm_start_flags(data: Path, out: Path, model: str, examples: int) -> list[str]:
    """Flags of DeepSpeed's launcher for fine-tuning `model` on that number of examples.

    Raises TrainingUnavailable if there are fewer examples than GPUs.
    """
    import torch

    # OpenRLHF requires at least one full batch, and divides batches among the GPUs.
    count = max(torch.cuda.device_count(), 1)
    if examples < count:
        raise TrainingUnavailable(
            f"{examples} trajectories cannot be divided among {count} GPUs: use fewer GPUs, or more runs"
        )
    batch = count << ((min(_SFT_BATCH, examples) // count or 1).bit_length() - 1)
    return [
        *("--module", _SFT),
        *("--model.model_name_or_path", model),
        *("--data.dataset", str(data)),
        *("--data.max_len", "8192"),
        *("--train.batch_size", str(batch)),
        *("--train.micro_batch_size", "1"),
        *("--ds.zero_stage", "3"),
        "--model.gradient_checkpointing_enable",
        *("--ckpt.output_dir", str(out)),
    ]


def run_warm_start(flags: Sequence[str]) -> int:
    """Run DeepSpeed's launcher and return its exit code. Its own command need not be on the path."""
    return subprocess.run([sys.executable, "-m", "deepspeed.launcher.runner", *flags], check=False).returncode
