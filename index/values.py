"""Plain values of a profile and the rule for names.

Free of pydantic, NumPy and the database, so that the HTTP client imports quickly.
"""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from index.errors import InvalidDocument, InvalidName

if TYPE_CHECKING:
    from index.documents import Document

NAME_BYTES = 256
NAME_RULE = (
    f"1 to {NAME_BYTES} bytes of UTF-8, without '/', control characters, or white space at the ends; "
    "not '.' or '..'"
)

Progress = Callable[[int], None]
"""Called with the number of documents done since the last call."""
PutItems = Iterable["Document | InvalidDocument"]
"""Documents as a reader gives them: one that does not parse is an error value in its place."""


def check_name(name: str) -> str:
    """`name`, if it can be a user or document id. Raises InvalidName, which states the rule.

    The rule is what survives a URL path, a file name and every database unchanged. Spaces inside, dots,
    colons and emoji are all fine.
    """
    if (
        not name
        or name != name.strip()
        or name in {".", ".."}
        or "/" in name
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

    @property
    def key(self) -> tuple[str, int]:
        """Identifies the passage among those of one user."""
        return (self.document_id, self.start)


class PutOptions(TypedDict, total=False):
    """Options of a put."""

    on_error: str
    """`fail`, the default: an invalid document raises and nothing is stored. `skip`: it is reported."""
    progress: Progress | None


@dataclass(frozen=True)
class PutReport:
    """Result of a put."""

    put: int
    """Distinct documents that are now stored."""
    duplicates: list[str] = field(default_factory=list)
    """Ids that came more than once; the last one counts."""
    skipped: list[InvalidDocument] = field(default_factory=list)
    """Only with `on_error="skip"`: what was left out, with its line."""


@dataclass(frozen=True)
class Receipt:
    """Proof of an erasure: what was deleted, and when."""

    id: str
    user: str
    erased_at: str
    documents: int
    passages: int
    answers: int
    scrubbed: bool
    """Whether the erased text is off the disk. If not, a reader still holds an older state, and the text
    goes when that reader is done."""
