"""Reads archives of Google Takeout: My Activity (JSON or HTML) and the notes of Keep."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from index.dates import date_if_read
from index.documents import LABEL_CHARACTERS
from index.errors import InvalidDocument
from index.formats.chats import identity
from index.formats.html import Tag, parts
from index.formats.items import loaded, parsed
from index.formats.members import Member
from index.formats.objects import objects
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options, Skipped

PAGE_BYTES = 256 * 2**20
_NOTE_BYTES = 16 * 2**20
_ZONES = {
    "UTC": 0,
    "GMT": 0,
    "WET": 0,
    "WEST": 1,
    "CET": 1,
    "CEST": 2,
    "MEZ": 1,
    "MESZ": 2,
    "EET": 2,
    "EEST": 3,
    "MSK": 3,
    "JST": 9,
    "KST": 9,
    "AEST": 10,
    "AEDT": 11,
    "NZST": 12,
    "NZDT": 13,
    "EST": -5,
    "EDT": -4,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
}
"""Hours before UTC of the abbreviations that the pages use and that mean one zone."""


def _activity(item: Any, number: int) -> Any:
    """Return the document of one activity, such as a search or a video that was watched."""
    if not isinstance(item, dict) or not isinstance(item.get("title"), str):
        return InvalidDocument("an activity has a title", number)
    header, time = item.get("header"), item.get("time")
    product = header if isinstance(header, str) else "activity"
    further = [entry.get("name") for entry in item.get("subtitles") or () if isinstance(entry, dict)]
    return parsed(
        {
            "id": identity("activity", product, time if isinstance(time, str) else None, item["title"]),
            "text": "\n".join((item["title"], *(name for name in further if isinstance(name, str)))),
            "created_at": date_if_read(time),
            "source": f"Google/{product}"[:LABEL_CHARACTERS],
            "metadata": {"url": item["titleUrl"]} if isinstance(item.get("titleUrl"), str) else {},
        },
        number,
    )


def _read_activity(member: Member, options: Options) -> Items:
    with member.open() as stream:
        for number, (_, item) in enumerate(objects(stream, ("item",)), 1):
            yield _activity(item, number)


def _read_page(member: Member, options: Options) -> Items:
    if member.size > PAGE_BYTES:
        raise InvalidDocument(f"longer than {PAGE_BYTES // 2**20} MB: choose JSON when you export")
    with member.open() as stream:
        page = stream.read().decode("utf-8", "replace")
    for number, (product, lines, url) in enumerate(_cells(page), 1):
        *text, last = lines
        moment = _page_date(last)
        # A line that is not understood as a time stays in the text.
        words = "\n".join(text if moment else lines)
        yield parsed(
            {
                "id": identity("activity", product, last, words),
                "text": words,
                "created_at": moment,
                "source": f"Google/{product or 'activity'}"[:LABEL_CHARACTERS],
                "metadata": {"url": url} if url else {},
            },
            number,
        )


def _cells(page: str) -> Iterator[tuple[str, list[str], str]]:
    """Yield the product, the lines and the first link of each activity on a page."""
    product, heading, url = "", False, ""
    cell: list[str] | None = None
    for part in parts(page):
        if isinstance(part, str):
            if heading:
                product += part
            elif cell is not None:
                cell[-1] += part
        elif part.name == "p":
            heading = not part.closes and "typography--title" in part.text
            product = "" if heading else product
        elif part.name == "br" and cell is not None:
            cell.append("")
        elif part.name == "a" and cell is not None and not part.closes:
            url = url or _link(part)
        elif part.name == "div":
            lines = [words for line in cell or () if (words := " ".join(line.split()))]
            if lines:
                yield product.strip(), lines, url
            url = ""
            opens = not part.closes and "content-cell" in part.text and "body-1" in part.text
            cell = [""] if opens and "text-right" not in part.text else None


def _link(tag: Tag) -> str:
    return tag.text.partition('href="')[2].partition('"')[0][:LABEL_CHARACTERS]


def _page_date(line: str) -> datetime | None:
    """Read a time like "Mar 5, 2024, 10:15:20 AM CET". None in other languages and zones."""
    words, _, zone = line.rpartition(" ")
    if zone not in _ZONES:
        return None
    moment = date_if_read(words)
    return moment and moment.replace(tzinfo=timezone(timedelta(hours=_ZONES[zone])))


def _read_note(member: Member, options: Options) -> Items:
    if member.size > _NOTE_BYTES:
        raise InvalidDocument(f"longer than {_NOTE_BYTES // 2**20} MB")
    with member.open() as stream:
        note = loaded(stream.read())
    if not isinstance(note, dict):
        raise InvalidDocument("a note of Keep is a JSON object")
    title = note["title"] if isinstance(note.get("title"), str) else ""
    if note.get("isTrashed") is True:
        yield Skipped("a note in the trash", title or member.name)
        return
    entries = [entry for entry in note.get("listContent") or () if isinstance(entry, dict)]
    lines = [
        f"- {entry.get('text', '')}{' (done)' if entry.get('isChecked') is True else ''}" for entry in entries
    ]
    text = "\n".join(filter(None, (str(note.get("textContent") or ""), *lines))) or title
    if not text.strip():
        yield Skipped("an empty note", member.name)
        return
    created = note.get("createdTimestampUsec")
    moment = date_if_read(created or note.get("userEditedTimestampUsec"))
    labels = [
        label["name"] for label in note.get("labels") or () if isinstance(label, dict) and "name" in label
    ]
    data = {
        "id": identity("keep", created if isinstance(created, int) else member.name),
        "text": text,
        "created_at": moment and moment.astimezone(options.zone),
        "title": title[:LABEL_CHARACTERS],
        "source": "Google Keep",
        "metadata": {"labels": labels} if labels else {},
    }
    yield parsed({key: value for key, value in data.items() if value}, 1)


def _is_activity(beginning: Beginning) -> bool:
    return beginning.text.lstrip()[:1] == "[" and beginning.has_keys("header", "title", "time")


def _is_page(beginning: Beginning) -> bool:
    text = beginning.text
    return beginning.suffix in (".html", ".htm") and "mdl-grid" in text and "content-cell" in text


ACTIVITY = Format("google-activity", "Google My Activity", each(_read_activity), recognizes=_is_activity)
ACTIVITY_PAGE = Format(
    "google-activity-html", "Google My Activity (HTML)", each(_read_page), recognizes=_is_page
)
KEEP = Format(
    "google-keep",
    "Google Keep notes",
    each(_read_note),
    recognizes=lambda beginning: beginning.has_keys("isTrashed") and "TimestampUsec" in beginning.text,
)
