"""Reads folders of Markdown notes: Obsidian, Logseq, or plain files.

A short note is one document; a long one is a document for each heading. The identity of a note is its path
below the folder, so that an edited note replaces itself.
"""

import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from index.dates import Style, date_if_read
from index.errors import InvalidDocument
from index.formats.encodings import text_of
from index.formats.members import Member
from index.formats.parts import date_of_name, in_parts, sections
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options, Skipped

NOTE_BYTES = 16 * 2**20
_FRONT_MATTER = 20_000
"""Characters in which front matter has to end. More is text."""
_DATES = ("date", "created", "created_at", "date created", "creation date", "published", "day")
_IMAGES = frozenset(".png .jpg .jpeg .gif .svg .webp .heic .pdf .mp3 .m4a .mp4 .mov .webm .wav".split())
_PROPERTY = re.compile(r"\s{0,99}(?:- )?([A-Za-z][\w-]{0,60})::(?:\s+(.{0,2000}))?")
"""A property of Logseq, of a page or of a block."""
_LINK = re.compile(r"(!?)\[\[([^\[\]|\n]{1,500})(?:\|([^\[\]\n]{1,500}))?\]\]")


def read_note(path: str, text: str, dates: Style, number: int = 1) -> Items:
    """Yield the documents of the note at `path`, whose parts are separated by slashes."""
    properties, body = _properties(text)
    stem = PurePosixPath(path).stem
    title = _label(properties.get("title")) or stem
    base = {
        "created_at": _written(properties, stem, dates),
        "metadata": {"tags": tags} if (tags := _tags(properties.get("tags"))) else {},
    }
    body = _plain(body)
    if not body.strip():
        yield Skipped("an empty note", path)
        return
    yield from in_parts("note", path, title, body, sections, base, number)


def _properties(text: str) -> tuple[dict[str, Any], str]:
    """Return the properties before a note, and the note without them. Front matter that is broken is text."""
    if text.startswith("---") and (end := text.find("\n---", 3, _FRONT_MATTER)) > 0:
        import yaml

        try:
            # As strings, which the one reader of dates reads; and without merged keys, which can multiply.
            found = yaml.load(text[3:end], yaml.BaseLoader)
        except (yaml.YAMLError, ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            return {}, text
        body = text[end + 4 :].partition("\n")[2]
        return {str(key).lower(): value for key, value in found.items()}, body
    properties: dict[str, Any] = {}
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        match = _PROPERTY.fullmatch(line.rstrip())
        if match is None or line[:1] in " -":
            return properties, "".join(lines[index:])
        properties[match[1].lower()] = match[2] or ""
    return properties, ""


def _written(properties: dict[str, Any], stem: str, dates: Style) -> datetime | None:
    """Return when a note was written, by its properties or its name. None if neither says so."""
    for key in _DATES:
        value = properties.get(key)
        if isinstance(value, str) and (found := date_if_read(value.strip().strip("[]"), dates)):
            return found
    return date_of_name(stem, dates)


def _label(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _tags(value: Any) -> list[str]:
    found = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return [tag for item in found[:100] if isinstance(item, str) and (tag := item.strip(" #[]"))]


def _plain(body: str) -> str:
    """Return a note's text without properties of blocks, and with links as their words."""
    kept = [
        line for line in body.splitlines() if not _PROPERTY.fullmatch(line) or line.lstrip().startswith("- ")
    ]
    return _LINK.sub(_words, "\n".join(kept)).strip()


def _words(link: re.Match[str]) -> str:
    target, alias = link[2], link[3]
    if link[1] and PurePosixPath(target).suffix.lower() in _IMAGES:
        return ""
    page, _, heading = target.partition("#")
    return alias or (page or heading.lstrip("^")).rpartition("/")[2]


def _read(member: Member, options: Options) -> Items:
    parts = PurePosixPath(member.name).parts
    if any(part.startswith(".") for part in parts) or "/logseq/bak/" in f"/{member.name}":
        yield Skipped("a file that the notes' app keeps for itself", member.name)
        return
    if member.size > NOTE_BYTES:
        raise InvalidDocument(f"longer than {NOTE_BYTES // 2**20} MB")
    with member.open() as stream:
        try:
            text = text_of(stream.read())
        except UnicodeError as error:
            raise InvalidDocument(str(error)) from None
    yield from read_note(member.name, text, options.dates)


def _recognizes(beginning: Beginning) -> bool:
    return beginning.suffix in (".md", ".markdown") and "\0" not in beginning.text


MARKDOWN = Format("markdown", "Markdown notes", each(_read), recognizes=_recognizes)
