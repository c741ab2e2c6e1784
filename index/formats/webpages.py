"""Reads saved web pages."""

import re
from datetime import datetime
from pathlib import PurePosixPath

from index.dates import Style, date_if_read
from index.errors import InvalidDocument
from index.formats.encodings import text_of
from index.formats.html import plain_text
from index.formats.kinds import PAGE, seems_to_be
from index.formats.members import Member
from index.formats.parts import date_of_name, in_parts, sections
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options

PAGE_BYTES = 16 * 2**20
_PUBLISHED = "article:published_time"
_TITLE = re.compile(r"<title[^<>]{0,100}>([^<]{1,1000})<", re.IGNORECASE)
_CONTENT = re.compile(r"content=[\"']([^\"']{4,40})[\"']")


def read_page(path: str, html: str, dates: Style) -> Items:
    """Yield the documents of a page: one or, of a long one, one for each heading.

    Its date is the one in its name or, in its head, that of its publication. Raises InvalidDocument if it has
    no text, as when scripts have to load it.
    """
    text = plain_text(html, marks_headings=True)
    if not text:
        raise InvalidDocument("a web page without text: save it once it is shown, or print it to a PDF")
    stem = PurePosixPath(path).stem
    base = {"created_at": date_of_name(stem, dates) or _published(html, dates)}
    yield from in_parts("page", path, _title(html) or stem, text, sections, base)


def _title(html: str) -> str:
    """Return the words of the page's title; '' if it has none."""
    found = _TITLE.search(html)
    return plain_text(found[1]) if found else ""


def _published(html: str, dates: Style) -> datetime | None:
    at = html.find(_PUBLISHED)
    found = _CONTENT.search(html, html.rfind("<", 0, at), html.find(">", at)) if at >= 0 else None
    return date_if_read(found[1], dates) if found else None


def _read(member: Member, options: Options) -> Items:
    if member.size > PAGE_BYTES:
        raise InvalidDocument(f"longer than {PAGE_BYTES // 2**20} MB")
    with member.open() as stream:
        try:
            html = text_of(stream.read())
        except UnicodeError as error:
            raise InvalidDocument(str(error)) from None
    yield from read_page(member.name, html, options.dates)


def _recognizes(beginning: Beginning) -> bool:
    return seems_to_be(beginning) == PAGE


WEB_PAGE = Format("html", "web page", each(_read), recognizes=_recognizes)
