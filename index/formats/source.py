"""The values of an import: options, what a format yields, and the documents that it holds for each user."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from index.dates import Order, Style
from index.documents import Document
from index.errors import InvalidDocument

if TYPE_CHECKING:
    from index.formats.members import Member

Documents = Iterator[Document | InvalidDocument]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Skipped:
    """Something that is left out on purpose, such as a photo; equal reasons are counted together."""

    reason: str
    where: str = ""


Items = Iterator[Document | InvalidDocument | Skipped]


@dataclass(frozen=True)
class Options:
    """Facts that a file does not state itself."""

    user: str
    """Owner of the documents. A format with several people per file may use this to choose among them."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column name for each field of a document, for formats with columns."""
    zone: tzinfo | None = None
    """Time zone of times without an offset. None is the zone of this machine."""
    day_first: bool | None = None
    """Order of ambiguous dates like 03/04/2024. None: settled from the file, which is refused if it cannot
    be."""

    @property
    def dates(self) -> Style:
        """How `read_date` reads the dates of the files."""
        order: dict[bool | None, Order | None] = {None: None, True: "day-first", False: "month-first"}
        return Style(order[self.day_first], zone=self.zone)

    def local(self, moment: datetime) -> datetime:
        """Give a time without an offset the one that it had in the zone. Raises ValueError out of range."""
        try:
            return moment.astimezone() if self.zone is None else moment.replace(tzinfo=self.zone)
        except OverflowError:
            raise ValueError(f"{moment} is outside the years that a time zone can express") from None

    def since_1970(self, count: float, unit: int = 1) -> datetime:
        """Return the instant `count / unit` seconds after 1970, in the zone. Raises ValueError out of
        range."""
        try:
            # In whole microseconds: a float of seconds would lose some.
            moment = _EPOCH + timedelta(microseconds=round(count * 1_000_000 / unit))
            return moment.astimezone(self.zone)
        except OverflowError:
            raise ValueError(f"{count} is outside the years that a date can have") from None


@dataclass(frozen=True)
class Source:
    """Documents to store for one user. `total` is their number or an upper bound, None if unknown."""

    user: str
    documents: Iterable[Document | InvalidDocument | Skipped]
    total: int | None = None


Sources = Callable[[Sequence["Member"], Options], list[Source]]


@dataclass(frozen=True)
class Format:
    """A file format: its name on the command line, how it is recognized, and its reader."""

    name: str
    title: str
    """As messages call it, like "WhatsApp chat"."""
    sources: Sources
    """Raises InvalidDocument if the files as a whole cannot be read."""
    recognizes: Callable[["Beginning"], bool] = lambda beginning: False
    """Whether a file is in this format, by its content."""
    suffix: str = ""
    """Suffix by which a single file is taken for this format when no content was recognized."""
    first: str = ""
    """First character, other than white space, by which the same is done."""
    copies: tuple[str, ...] = ()
    """Names of files that the app writes beside its own, with the same content in another form."""
    takes_columns: bool = False
    exported: bool = True
    """Whether an app wrote the file. Its broken items are then reported and left out; people can mend their
    own files, so of those nothing is stored by default."""


@dataclass(frozen=True)
class Beginning:
    """The first bytes of a file, by which its format is recognized."""

    name: str
    """Path below the folder or in the archive."""
    data: bytes
    size: int

    @property
    def suffix(self) -> str:
        """The name's last suffix in lower case, with the dot."""
        file = self.name.rpartition("/")[2]
        return file[file.rindex(".") :].lower() if "." in file[1:] else ""

    @property
    def text(self) -> str:
        """The bytes as text, in UTF-16 if they begin with its mark. Characters that are cut off are
        replaced."""
        if self.data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return self.data.decode("utf-16", "replace")
        return self.data.decode("utf-8-sig", "replace")

    def has_keys(self, *keys: str) -> bool:
        """Whether the text is JSON that has all of these keys, at any depth."""
        text = self.text
        return text.lstrip()[:1] in ("{", "[") and all(
            f'"{key}":' in text or f'"{key}" :' in text for key in keys
        )
