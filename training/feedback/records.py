"""Folders of feedback: for each question, its first documents and how useful each was to the LLM.

A folder holds `manifest.json`, which says how the feedback was made, and `feedback.jsonl`, a line a question.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from index.documents import first_fault
from training.errors import TrainingError
from training.folder import replacing, write_json

MANIFEST, FEEDBACK = "manifest.json", "feedback.jsonl"
TASK, ENCODER = "task", "encoder"
"""Keys that every manifest has: the task's name, and the manifest of the encoder that made the initial
ranking (null if no encoder made it)."""

_STRICT = ConfigDict(extra="forbid", strict=True)


class InvalidFeedback(TrainingError, ValueError):
    """A folder of feedback cannot be read; the message names the file and the line."""


@dataclass(frozen=True)
class Judged:
    """A document and its utility."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    id: str
    text: str
    utility: Annotated[float, Field(allow_inf_nan=False)] | None
    """The metric of the output that the LLM wrote with this document alone; the higher, the better. None if
    there is no feedback, because generation or judging failed: the document is masked, never taken as 0."""


@dataclass(frozen=True)
class Feedback:
    """A question's documents, in the order of the initial ranking: the first is the baseline d_b."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    id: str
    query: str
    documents: tuple[Judged, ...]
    user: str | None = None
    """The person who asked. Questions of one person are never split between training and validation; None
    stands for a person with this question alone."""

    def to_line(self) -> str:
        """One line of `feedback.jsonl`, without its end."""
        values = asdict(self)
        if self.user is None:
            del values["user"]
        return json.dumps(values, ensure_ascii=False)


_RECORD: TypeAdapter[Feedback] = TypeAdapter(Feedback)


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Read the manifest of a folder. Raises InvalidFeedback unless it names a task and an encoder."""
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidFeedback(f"{file}: not a manifest of feedback ({error})") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get(TASK), str) or ENCODER not in manifest:
        raise InvalidFeedback(f"{file}: not a manifest of feedback ({TASK!r} or {ENCODER!r} is missing)")
    if not isinstance(manifest[ENCODER], dict | None):
        raise InvalidFeedback(f"{file}: {ENCODER!r} has to be the manifest of an encoder, or null")
    return manifest


def read_feedback(folder: Path) -> list[Feedback]:
    """Read a folder's feedback, validating every record.

    Raises InvalidFeedback, naming file and line: for a record that does not fit, for a question or a document
    of a question that comes twice, and for a last line that a killed process left incomplete.
    """
    file = folder / FEEDBACK
    seen = set[str]()
    records = []
    for number, line in _lines(file):
        record = _parsed(line, f"{file}:{number}")
        if record.id in seen:
            raise InvalidFeedback(f"{file}:{number}: question {record.id!r} comes twice")
        seen.add(record.id)
        records.append(record)
    return records


def write_feedback(folder: Path, manifest: Mapping[str, Any], records: Iterable[Feedback]) -> None:
    """Write a whole folder. The manifest comes last, so that a folder that has one is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / FEEDBACK) as lines:
        lines.writelines(record.to_line() + "\n" for record in records)
    write_json(folder / MANIFEST, manifest)


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with file.open("rb") as lines:
            yield from enumerate(lines, 1)
    except OSError as error:
        raise InvalidFeedback(f"{file}: feedback cannot be read ({error.strerror})") from None


def _parsed(line: bytes, at: str) -> Feedback:
    if not line.endswith(b"\n"):
        raise InvalidFeedback(f"{at}: the last line is incomplete; finish the feedback first")
    try:
        record = _RECORD.validate_json(line)
    except ValidationError as error:
        raise InvalidFeedback(f"{at}: {first_fault(error, 'record')}") from None
    ids = [document.id for document in record.documents]
    if repeated := sorted({each for each in ids if ids.count(each) > 1}):
        raise InvalidFeedback(f"{at}: document {repeated[0]!r} comes twice")
    return record
