"""Presets: OpenRLHF's settings for one model on one machine, as TOML files, and the memory they need."""

import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from index.documents import first_fault
from training.errors import TrainingError

_PRESETS = files("training.policy.presets")
_GIB = 2**30


class InvalidPreset(TrainingError, ValueError):
    """Preset is missing or invalid."""


class Size(BaseModel):
    """What a model's memory is estimated from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: int
    hidden_size: int
    layers: int
    vocabulary: int


class GPUs(BaseModel):
    """The machine that a preset is made for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    gib: int
    """Memory of each."""


class Preset(BaseModel):
    """A model, a machine, and OpenRLHF's flags for both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    size: Size
    gpus: GPUs
    flags: Annotated[dict[str, Any], BeforeValidator(lambda tables: _flattened(tables))]
    """By name, as `train.batch_size`; in a file they stand in tables."""

    def flag(self, name: str) -> Any:
        """The value of a flag. Raises InvalidPreset where it has none."""
        if self.flags.get(name) is None:
            raise InvalidPreset(f"the preset does not set {name}")
        return self.flags[name]

    @property
    def actor_gpus(self) -> int:
        """How many GPUs train."""
        return int(self.flag("actor.num_nodes") * self.flag("actor.num_gpus_per_node"))


def names() -> list[str]:
    """Of the presets that come with us."""
    return sorted(
        file.name.removesuffix(".toml") for file in _PRESETS.iterdir() if file.name.endswith(".toml")
    )


def load_preset(name: str) -> Preset:
    """The preset of that name, or the one in that TOML file. Raises InvalidPreset."""
    known = name in names()
    source = _PRESETS / f"{name}.toml" if known else Path(name)
    if not known and not Path(name).is_file():
        raise InvalidPreset(f"there is no preset {name!r}, and no such file; there are {', '.join(names())}")
    try:
        return Preset.model_validate(tomllib.loads(source.read_text("utf-8")))
    except ValidationError as error:
        raise InvalidPreset(f"{name}, {first_fault(error, 'file')}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidPreset(f"{name} is no TOML: {error}") from None


def changed(preset: Preset, given: Sequence[str]) -> Preset:
    """The preset with other flags: `NAME=VALUE`, several values apart. Raises InvalidPreset."""
    return preset.model_copy(update={"flags": preset.flags | _own(given)})


def gpus(preset: Preset) -> int:
    """How many GPUs these flags take. Raises InvalidPreset where they cannot be had together."""
    actor = preset.actor_gpus
    engines = preset.flag("vllm.num_engines") * preset.flag("vllm.tensor_parallel_size")
    is_async = bool(preset.flags.get("train.async_enable"))
    if not is_async and actor != engines:
        raise InvalidPreset(
            f"all share the GPUs, so the actor's {actor} have to be the engines' {engines} "
            "(actor.num_gpus_per_node, vllm.num_engines)"
        )
    return int(actor + engines if is_async else actor)


def memory_needed(preset: Preset) -> float:
    """About how many GiB each GPU needs at the most, while it trains or while it rolls out.

    Training: bfloat16 weights and gradients, and float32 weights and two moments of Adam, 16 bytes for each
    parameter, spread over the GPUs from ZeRO stage 3 on (below, of stage 2, the weights are not); the
    reference's weights; of every token in a micro batch the input of each layer, the activations of one (34
    bytes for each hidden unit; Korthikanti et al. 2022, section 4), and its logits and their gradient in
    float32.
    Rolling out: the weights in the engine's share of the memory. It is a formula, not a measurement.
    """
    size, count = preset.size, preset.actor_gpus
    weights = 2 * size.parameters
    offloaded = 12 if preset.flags.get("ds.adam_offload") else 0
    if preset.flag("ds.zero_stage") >= 3:
        states = ((16 - offloaded) * size.parameters + weights) / count
    else:
        states = 2 * weights + (14 - offloaded) * size.parameters / count
    tokens = preset.flag("train.micro_batch_size") * preset.flag("data.max_len")
    activations = tokens * size.hidden_size * (2 * size.layers + 34) + tokens * size.vocabulary * 8
    engine = weights / preset.flag("vllm.tensor_parallel_size") / preset.flag("vllm.gpu_memory_utilization")
    return float(max(states + activations, engine) / _GIB)


def _flattened(tables: Any) -> Any:
    return dict(_flat(tables)) if isinstance(tables, Mapping) else tables


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _own(given: Sequence[str]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for flag in given:
        name, equals, text = flag.partition("=")
        if not equals or not name.strip("-"):
            raise InvalidPreset(f"{flag!r} is no flag: give NAME=VALUE, like actor.adam.lr=2e-6")
        values = [_value(word) for word in shlex.split(text)]
        named[name.lstrip("-")] = values[0] if len(values) == 1 else values
    return named


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word
