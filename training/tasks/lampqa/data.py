"""LaMP-QA's questions in files, each validated before it is used.

A record that does not fit the published schema, or whose profile cannot be stored, is an error that names
file, record and field. Files are streamed: however long one is, only its ids are kept in memory.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from index.documents import Text, faults, not_blank, number_as_text
from index.errors import InvalidDocument
from training.evaluation.profiles import documents_of
from training.tasks.errors import DataError, DatasetUnavailable, InvalidRecord, Skip
from training.tasks.stream import read_json

CATEGORIES = ("Art_and_Entertainment", "Lifestyle_and_Personal_Development", "Society_and_Culture")
SPLITS = ("train", "validation", "test")

_OTHER_THAN_LETTERS = re.compile(r"[^a-z]+")

_Words = Annotated[Text, AfterValidator(not_blank)]
_Id = Annotated[Text, BeforeValidator(number_as_text), AfterValidator(not_blank)]
"""Whole numbers are converted to their digits, like document ids."""


class UnknownCategory(DataError, ValueError):
    """LaMP-QA has no category or split of this name."""


class Aspect(BaseModel):
    """One thing that the person expects of an answer, with the part of the narrative that shows it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    aspect: _Words
    reason: Text
    evidence: Text


class Item(BaseModel):
    """One earlier post by the person."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: _Id
    text: Text
    category: Text = ""


class Question(BaseModel):
    """One question, with the asker's history. Narrative and rubric are for the judge only."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: _Id
    question: Annotated[_Words, AfterValidator(str.strip)]
    """Stripped of surrounding white space, as the service asks it."""
    category: Text
    narrative: Text
    rubric_aspects: Annotated[tuple[Aspect, ...], Field(min_length=1)]
    profile: tuple[Item, ...]


def category_named(text: str) -> str:
    """Resolve a category's name, or a prefix of one, in any case.

    Raises UnknownCategory, whose message suggests the right names.
    """
    return _named(text, CATEGORIES, "category")


def split_named(text: str) -> str:
    """Resolve a split's name, like `category_named`. Raises UnknownCategory."""
    return _named(text, SPLITS, "split")


def read(
    path: Path | str,
    *,
    category: str | None = None,
    allow_empty_profile: bool = False,
    skip: Skip | None = None,
) -> Iterator[Question]:
    """Yield the questions of a JSONL file, or of a file with one JSON array, in their order.

    The first character tells the formats apart. `category` replaces the records' own, for a file that is
    one of LaMP-QA's parts (see `from_hub`). Raises DatasetUnavailable if the file cannot be read or holds
    no question, and InvalidRecord, after all questions before the invalid record have been yielded. With
    `skip`, which is called with the error, an invalid record is left out instead.
    """
    yield from read_files((Path(path),), category, allow_empty_profile, skip)


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


def read_files(
    files: Iterable[Path], category: str | None, allow_empty_profile: bool, skip: Skip | None
) -> Iterator[Question]:
    seen: dict[str, tuple[str, int]] = {}
    for file in files:
        name = str(file)
        for number, data in read_json(file):
            try:
                question = _checked(name, number, data, category, allow_empty_profile)
            except InvalidRecord as fault:
                if skip is None:
                    raise
                skip(fault)
                continue
            if (first := seen.setdefault(question.id, (name, number))) != (name, number):
                taken = InvalidRecord(
                    name, number, "id", f"{question.id!r} is taken by record {first[1]}"
                    + (f" of {first[0]}" if first[0] != name else "")
                )  # fmt: skip
                if skip is None:
                    raise taken
                skip(taken)
                continue
            yield question
    if not seen:
        raise DatasetUnavailable(f"{', '.join(map(str, files))}: holds no question")


def _checked(name: str, number: int, data: Any, category: str | None, allow_empty_profile: bool) -> Question:
    question = _parsed(name, number, data, category)
    if not question.profile and not allow_empty_profile:
        raise InvalidRecord(name, number, "profile", "must not be empty")
    _check_item_ids(name, number, question)
    try:
        documents_of(question.profile)
    except InvalidDocument as error:
        raise InvalidRecord(name, number, f"profile.{error.line}", str(error)) from None
    return question


def _parsed(name: str, number: int, data: Any, category: str | None) -> Question:
    if not isinstance(data, dict):
        raise InvalidRecord(name, number, "", f"a record is a JSON object, not {type(data).__name__}")
    try:
        question = Question.model_validate(data)
    except ValidationError as error:
        (field, why), *others = faults(error)
        more = f" (and {len(others)} more faults)" if others else ""
        raise InvalidRecord(name, number, field, why[:1].lower() + why[1:] + more) from None
    return question if category is None else question.model_copy(update={"category": category})


def _check_item_ids(name: str, number: int, question: Question) -> None:
    """Ids are unique among texts: two texts with one id could not both be stored."""
    texts: dict[str, str] = {}
    for position, item in enumerate(question.profile):
        if texts.setdefault(item.id, item.text) != item.text:
            why = f"{item.id!r} is the id of another text of this profile"
            raise InvalidRecord(name, number, f"profile.{position}.id", why)
