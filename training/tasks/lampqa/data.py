"""LaMP-QA's questions, from local files or the Hub, each validated before it is used.

A record that does not fit the published schema is an error that names file, record and field. Files are read
as a stream: however long one is, only its ids are kept.
"""

import difflib
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from index.documents import Text, faults, not_blank, number_as_text
from training.errors import TrainingError

REPOSITORY = "alireza7/LaMP-QA"
CATEGORIES = ("Art_and_Entertainment", "Lifestyle_and_Personal_Development", "Society_and_Culture")
SPLITS = ("train", "validation", "test")

_SPLIT_WORDS = {"train": {"train"}, "validation": {"validation", "valid", "val", "dev"}, "test": {"test"}}
_SUFFIXES = {".json", ".jsonl", ".ndjson"}
_CHUNK_CHARACTERS = 2**20
_LITERAL = 16
"""Characters, more than any JSON value has that is no string, array or object and means something."""
_NAMED = 12
_SPACE = re.compile(r"\s*")
_OTHER_THAN_LETTERS = re.compile(r"[^a-z]+")
_DECODER = json.JSONDecoder()


class DataError(TrainingError):
    """Anything that is wrong with a data set."""


class UnknownCategory(DataError, ValueError):
    """LaMP-QA has no category, or no split, of this name."""


class DatasetUnavailable(DataError):
    """The data set cannot be read from where it should be."""


class InvalidRecord(DataError, ValueError):
    """A record does not fit the schema. Records count from 1; in JSONL the number is that of the line.

    `field` is a path like `rubric_aspects.0.evidence`, or '' where the record as a whole is wrong.
    """

    def __init__(self, file: str, record: int, field: str, why: str) -> None:
        super().__init__(f"{file}, record {record}{f', {field}' if field else ''}: {why}")
        self.file = file
        self.record = record
        self.field = field
        self.why = why


Skip = Callable[[InvalidRecord], None]


_Words = Annotated[Text, AfterValidator(not_blank)]
_Id = Annotated[Text, BeforeValidator(number_as_text), AfterValidator(not_blank)]
"""Whole numbers are taken as their digits, as document ids are."""


class Aspect(BaseModel):
    """One thing that the person expects of an answer, with the part of the narrative that shows it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    aspect: _Words
    reason: Text
    evidence: Text


class Item(BaseModel):
    """One earlier post of the person's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: _Id
    text: Text
    category: Text = ""


class Question(BaseModel):
    """One question, with the history of whoever asks it. Narrative and rubric are for the judge only."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: _Id
    question: Annotated[_Words, AfterValidator(str.strip)]
    """Without white space around it, as the service asks it."""
    category: Text
    narrative: Text
    rubric_aspects: Annotated[tuple[Aspect, ...], Field(min_length=1)]
    profile: tuple[Item, ...]


def category_named(text: str) -> str:
    """The category that `text` names: its name, or a beginning of one, in any case.

    Raises UnknownCategory, whose message offers the right ones.
    """
    return _named(text, CATEGORIES, "category")


def split_named(text: str) -> str:
    """The split that `text` names, as for categories. Raises UnknownCategory."""
    return _named(text, SPLITS, "split")


def read(
    path: Path | str,
    *,
    category: str | None = None,
    allow_empty_profile: bool = False,
    skip: Skip | None = None,
) -> Iterator[Question]:
    """The questions of a JSONL file, or of a file that holds one JSON array, in their order.

    Which of them it is, its first character shows. `category` replaces the records' own, where a file is
    one of LaMP-QA's parts (see `from_hub`). Raises InvalidRecord, and DatasetUnavailable for a file that
    cannot be read or holds no question; what comes before a fault has been yielded by then. With `skip`,
    which is told of it, a record that does not fit is left out instead.
    """
    yield from _read((Path(path),), category, allow_empty_profile, skip)


class Hub(Protocol):
    """Where published files come from. Both raise DatasetUnavailable."""

    def files(self) -> Sequence[str]:
        """The paths of all files of the data set's repository."""
        ...

    def fetch(self, file: str) -> Path:
        """A local copy of one of them."""
        ...


def from_hub(
    category: str,
    split: str,
    hub: Hub | None = None,
    *,
    allow_empty_profile: bool = False,
    skip: Skip | None = None,
) -> Iterator[Question]:
    """The published questions of a category and split (`train`, `validation`, `test`).

    What is known of the repository: its configurations are named as CATEGORIES, its splits as SPLITS, and
    it holds JSON. How the files are laid out there could not be seen when this was written. Assumed is that
    a file's path names its category and its split (`…/Art_and_Entertainment/test.json`,
    `art_and_entertainment_test.jsonl`, several parts of one split), whatever the order and the punctuation;
    where none does, the error lists what there is.

    Nor is it known what the records' own `category` holds. LaMP-QA averages over its three categories, so
    each question here gets the name of the one that was asked for.

    Raises UnknownCategory, InvalidRecord, and DatasetUnavailable, which says how to do without a network.
    """
    category, split = category_named(category), split_named(split)
    hub = hub or HuggingFaceHub()
    found = hub.files()
    files = sorted(file for file in found if _belongs(file, category, split))
    if not files:
        listed = ", ".join(sorted(found)[:_NAMED]) + (", …" if len(found) > _NAMED else "")
        raise DatasetUnavailable(
            f"{REPOSITORY} holds no JSON file whose path names {category} and {split}; it holds: "
            f"{listed or 'nothing'}. {_LOCAL}"
        )
    yield from _read([hub.fetch(file) for file in files], category, allow_empty_profile, skip)


@dataclass(frozen=True)
class HuggingFaceHub:
    """The data set on the Hugging Face Hub, or what its cache holds of it when the Hub is out of reach."""

    revision: str | None = None
    """A commit, tag or branch; without one, the newest."""

    def files(self) -> Sequence[str]:
        """See Hub."""
        import huggingface_hub

        more = {"repo_type": "dataset", "revision": self.revision}
        try:
            return list(huggingface_hub.list_repo_files(REPOSITORY, **more))
        except Exception as error:
            try:
                folder = Path(huggingface_hub.snapshot_download(REPOSITORY, local_files_only=True, **more))
            except Exception:
                raise _unreachable(error) from None
            return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]

    def fetch(self, file: str) -> Path:
        """See Hub."""
        import huggingface_hub

        try:
            return Path(
                huggingface_hub.hf_hub_download(REPOSITORY, file, repo_type="dataset", revision=self.revision)
            )
        except Exception as error:
            raise _unreachable(error) from None


def dataset_hash(questions: Iterable[Question]) -> str:
    """sha256, in hex, of the questions in their order; fields beyond the schema do not count."""
    digest = hashlib.sha256()
    for question in questions:
        content = json.dumps(question.model_dump(), sort_keys=True, separators=(",", ":"))
        digest.update(content.encode() + b"\n")
    return digest.hexdigest()


_LOCAL = (
    "To do without the Hub, download the data set elsewhere (https://huggingface.co/datasets/"
    f"{REPOSITORY}) and name its JSON or JSONL file as the data set, as in --dataset "
    f"{CATEGORIES[0]}_test.json."
)


def _unreachable(error: Exception) -> DatasetUnavailable:
    # Whatever was raised: the client passes on errors of several HTTP libraries. They can be long.
    said = " ".join(str(error).split())[:200]
    return DatasetUnavailable(
        f"{REPOSITORY} cannot be had from the Hub ({type(error).__name__}: {said}). {_LOCAL}"
    )


def _named(text: str, names: Sequence[str], what: str) -> str:
    wanted = _letters(text)
    short = {_letters(name): name for name in names}
    begun = [name for letters, name in short.items() if wanted and letters.startswith(wanted)]
    if len(begun) == 1:
        return begun[0]
    # People may misspell the whole name as well as its beginning.
    likely = [
        name
        for letters, name in short.items()
        if difflib.get_close_matches(wanted, [letters, letters[: len(wanted)]], n=1, cutoff=0.7)
        or difflib.get_close_matches(wanted, _letters_of_words(name), n=1, cutoff=0.7)
    ]
    meant = f"did you mean {' or '.join(likely)}? " if likely else ""
    raise UnknownCategory(f"no {what} is called {text!r}; {meant}There are: {', '.join(names)}")


def _letters(text: str) -> str:
    return _OTHER_THAN_LETTERS.sub("", text.lower().replace("&", "and"))


def _letters_of_words(name: str) -> list[str]:
    return [word.lower() for word in name.split("_") if word != "and"]


def _belongs(file: str, category: str, split: str) -> bool:
    path = file.lower()
    if Path(path).suffix not in _SUFFIXES:
        return False
    before, named, after = _OTHER_THAN_LETTERS.sub("_", path).partition(category.lower())
    words = {*before.split("_"), *after.split("_")}
    return bool(named) and bool(words & _SPLIT_WORDS[split])


def _read(
    files: Iterable[Path], category: str | None, allow_empty_profile: bool, skip: Skip | None
) -> Iterator[Question]:
    seen: dict[str, tuple[str, int]] = {}
    for file in files:
        place = str(file)
        for number, data in _records(file):
            try:
                question = _checked(place, number, data, category, allow_empty_profile)
            except InvalidRecord as fault:
                if skip is None:
                    raise
                skip(fault)
                continue
            if (first := seen.setdefault(question.id, (place, number))) != (place, number):
                taken = InvalidRecord(
                    place, number, "id", f"{question.id!r} is taken by record {first[1]}"
                    + (f" of {first[0]}" if first[0] != place else "")
                )  # fmt: skip
                if skip is None:
                    raise taken
                skip(taken)
                continue
            yield question
    if not seen:
        raise DatasetUnavailable(f"{', '.join(map(str, files))}: holds no question")


def _checked(place: str, number: int, data: Any, category: str | None, allow_empty_profile: bool) -> Question:
    question = _parsed(place, number, data, category)
    if not question.profile and not allow_empty_profile:
        raise InvalidRecord(place, number, "profile", "must not be empty")
    _check_item_ids(place, number, question)
    return question


def _parsed(place: str, number: int, data: Any, category: str | None) -> Question:
    if not isinstance(data, dict):
        raise InvalidRecord(place, number, "", f"a record is a JSON object, not {type(data).__name__}")
    try:
        question = Question.model_validate(data)
    except ValidationError as error:
        (field, why), *others = faults(error)
        more = f" (and {len(others)} more faults)" if others else ""
        raise InvalidRecord(place, number, field, why[:1].lower() + why[1:] + more) from None
    return question if category is None else question.model_copy(update={"category": category})


def _check_item_ids(place: str, number: int, question: Question) -> None:
    """An id stands for one text: two texts under one id could not both be kept."""
    texts: dict[str, str] = {}
    for position, item in enumerate(question.profile):
        if texts.setdefault(item.id, item.text) != item.text:
            why = f"{item.id!r} is the id of another text of this profile"
            raise InvalidRecord(place, number, f"profile.{position}.id", why)


def _records(file: Path) -> Iterator[tuple[int, Any]]:
    """The records of a file, with their numbers. Raises InvalidRecord and DatasetUnavailable."""
    try:
        with file.open("rb") as content:
            start = content.read(3)
            content.seek(3 if start == b"\xef\xbb\xbf" else 0)
            begin = content.tell()
            # The first line may be all of a file that is one array, so it is not read as a line.
            while (character := content.read(1)).isspace():
                pass
            content.seek(begin)
            yield from (_elements if character == b"[" else _lines)(str(file), content)
    except OSError as error:
        raise DatasetUnavailable(f"{file}: cannot be read: {error.strerror or error}") from None


def _lines(place: str, content: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(content, 1):
        if line.strip():
            try:
                yield number, json.loads(line.decode())
            except (ValueError, RecursionError) as error:
                raise InvalidRecord(place, number, "", f"not JSON: {_why(error)}") from None


def _elements(place: str, content: IO[bytes], chunk: int = _CHUNK_CHARACTERS) -> Iterator[tuple[int, Any]]:
    """The elements of one JSON array, of which no more than a chunk, or two of them, are held at a time."""
    text = io.TextIOWrapper(content, encoding="utf-8", newline="")
    number = 1
    try:
        buffer, at = text.read(chunk), 0
        at = _past_space(buffer, 0) + 1  # the bracket that showed what it is
        while True:
            try:
                at = _past_space(buffer, at)
                if number == 1 and buffer[at : at + 1] == "]":
                    at, end = at + 1, "]"
                else:
                    element, after = _DECODER.raw_decode(buffer, at)
                    after = _past_space(buffer, after)
                    end = buffer[after : after + 1]
                    if end not in ("", ",", "]"):
                        raise InvalidRecord(place, number, "", "not JSON: expected ',' or ']' after it")
                    if not end:
                        raise json.JSONDecodeError("the array does not end", buffer, after)
                    yield number, element
                    number, at = number + 1, after + 1
            except json.JSONDecodeError as error:
                # Only what is wrong at the end of the buffer may be right with more text behind it; twice
                # as much each time, since it is decoded again from its beginning.
                cut = error.pos > len(buffer) - _LITERAL or error.msg.startswith("Unterminated")
                more = text.read(max(chunk, len(buffer) - at)) if cut else ""
                if not more:
                    raise
                buffer, at = buffer[at:] + more, 0
                continue
            if end == "]":
                if (buffer[at:] + text.read(chunk)).strip():
                    raise InvalidRecord(place, number, "", "something follows the end of the array")
                return
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidRecord):
            raise
        raise InvalidRecord(place, number, "", f"not JSON: {_why(error)}") from None
    finally:
        text.detach()


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _why(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return error.msg[:1].lower() + error.msg[1:]
        case UnicodeDecodeError():
            return "not UTF-8"
        case RecursionError():
            return "nested too deeply"
    return str(error)
