"""Reads exports as `pr2 profile import` does."""

from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from index.documents import Document, iso
from index.errors import InvalidDocument
from index.formats import FORMATS, Options, Skipped, opened_members, read, recognize

BERLIN = ZoneInfo("Europe/Berlin")


@dataclass
class Import:
    """All that an import of one path gives."""

    formats: list[str] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    faults: list[InvalidDocument] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [document.text for document in self.documents]

    @property
    def times(self) -> list[str | None]:
        return [iso(at) if (at := document.created_at) else None for document in self.documents]

    @property
    def errors(self) -> list[str]:
        return [str(fault) for fault in self.faults]


def imported(
    path: Path,
    *,
    user: str = "ana",
    form: str | None = None,
    zone: ZoneInfo | None = BERLIN,
    day_first: bool | None = None,
) -> Import:
    """Recognize and read the path, counting everything."""
    found = Import()
    with opened_members(path) as members:
        recognition = recognize(members, FORMATS, form)
        found.formats = [claim.form.name for claim in recognition.claims]
        found.left_out = [(skipped.reason, skipped.where) for skipped in recognition.left_out]
        for _, source in read(recognition, members, Options(user, zone=zone, day_first=day_first)):
            for item in source.documents:
                match item:
                    case Document():
                        found.documents.append(item)
                    case Skipped():
                        found.skipped.append(item.reason)
                    case InvalidDocument():
                        found.faults.append(item)
    return found
