"""Reads the JSON of signal-export (a data.json for each chat of Signal Desktop, one message on each line)."""

from typing import Any

from index.documents import Document
from index.errors import InvalidDocument
from index.formats.chats import Occurrences, identity, iso_time, message
from index.formats.items import loaded
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options, Skipped


def read_signal(member: Member, options: Options) -> Items:
    """Yield the messages; those without text are Skipped. The chat is called like the file's folder."""
    occurrences = Occurrences()
    for number, line in enumerate(member.lines(), 1):
        if line.strip():
            yield _message(line, member.folder, number, occurrences, options)


def _message(
    line: str, chat: str, number: int, occurrences: Occurrences, options: Options
) -> Document | InvalidDocument | Skipped:
    try:
        data: Any = loaded(line, number)
        if not isinstance(data, dict) or "body" not in data:
            return InvalidDocument("not a message of Signal", number)
        when = iso_time(data.get("date"), options)
    except InvalidDocument as error:
        return error
    except ValueError as error:
        return InvalidDocument(str(error), number)
    text, sender = str(data["body"] or "").strip(), str(data.get("sender") or "")
    if data.get("deleted") or not text:
        return Skipped("a deleted message or one without text")
    parts = chat, str(data["date"]), sender, text
    return message(
        identity("signal", *parts, occurrences(*parts)),
        text,
        author=sender,
        when=when,
        source=f"Signal/{chat}",
        number=number,
    )


def _recognizes(beginning: Beginning) -> bool:
    return beginning.has_keys("date", "sender", "body", "reactions")


SIGNAL = Format(
    "signal",
    "Signal chat (signal-export)",
    each(read_signal),
    recognizes=_recognizes,
    copies=("chat.md", "index.html"),
)
