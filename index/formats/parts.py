"""Makes documents of the text of one file: one or, of a long text, one for each heading or page."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from index.dates import Style, date_if_read
from index.documents import LABEL_CHARACTERS
from index.formats.chats import identity
from index.formats.items import parsed
from index.formats.source import Items

LONG = 4_000
"""Characters from which on a text is split."""
_HEADING = re.compile(r"(#{1,6})\s+(\S.{0,999})")
_DAY = re.compile(r"(?<!\d)(\d{4})([-_.]?)(\d\d)\2(\d\d)(?!\d)")
_MINUTE = re.compile(r"(\d{12}|\d{14})(?!\d)")
"""The beginning of a name in a slip box: 202403051015."""
_FENCE = re.compile(r"\s{0,3}(?:```|~~~)")

Part = tuple[tuple[str, ...], str]
"""The headings above a part, and its text."""


def in_parts(
    kind: str,
    path: str,
    title: str,
    text: str,
    split: Callable[[str], Iterable[Part]],
    base: Mapping[str, Any],
    number: int = 1,
) -> Items:
    """Yield a document of the file at `path` or, of a long text, of each part, with the fields of `base`.

    Ids are made from the kind, the path and the headings, so that an edited file replaces itself.
    """
    parts = split(text) if len(text) > LONG else [((), text)]
    seen: dict[tuple[str, ...], int] = {}
    for index, (headings, part) in enumerate(parts):
        count = seen[headings] = seen.get(headings, 0) + 1
        # The first part has the identity of the whole file, which it replaces when the file grows long.
        place: tuple[str | int, ...] = (*headings, count) if index else ()
        label = " > ".join((title, *(heading for heading in headings if heading != title)))
        item = {
            "id": identity(kind, path, *place),
            "text": part,
            "title": label[:LABEL_CHARACTERS],
            "source": path[-LABEL_CHARACTERS:],
            **base,
        }
        yield parsed({key: value for key, value in item.items() if value}, number)


def date_of_name(stem: str, dates: Style) -> datetime | None:
    """Return the date that a file's name states, like 2024-03-05 or 202403051015; None if it states none."""
    if match := _MINUTE.match(stem):
        return date_if_read(match[1].ljust(14, "0"), dates)
    if match := _DAY.search(stem):
        return date_if_read(f"{match[1]}-{match[3]}-{match[4]}", dates)
    return date_if_read(stem, dates) if not stem.isdigit() else None


def sections(body: str) -> Iterator[Part]:
    """Yield the parts of a Markdown text, one for each heading. A heading without text goes with the next."""
    headings: list[tuple[int, str]] = []
    lines: list[str] = []
    fenced = False
    for line in body.splitlines():
        fenced ^= _FENCE.match(line) is not None
        match = None if fenced else _HEADING.fullmatch(line)
        if match is None:
            lines.append(line)
            continue
        if _has_text(lines):
            yield tuple(title for _, title in headings), "\n".join(lines).strip()
            lines = []
        level = len(match[1])
        headings = [(other, title) for other, title in headings if other < level] + [
            (level, match[2].strip(" #"))
        ]
        lines.append(line)
    if _has_text(lines) or lines:
        yield tuple(title for _, title in headings), "\n".join(lines).strip()


def _has_text(lines: list[str]) -> bool:
    return any(line.strip() and not _HEADING.fullmatch(line) for line in lines)
