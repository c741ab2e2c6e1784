"""Reads chats of Signal as signal-export writes them: data.json (a message on each line) or chat.md."""

import re
from typing import Any

from index.documents import Document
from index.errors import InvalidDocument
from index.formats.chats import Occurrences, identity, iso_time, message
from index.formats.items import loaded
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options, Skipped

_NO_TEXT = Skipped("a deleted message or one without text")
_OLDEST = 2010
"""Year of the first Signal. The export writes 1970 where a message has no time."""
_HEAD = re.compile(r"\[(\d{4}-\d\d-\d\d),? (\d\d:\d\d(?::\d\d)?)\] ([^:\n]{1,200}): (.*)")
_ATTACHED = re.compile(r"!?\[[^\[\]\n]{0,300}\]\(\.\.?/[^()\n]{1,500}\)")
_DELETED = "(This message was deleted)"


def read_signal(member: Member, options: Options) -> Items:
    """Yield the messages of data.json; those without text are Skipped. The chat is called like the file's
    folder."""
    occurrences = Occurrences()
    for number, line in enumerate(member.lines(), 1):
        if line.strip():
            yield _of_json(line, member.folder, number, occurrences, options)


def read_signal_text(member: Member, options: Options) -> Items:
    """Yield the messages of chat.md, without what they quote, attach and react to."""
    occurrences = Occurrences()
    lines: list[str] = []
    start = 1
    for number, line in enumerate(member.lines(), 1):
        if lines and _HEAD.match(line):
            yield _of_text(lines, member.folder, start, occurrences, options)
            lines, start = [], number
        lines.append(line)
    yield _of_text(lines, member.folder, start, occurrences, options)


def _of_json(
    line: str, chat: str, number: int, occurrences: Occurrences, options: Options
) -> Document | InvalidDocument | Skipped:
    try:
        data: Any = loaded(line, number)
    except InvalidDocument as error:
        return error
    if not isinstance(data, dict) or "body" not in data:
        return InvalidDocument("not a message of Signal", number)
    text = "" if data.get("deleted") else str(data["body"] or "")
    return _message(text, data.get("date"), str(data.get("sender") or ""), chat, number, occurrences, options)


def _of_text(
    lines: list[str], chat: str, number: int, occurrences: Occurrences, options: Options
) -> Document | InvalidDocument | Skipped:
    found = _HEAD.match("".join(lines[:1]))
    if found is None:
        return InvalidDocument("not a message of Signal", number)
    day, time, sender, first = found.groups()
    kept = [
        line
        for line in (first, *(line.rstrip("\r\n") for line in lines[1:]))
        if not line.startswith(("> ", "(( ")) and not (line.startswith("(- ") and line.endswith(" -)"))
    ]
    text = _ATTACHED.sub("", "\n".join(kept)).strip()
    return _message(
        "" if text == _DELETED else text, f"{day}T{time}", sender, chat, number, occurrences, options
    )


def _message(
    text: str, date: Any, sender: str, chat: str, number: int, occurrences: Occurrences, options: Options
) -> Document | InvalidDocument | Skipped:
    try:
        when = iso_time(date, options)
    except ValueError as error:
        return InvalidDocument(str(error), number)
    text = text.strip()
    if not text:
        return _NO_TEXT
    parts = chat, str(date), sender, text
    return message(
        identity("signal", *parts, occurrences(*parts)),
        text,
        author=sender,
        when=when if when.year >= _OLDEST else None,
        source=f"Signal/{chat}",
        number=number,
    )


def _recognizes(beginning: Beginning) -> bool:
    return beginning.has_keys("date", "sender", "body", "reactions")


def _recognizes_text(beginning: Beginning) -> bool:
    return beginning.suffix == ".md" and _HEAD.match(beginning.text) is not None


SIGNAL = Format(
    "signal",
    "Signal chat (signal-export)",
    each(read_signal),
    recognizes=_recognizes,
    copies=("chat.md", "index.md", "index.html"),
)
SIGNAL_TEXT = Format(
    "signal-markdown",
    "Signal chat (chat.md of signal-export)",
    each(read_signal_text),
    recognizes=_recognizes_text,
    copies=("index.html",),
)
