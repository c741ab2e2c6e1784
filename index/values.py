"""Plain values of a profile and the rule for names.

Free of pydantic, NumPy and the database, so that the HTTP client imports quickly.
"""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypedDict, TypeVar

from index.errors import InvalidDocument, InvalidName

if TYPE_CHECKING:
    from index.documents import Document

NAME_BYTES = 256
NAME_RULE = (
    f"1 to {NAME_BYTES} bytes of UTF-8, without control characters or white space at the ends; "
    "not '.' or '..'"
)
NAME_SCHEMA = {"type": "string", "minLength": 1, "maxLength": NAME_BYTES, "pattern": r"^\S(.*\S)?$"}
"""The part of the rule that JSON Schema can state, in a pattern that every dialect of it compiles."""

REPORTED = 100
"""Most documents that a report names of each kind; the others are counted."""

T = TypeVar("T")

Progress = Callable[[int], None]
"""Called with the number of documents done since the last call."""
PutItems = Iterable["Document | InvalidDocument"]
"""Documents as a reader gives them: one that does not parse is an error value in its place."""


def check_name(name: str) -> str:
    """`name`, if it can be a user or document id. Raises InvalidName, which states the rule.

    The rule is what survives a percent-encoded URL and every database unchanged. Slashes, spaces inside,
    dots, colons and emoji are all fine.
    """
    if (
        not name
        or name != name.strip()
        or name in {".", ".."}
        or any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)
        or len(name.encode()) > NAME_BYTES
    ):
        shown = name if len(name) <= 60 else name[:60] + "…"
        raise InvalidName(f"{shown!r} cannot be an id: an id is {NAME_RULE}")
    return name


@dataclass(frozen=True)
class Passage:
    """A document, or a part of a long one, as a search found it. `rank` counts from 1."""

    document_id: str
    text: str
    """Verbatim: the document's characters from `start` on."""
    start: int = 0
    created_at: str | None = None
    title: str | None = None
    source: str | None = None
    rank: int = 0
    score: float = 0.0
    copies: int = 1
    """Passages of the profile with this text or nearly this text, of which this one stands for all."""
    unreranked: bool = False
    """Whether the order is the retriever's because the reranker failed or was late."""

    @property
    def key(self) -> tuple[str, int]:
        """Identifies the passage among those of one user."""
        return (self.document_id, self.start)


@dataclass(frozen=True)
class Notice:
    """Days of a search that nothing in a history is dated (`empty`), or that no calendar has (`impossible`).

    The days of an empty one are those from `after` up to the one before `before`; None stands for an open
    end. Of an `impossible` one, `said` are the question's own words.
    """

    kind: Literal["empty", "impossible"]
    after: date | None = None
    before: date | None = None
    said: str = ""

    @property
    def last(self) -> date | None:
        """The last of the days; None for an open end."""
        return self.before - timedelta(1) if self.before else None


@dataclass(frozen=True)
class Period:
    """Limits of a search in time, as a caller states them.

    Days are local: that of a document is the day where it was written.
    """

    after: date | None = None
    """The first day. Documents without a date are left out."""
    before: date | None = None
    """The day behind the last one. Documents without a date are left out."""
    last: str | None = None
    """Length of the period up to today, like 30d, 2w, 6m or 1y, instead of `after`."""
    as_of: date | None = None
    """Day to search on instead of today: documents later than it are not seen."""
    time_zone: str | None = None
    """IANA name of the person's time zone, like Europe/Berlin, which says what day it is."""

    def to_dict(self) -> dict[str, str]:
        """Convert to JSON values, without fields that are None."""
        return {name: str(value) for name, value in vars(self).items() if value is not None}


ANY_TIME = Period()


class PutOptions(TypedDict, total=False):
    """Options of a put."""

    on_error: str
    """`fail`, the default: an invalid document raises and nothing is stored. `skip`: it is reported."""
    replace: bool
    """True, the default: a document whose id is stored is replaced. False: WouldReplace is raised instead,
    unless nothing would change."""
    progress: Progress | None


@dataclass
class Tally(Generic[T]):
    """Counts items and keeps the first REPORTED, so that a report of any upload is short."""

    count: int = 0
    first: list[T] = field(default_factory=list)

    def add(self, item: T) -> None:
        self.count += 1
        if len(self.first) < REPORTED:
            self.first.append(item)

    def extend(self, other: "Tally[T]") -> None:
        """Add another tally; its items follow."""
        self.count += other.count
        self.first += other.first[: REPORTED - len(self.first)]


@dataclass
class Changes:
    """Ids of the documents of a put, by what it changed."""

    added: Tally[str] = field(default_factory=Tally)
    unchanged: Tally[str] = field(default_factory=Tally)
    replaced: Tally[str] = field(default_factory=Tally)


@dataclass(frozen=True)
class PutReport:
    """Result of a put. It names the first REPORTED documents of each kind, and counts all."""

    put: int
    """Distinct documents that are now stored."""
    duplicates: list[str] = field(default_factory=list)
    """Ids that came more than once; the last one counts."""
    skipped: list[InvalidDocument] = field(default_factory=list)
    """Only with `on_error="skip"`: what was left out, with its line."""
    duplicate_count: int = 0
    skipped_count: int = 0
    changes: Changes = field(default_factory=Changes)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        return {
            "put": self.put,
            "added": vars(self.changes.added),
            "unchanged": vars(self.changes.unchanged),
            "replaced": vars(self.changes.replaced),
            "duplicates": self.duplicates,
            "duplicate_count": self.duplicate_count,
            "skipped": [{"line": fault.line, "error": str(fault)} for fault in self.skipped],
            "skipped_count": self.skipped_count,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `to_dict` made. Raises KeyError or TypeError."""
        skipped = [InvalidDocument(item["error"], item["line"]) for item in data["skipped"]]
        changes = {name: Tally(**data[name]) for name in ("added", "unchanged", "replaced") if name in data}
        return cls(
            put=data["put"],
            duplicates=list(data["duplicates"]),
            skipped=skipped,
            duplicate_count=data.get("duplicate_count", len(data["duplicates"])),
            skipped_count=data.get("skipped_count", len(skipped)),
            changes=Changes(**changes),
        )


@dataclass(frozen=True)
class Receipt:
    """Proof of an erasure: what was deleted, when, and where text of the user may remain."""

    id: str
    user: str
    erased_at: str
    documents: int
    passages: int
    """Passages, each of which had a vector."""
    answers: int
    scrubbed: bool
    """Whether the erased text is off the disk. If not, a reader of SQLite still holds an older state, and the
    text goes with the first write after that reader is done. Never on PostgreSQL, which keeps it until VACUUM
    FULL."""
    space_vectors: int = 0
    """Vectors of the passages in further spaces."""
    cached: bool = False
    """Whether an index in memory was dropped, too."""
    remains: tuple[str, ...] = ()
    """Places that the erasure could not reach, which may hold text of the user, each with what to do."""
