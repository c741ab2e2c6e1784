"""Prepares a folder for the training of a selector: its examples, and their description."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from agent.selecting import RENDERING, Mode
from index.documents import all_faults
from training.folder import pin_configuration
from training.selector.data import Example, PoolData, write_examples
from training.selector.measures import best_single, pool_scores
from training.tasks.errors import DatasetUnavailable

TRAIN, VALIDATION, MANIFEST = "train.jsonl", "validation.jsonl", "examples.json"


class Purpose(BaseModel):
    """Describes a selector before it is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode
    members: tuple[str, ...]
    rendering: str
    best_single: str
    """The member with the highest mean score in validation."""
    runs: Mapping[str, JsonValue]
    """The configuration that the runs of the pool share."""
    sha256: Mapping[str, str]
    """Of the examples, by file."""


def prepare(
    folder: Path,
    mode: Mode,
    data: PoolData,
    train: Sequence[Example],
    validation: Sequence[Example],
    rendering: str = RENDERING,
) -> Purpose:
    """Write the examples to the folder, unless it was begun with others.

    Raises ChangedConfiguration, and DataError if no validation question has a score for every member.
    """
    parts = {TRAIN: train, VALIDATION: validation}
    purpose = Purpose(
        mode=mode,
        members=data.members,
        rendering=rendering,
        best_single=best_single(pool_scores(data.members, validation)),
        runs=data.common,
        sha256={name: _digest(examples) for name, examples in parts.items()},
    )
    pin_configuration(folder / MANIFEST, purpose.model_dump(mode="json"))
    for name, examples in parts.items():
        write_examples(folder / name, examples)
    return purpose


def read_purpose(folder: Path) -> Purpose:
    """Read the description that `prepare` wrote. Raises DatasetUnavailable."""
    file = folder / MANIFEST
    try:
        return Purpose.model_validate_json(file.read_bytes())
    except OSError:
        raise DatasetUnavailable(f"{folder} holds no examples: {MANIFEST} is missing") from None
    except ValidationError as error:
        raise DatasetUnavailable(f"{file} does not describe examples: {all_faults(error)}") from None


def _digest(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example.model_dump_json().encode() + b"\n")
    return digest.hexdigest()
