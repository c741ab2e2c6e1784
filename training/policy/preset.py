"""Presets: OpenRLHF's flags for one model on one machine, read from TOML files, and their memory."""

import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from index.documents import first_fault
from index.numbers import Integer
from training.errors import TrainingError

_PRESETS = files("training.policy.presets")
_GIB = 2**30


class InvalidPreset(TrainingError, ValueError):
    """Preset is missing or invalid."""


class Size(BaseModel):
    """Dimensions of a model, from which its memory is estimated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: Integer
    hidden_size: Integer
    layers: Integer
    vocabulary: Integer


class GPUs(BaseModel):
    """The machine that a preset is made for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Integer
    gib: Integer
    """Memory of each GPU, in GiB."""


class Preset(BaseModel):
    """A model, a machine, and OpenRLHF's flags for both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    size: Size
    gpus: GPUs
    prepared: Annotated[dict[str, Any], BeforeValidator(lambda tables: _flattened(tables))] = {}
    """Settings of the environment that the preset is for, by dotted name, such as `reward.quality`."""
    flags: Annotated[dict[str, Any], BeforeValidator(lambda tables: _flattened(tables))]
    """By dotted name, such as `train.batch_size`. TOML files may group them in tables."""

    def flag(self, name: str) -> Any:
        """The value of a flag. Raises InvalidPreset if the flag is not set."""
        if self.flags.get(name) is None:
            raise InvalidPreset(f"the preset does not set {name}")
        return self.flags[name]

    def number(self, name: str) -> float:
        """The number that a flag is set to. Raises InvalidPreset if it is anything else."""
        value = self.flag(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidPreset(f"{name} must be a number, not {json.dumps(value)}")
        return value

    @property
    def actor_gpus(self) -> int:
        """Number of GPUs that train."""
        return int(self.number("actor.num_nodes") * self.number("actor.num_gpus_per_node"))


def names() -> list[str]:
    """Names of the packaged presets, sorted."""
    return sorted(
        file.name.removesuffix(".toml") for file in _PRESETS.iterdir() if file.name.endswith(".toml")
    )


def load_preset(name: str) -> Preset:
    """Load a packaged preset by name, or a preset from a TOML file. Raises InvalidPreset."""
    known = name in names()
    source = _PRESETS / f"{name}.toml" if known else Path(name)
    if not known and not Path(name).is_file():
        raise InvalidPreset(f"{name!r} is neither a preset ({', '.join(names())}) nor a file")
    try:
        return Preset.model_validate(tomllib.loads(source.read_text("utf-8")))
    except ValidationError as error:
        raise InvalidPreset(f"{name}, {first_fault(error, 'file')}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidPreset(f"{name} is not valid TOML: {error}") from None


def changed(preset: Preset, given: Sequence[str]) -> Preset:
    """Override flags, each given as `NAME=VALUE` or `NAME=VALUE VALUE …`. Raises InvalidPreset."""
    return preset.model_copy(update={"flags": preset.flags | _overrides(given)})


def gpus(preset: Preset) -> int:
    """Number of GPUs that the flags require. Raises InvalidPreset if the flags contradict each other."""
    actor = preset.actor_gpus
    engines = preset.number("vllm.num_engines") * preset.number("vllm.tensor_parallel_size")
    is_async = bool(preset.flags.get("train.async_enable"))
    if not is_async and actor != engines:
        raise InvalidPreset(
            f"actor and engines share the GPUs, so both must use the same number, not {actor} and {engines} "
            "(actor.num_gpus_per_node, vllm.num_engines)"
        )
    return int(actor + engines if is_async else actor)


def memory_needed(preset: Preset) -> float:
    """Estimate the peak memory of each GPU in GiB: the larger of training and rolling out.

    Training: bfloat16 weights and gradients, float32 weights and Adam's two moments (16 bytes per parameter),
    sharded over the GPUs with ZeRO stage 3 (with stage 2, the bfloat16 weights are not); the reference
    model's weights; for each token of a micro batch the input of every layer, the activations of one layer
    (34 bytes per hidden unit; Korthikanti et al. 2022, section 4), and float32 logits with their gradient.
    Rolling out: the weights, in the engine's share of the memory. This is a formula, not a measurement.
    """
    size, count = preset.size, preset.actor_gpus
    weights = 2 * size.parameters
    offloaded = 12 if preset.flags.get("ds.adam_offload") else 0
    if preset.number("ds.zero_stage") >= 3:
        states = ((16 - offloaded) * size.parameters + weights) / count
    else:
        states = 2 * weights + (14 - offloaded) * size.parameters / count
    tokens = preset.number("train.micro_batch_size") * preset.number("data.max_len")
    activations = tokens * size.hidden_size * (2 * size.layers + 34) + tokens * size.vocabulary * 8
    engine = (
        weights / preset.number("vllm.tensor_parallel_size") / preset.number("vllm.gpu_memory_utilization")
    )
    return float(max(states + activations, engine) / _GIB)


def _flattened(tables: Any) -> Any:
    return dict(_flat(tables)) if isinstance(tables, Mapping) else tables


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _overrides(given: Sequence[str]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for flag in given:
        name, equals, text = flag.partition("=")
        if not equals or not name.strip("-"):
            raise InvalidPreset(f"{flag!r} is not a flag: use NAME=VALUE, for example actor.adam.lr=2e-6")
        values = [_value(word) for word in shlex.split(text)]
        named[name.lstrip("-")] = values[0] if len(values) == 1 else values
    return named


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word
