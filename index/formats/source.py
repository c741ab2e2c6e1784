"""The values of an import: a file, its format, and the documents that it holds for each user."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from index.documents import Document
from index.errors import InvalidDocument

Documents = Iterator[Document | InvalidDocument]


@dataclass(frozen=True)
class File:
    """A text file to read for a user."""

    name: str
    user: str
    """Owner of the documents. A format with several people per file may use this to choose among them."""
    lines: Iterable[str]
    line_count: int | None = None
    """None for a stream that can only be read once."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column name for each field of a document, for formats with columns."""


@dataclass(frozen=True)
class Source:
    """Documents to store for one user. `total` is their number or an upper bound, None if unknown."""

    user: str
    documents: Iterable[Document | InvalidDocument]
    total: int | None = None


@dataclass(frozen=True)
class Format:
    """A file format: its name on the command line, how it is recognized, and its reader."""

    name: str
    sources: Callable[[File], list[Source]]
    """Raises InvalidDocument if the file as a whole cannot be read."""
    suffix: str = ""
    """Suffix of file names that are always in this format."""
    beginning: str = ""
    """First character, other than white space, of a file in this format."""
    takes_columns: bool = False
