"""Questions of LaMP in files of the published schema, each validated before it is used.

A file of questions is a list of `{id, input, profile}`, and a file of outputs `{"task", "golds": [{id,
output}]}`. Questions are streamed: however long a file is, only outputs and ids are kept in memory.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from index.documents import Text, faults
from index.errors import InvalidDocument
from training.evaluation.profiles import documents_of
from training.tasks.errors import DatasetUnavailable, InvalidRecord, Skip
from training.tasks.lamp.inputs import InvalidInput, own_text, query_of
from training.tasks.lamp.schemas import HIGHEST, LOWEST, SCHEMAS, Date, Id, Item, day, name_of
from training.tasks.stream import read_json

E = TypeVar("E", bound=Item)


@dataclass(frozen=True)
class Entry:
    """One entry of a profile."""

    id: str
    text: str
    """The text that retrievers see; with the option `dates`, its date follows as ` date: <date>`."""
    fields: Mapping[str, str]
    """The published fields, by name."""
    date: str | None = None
    """As published."""

    @property
    def document(self) -> Mapping[str, Any]:
        """The fields of the document that is stored for it. The metadata are what prompts are made from."""
        dated = {"created_at": day(self.date)} if self.date else {}
        return {"id": self.id, "text": self.text, "metadata": dict(self.fields), **dated}


@dataclass(frozen=True)
class Question:
    """One input of a task, with the person's profile and the reference output."""

    id: str
    input: str
    profile: tuple[Entry, ...]
    output: str
    """The reference; empty if it is not published, as for the test splits."""
    category: str
    """The task's name, like LaMP_4."""
    blank: tuple[Entry, ...] = ()
    """The entries of the published profile without any text to search: they are never found."""
    user_id: str | None = None
    date: str | None = None
    """No published question has one. Entries of a later day are counted if it is given."""

    @property
    def question(self) -> str:
        """See training.evaluation.task.Question."""
        return self.input


class _Record(BaseModel, Generic[E]):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Id
    input: Text
    profile: tuple[E, ...]
    user_id: Id | None = None
    date: Date | None = None


class _Output(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Id
    output: Text


def read_questions(
    number: int,
    questions: Path,
    outputs: Path | None,
    *,
    dates: bool = False,
    skip: Skip | None = None,
) -> Iterator[Question]:
    """Yield the questions of a task in their order. Without `outputs`, references are empty.

    `dates` appends dates to the text that retrievers see. Raises DatasetUnavailable if a file cannot be read
    or holds no question, and InvalidRecord, also for a question without an output and for an output without
    a question. With `skip`, which is called with the error, invalid records are left out instead.
    """
    golds = None if outputs is None else read_outputs(outputs, number)
    seen: dict[str, int] = {}
    name = str(questions)
    for position, data in read_json(questions):
        try:
            question = parse_question(number, data, name, position, dates=dates)
            if (first := seen.setdefault(question.id, position)) != position:
                raise InvalidRecord(name, position, "id", f"{question.id!r} is taken by record {first}")
            if golds is not None:
                if question.id not in golds:
                    raise InvalidRecord(name, position, "id", f"{question.id!r} has no output in {outputs}")
                if why := _fault_of(number, golds[question.id]):
                    raise InvalidRecord(name, position, "output", f"{why} (in {outputs})")
        except InvalidRecord as error:
            if skip is None:
                raise
            skip(error)
            continue
        yield question if golds is None else _with_output(question, golds[question.id])
    if not seen:
        raise DatasetUnavailable(f"{questions}: holds no question")
    extra = [] if golds is None else sorted(golds.keys() - seen.keys())
    if extra and skip is None:
        raise DatasetUnavailable(f"{outputs}: {len(extra)} outputs have no question: {some(extra)}")


def parse_question(number: int, data: Any, file: str, position: int, *, dates: bool = False) -> Question:
    """Validate one published record; its output stays empty. Raises InvalidRecord."""
    if not isinstance(data, dict):
        why = f"a record is a JSON object, not {type(data).__name__}"
        raise InvalidRecord(file, position, "", why)
    schema = SCHEMAS[number]
    try:
        record = _Record[schema.item].model_validate(data)  # type: ignore[name-defined]
    except ValidationError as error:
        (field, why), *others = faults(error)
        more = f" (and {len(others)} more faults)" if others else ""
        raise InvalidRecord(file, position, field, why[:1].lower() + why[1:] + more) from None
    try:
        query_of(number, record.input)
    except InvalidInput as error:
        raise InvalidRecord(file, position, "input", str(error)) from None
    entries = [_entry(item, schema.searched, dates) for item in record.profile]
    found: dict[str, Entry] = {}
    for index, entry in enumerate(entries):
        if found.setdefault(entry.id, entry) != entry:
            why = f"{entry.id!r} is the id of another entry of this profile"
            raise InvalidRecord(file, position, f"profile.{index}.id", why)
    profile = tuple(entry for entry in entries if entry.text.strip())
    try:
        documents_of(profile)
    except InvalidDocument as error:
        raise InvalidRecord(file, position, "profile", str(error)) from None
    return Question(
        id=record.id,
        input=record.input,
        profile=profile,
        output="",
        category=name_of(number),
        blank=tuple(entry for entry in entries if not entry.text.strip()),
        user_id=record.user_id,
        date=record.date,
    )


def read_outputs(file: Path, number: int) -> dict[str, str]:
    """Read a file of outputs, whether references or predictions: `{id: output}`.

    Raises DatasetUnavailable if the file cannot be read or is of another task, and InvalidRecord; `golds` of
    the file count from 1.
    """
    try:
        data = json.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise DatasetUnavailable(f"{file}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise DatasetUnavailable(f"{file}: not JSON: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("golds"), list):
        raise DatasetUnavailable(f'{file}: must be {{"task": …, "golds": [{{"id": …, "output": …}}]}}')
    task = str(data.get("task")).replace("-", "_")
    if task != name_of(number):
        raise DatasetUnavailable(f"{file}: is of the task {task}, not {name_of(number)}")
    outputs: dict[str, str] = {}
    for position, gold in enumerate(data["golds"], 1):
        try:
            output = _Output.model_validate(gold)
        except ValidationError as error:
            field, why = next(iter(faults(error)))
            raise InvalidRecord(str(file), position, field, why[:1].lower() + why[1:]) from None
        if output.id in outputs:
            raise InvalidRecord(str(file), position, "id", f"{output.id!r} occurs twice")
        outputs[output.id] = output.output
    return outputs


def record_of(question: Question, profile: Sequence[Entry]) -> dict[str, Any]:
    """The question in the published schema, with these entries as its profile."""
    values: dict[str, Any] = {"id": question.id, "input": question.input}
    values["profile"] = [
        {"id": entry.id, **entry.fields} | ({"date": entry.date} if entry.date else {}) for entry in profile
    ]
    optional = {"user_id": question.user_id, "date": question.date}
    return values | {name: value for name, value in optional.items() if value is not None}


def leaks(number: int, question: Question) -> dict[str, Any]:
    """How the profile gives the answer away, as JSON values.

    `holds_output`: an entry has the reference as its title, or as its text where the text is the output
    (tasks 4 to 7; labels of 1 to 3 repeat anyway). `holds_input`: an entry is the very text that is asked
    about. `later_entries`: entries of a later day than the question's; None if it has no date.
    """
    schema = SCHEMAS[number]
    entries = (*question.profile, *question.blank)
    output = schema.label or schema.body
    asked = _plain(own_text(number, question.input))
    later = None
    if question.date:
        later = sum(entry.date is not None and day(entry.date) > day(question.date) for entry in entries)
    return {
        "holds_output": number >= 4
        and any(_plain(entry.fields[output]) == _plain(question.output) for entry in entries),
        "holds_input": bool(asked) and any(_plain(entry.fields[schema.body]) == asked for entry in entries),
        "later_entries": later,
    }


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _entry(item: Item, searched: Sequence[str], dates: bool) -> Entry:
    fields = item.model_dump(exclude={"id", "date"})
    text = " ".join(fields[name] for name in searched)
    if dates and item.date and text.strip():
        text += f" date: {item.date}"
    return Entry(item.id, text, fields, item.date)


def _fault_of(number: int, output: str) -> str | None:
    labels = SCHEMAS[number].labels
    if labels and output.strip() not in labels:
        return f"{output!r} is none of {', '.join(labels)}"
    if number == 3 and not _is_rating(output):
        return f"{output!r} is no rating from {LOWEST} to {HIGHEST}"
    return None if output.strip() else "must not be empty"


def _is_rating(output: str) -> bool:
    try:
        rating = float(output)
    except ValueError:
        return False
    return math.isfinite(rating) and LOWEST <= rating <= HIGHEST


def _with_output(question: Question, output: str) -> Question:
    return Question(**{**vars(question), "output": output})


def some(ids: Sequence[str], most: int = 5) -> str:
    """The first ids, for a message."""
    return ", ".join(ids[:most]) + (", …" if len(ids) > most else "")
