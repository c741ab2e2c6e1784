"""Pairs of answers that a reward model learns from, and the responses that it scores.

A folder holds `manifest.json`, which says how the pairs were made, and `pairs.jsonl`, one line for each
question. A pair is one record with named sides, so that no order of lines can mix them up.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError

from index.documents import first_fault
from training.errors import TrainingError
from training.folder import replacing, write_json

MANIFEST, PAIRS = "manifest.json", "pairs.jsonl"


class InvalidPairs(TrainingError, ValueError):
    """A folder of pairs cannot be read; the message names the file and the line."""


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


Text = Annotated[str, AfterValidator(_not_empty)]


@dataclass(frozen=True)
class Pair:
    """The same LLM's answers to one question, with and without the user's retrieved profile."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    id: Text
    user: Text
    question: Text
    personalized: Text
    """The answer with the user's own profile."""
    plain: Text
    """The answer without a profile."""
    history: tuple[str, ...] = ()
    """The user's documents, oldest first."""
    other: Text | None = None
    """The answer with another person's profile in the same prompt; None if it was not asked for."""

    def to_line(self) -> str:
        """One line of `pairs.jsonl`, without its end."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class Response:
    """One answer to score."""

    question: str
    answer: str
    history: tuple[str, ...] = ()
    """The user's documents, oldest first. A model that reads no history ignores them."""


_PAIR: TypeAdapter[Pair] = TypeAdapter(Pair)


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Read how the pairs were made. Raises InvalidPairs."""
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidPairs(f"{file}: not a manifest of pairs ({error})") from None
    if not isinstance(manifest, dict):
        raise InvalidPairs(f"{file}: not a manifest of pairs")
    return manifest


def read_pairs(folder: Path) -> list[Pair]:
    """Read a folder's pairs, validating every record.

    Raises InvalidPairs, naming file and line: for a record that does not fit, for an empty side, for a
    question that comes twice, and for a last line that a killed process left incomplete.
    """
    file = folder / PAIRS
    pairs: dict[str, Pair] = {}
    try:
        lines = file.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise InvalidPairs(f"{file}: pairs cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            raise InvalidPairs(f"{file}:{number}: the last line is incomplete; finish the pairs first")
        try:
            pair = _PAIR.validate_json(line)
        except ValidationError as error:
            raise InvalidPairs(f"{file}:{number}: {first_fault(error, 'record')}") from None
        if pair.id in pairs:
            raise InvalidPairs(f"{file}:{number}: question {pair.id!r} comes twice")
        pairs[pair.id] = pair
    return list(pairs.values())


def write_pairs(folder: Path, manifest: Mapping[str, Any], pairs: Iterable[Pair]) -> None:
    """Write a whole folder. The manifest comes last, so that a folder that has one is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / PAIRS) as lines:
        lines.writelines(pair.to_line() + "\n" for pair in pairs)
    write_json(folder / MANIFEST, manifest)
