"""Describes LaMP's seven tasks: the fields of a profile's entries, markers, labels, and wording.

The published inputs are kept as they are. The wording that joins entries to an input is this project's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from index.dates import read_date
from index.documents import Text, not_blank, number_as_text

TAGS = (
    "sci-fi",
    "based on a book",
    "comedy",
    "action",
    "twist ending",
    "dystopia",
    "dark comedy",
    "classic",
    "psychology",
    "fantasy",
    "romance",
    "thought-provoking",
    "social commentary",
    "violence",
    "true story",
)
"""The labels of task 2."""
REFERENCES = ("[1]", "[2]")
"""The labels of task 1: the first and the second candidate."""
WRITTEN = (4, 5, 6, 7)
"""The tasks whose outputs are texts."""
LOWEST, HIGHEST = 1, 5
"""The ratings of task 3."""


@lru_cache(2**16)
def day(date: str) -> str:
    """The day that a published date names, as ISO 8601: a missing month or day is the first one.

    Dates are numbers separated by hyphens (2012, 2012-5, 2012-05-04); other forms of a full day are read as
    everywhere in this project. Raises ValueError.
    """
    parts = date.strip().split("-")
    if len(parts) <= 3 and all(part.isascii() and part.isdigit() for part in parts) and len(parts[0]) == 4:
        year, month, day_ = (*map(int, parts), 1, 1)[:3]
        return read_date(f"{year:04}-{month:02}-{day_:02}").date().isoformat()
    return read_date(date).date().isoformat()


def _readable(date: str) -> str:
    day(date)
    return date


Id = Annotated[Text, BeforeValidator(number_as_text), AfterValidator(not_blank)]
Date = Annotated[Text, BeforeValidator(number_as_text), AfterValidator(_readable)]
_Number = Annotated[Text, BeforeValidator(number_as_text)]


class Item(BaseModel):
    """One entry of a published profile."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Id
    date: Date | None = None


class Paper(Item):
    title: Text
    abstract: Text


class Movie(Item):
    description: Text
    tag: Text


class Review(Item):
    text: Text
    score: _Number


class Titled(Item):
    """A news article with its headline, or an email with its subject."""

    text: Text
    title: Text


class Tweet(Item):
    text: Text


@dataclass(frozen=True)
class Schema:
    """One task. Field names are those of `item`."""

    item: type[Item]
    searched: tuple[str, ...]
    """The fields that retrievers see, joined by a space."""
    body: str
    """The field that a prompt quotes, and may cut."""
    label: str | None
    """The field with the person's own output for `body`, which a prompt never cuts."""
    marker: str
    """The text after it is the input's own; the text before it is the same for all inputs."""
    before: str
    after: str
    """An entry in a prompt is `before`, the body, and `after` with `{}` for the label."""
    joint: str
    """The words between the entries and the input."""
    labels: tuple[str, ...] = ()
    """All valid outputs, for a classification."""


_PATTERN = "Follow these patterns. "

SCHEMAS: Mapping[int, Schema] = {
    1: Schema(Paper, ("title", "abstract"), "title", None, "[1]:", '"', '"', "", REFERENCES),
    2: Schema(
        Movie, ("description",), "description", "tag", "description:", 'the tag of "', '" is "{}"', ". ", TAGS
    ),
    3: Schema(Review, ("text",), "text", "score", "review:", 'the score of "', '" is {}', ". "),
    4: Schema(Titled, ("title", "text"), "text", "title", "article:", 'the title of "', '" is "{}"', ". "),
    5: Schema(
        Paper,
        ("title", "abstract"),
        "abstract",
        "title",
        "paper:",
        'the title of "',
        '" is "{}"',
        f". {_PATTERN}",
    ),
    6: Schema(Titled, ("text",), "text", "title", ":", 'the title of "', '" is "{}"', ". "),
    7: Schema(Tweet, ("text",), "text", None, ":", '"', '"', f" were written by one person. {_PATTERN}"),
}
"""The tasks by number."""


def name_of(number: int) -> str:
    """The task's name in published files, like LaMP_4."""
    return f"LaMP_{number}"


def number_of(name: str) -> int:
    """The inverse of `name_of`."""
    return next(number for number in SCHEMAS if name_of(number) == name)
