"""Views of `pr2 profile show`: an overview of a profile, or one document whole."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from index.documents import Document, iso
from server.cli.printable import one_line, to_json
from server.cli.render import line

_ENDS = 3
"""Documents shown from each end of the profile."""
_SOURCES = 8
_SHORT = 100


@dataclass
class Overview:
    """Summary of a profile, built one document at a time; keeps only a few of them."""

    count: int = 0
    dates: list[str] = field(default_factory=list)
    """First and last day; empty until a document has a date."""
    sources: Counter[str] = field(default_factory=Counter)
    first: list[Document] = field(default_factory=list)
    last: deque[Document] = field(default_factory=lambda: deque(maxlen=_ENDS))

    def add(self, document: Document) -> None:
        self.count += 1
        if document.created_at:
            day = iso(document.created_at)[:10]
            self.dates = [min([*self.dates, day]), max([*self.dates, day])]
        self.sources[document.source or "(no source)"] += 1
        (self.first if len(self.first) < _ENDS else self.last).append(document)

    def view(self, user: str) -> RenderableType:
        named = [f"{one_line(name)} ({count})" for name, count in self.sources.most_common(_SOURCES)]
        if len(self.sources) > _SOURCES:
            named.append(f"and {len(self.sources) - _SOURCES} more")
        facts = [
            ("documents", str(self.count)),
            ("dates", " to ".join(self.dates) or "none"),
            ("sources", ", ".join(named) or "none"),
        ]
        table = _plain_table("id", "date", "source", "document")
        for document in self.first:
            table.add_row(*_cells(document))
        if self.count > len(self.first) + len(self.last):
            table.add_row("…")
        for document in self.last:
            table.add_row(*_cells(document))
        head = [line((one_line(user), "bold"))]
        return Group(*head, *(line((f"{name:<10}", "dim"), (value, "")) for name, value in facts), "", table)


def document_view(document: Document) -> RenderableType:
    """All fields and the whole text."""
    facts = [
        ("id", document.id),
        ("date", iso(document.created_at) if document.created_at else None),
        ("title", document.title),
        ("source", document.source),
        ("metadata", to_json(document.metadata) if document.metadata else None),
    ]
    shown = [line((f"{name:<9} ", "dim"), (one_line(value), "")) for name, value in facts if value]
    return Group(*shown, "", line((document.text, "")))


def listed(documents: Sequence[Document]) -> RenderableType:
    """One row for each document."""
    table = _plain_table("id", "date", "source", "document")
    for document in documents:
        table.add_row(*_cells(document))
    return table


def _plain_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "date")
    return table


def _cells(document: Document) -> list[Text]:
    title = f"{document.title}: " if document.title else ""
    return [
        line((one_line(document.id), "bold")),
        line((iso(document.created_at)[:10] if document.created_at else "", "cyan")),
        line((one_line(document.source or "", 40), "")),
        line((one_line(title + document.text, _SHORT), "")),
    ]
