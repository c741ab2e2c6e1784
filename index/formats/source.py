"""The values that a file passes through on its way into profiles: file, format, sources."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from index.documents import Document
from index.errors import InvalidDocument

Documents = Iterator[Document | InvalidDocument]


@dataclass(frozen=True)
class File:
    """A text file that is about to be read for a user."""

    name: str
    user: str
    """Whose documents it holds. Formats with several people in a file may take it as a choice of them."""
    lines: Iterable[str]
    line_count: int | None = None
    """None for a stream that can be read only once."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Fields of a document and the names of their columns, for formats that take columns."""


@dataclass(frozen=True)
class Source:
    """The documents to store for one user. `total` is their number, or an upper bound, if known."""

    user: str
    documents: Iterable[Document | InvalidDocument]
    total: int | None = None


@dataclass(frozen=True)
class Format:
    """A file format: its name on the command line, how it is recognized, and its reader."""

    name: str
    sources: Callable[[File], list[Source]]
    """Raises InvalidDocument for a file that cannot be read at all."""
    suffix: str = ""
    """Ending of the file names that this format owns."""
    beginning: str = ""
    """First character, other than white space, of a file in this format."""
    takes_columns: bool = False
