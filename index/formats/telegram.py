"""Reads Telegram Desktop's JSON export (result.json), of one chat or of the whole account."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from index.documents import Document
from index.errors import InvalidDocument
from index.formats.chats import identity, iso_time, message
from index.formats.members import Member
from index.formats.objects import objects
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options, Skipped

_ONE = ("name", "id", "type", "messages.item")
_LISTS = ("chats.list.item", "left_chats.list.item")
_PLACES = {*_ONE, *(f"{chat}.{field}" for chat in _LISTS for field in _ONE)}


def read_telegram(member: Member, options: Options) -> Items:
    """Yield the messages; service messages and those without text are Skipped."""
    with member.open() as stream:
        chat: dict[str, Any] = {}
        number = 0
        for place, value in objects(stream, _PLACES):
            field = place.rpartition(".")[2]
            if field != "item":
                # The fields of a chat come before its messages, the name first if there is one.
                chat = {**({} if field == "name" or "id" in chat else chat), field: value}
                continue
            number += 1
            yield _message(value, chat, number, options)


def _message(
    data: Any, chat: Mapping[str, Any], number: int, options: Options
) -> Document | InvalidDocument | Skipped:
    if not isinstance(data, dict) or "id" not in data:
        return InvalidDocument("not a Telegram message", number)
    if data.get("type") != "message":
        return Skipped("a service message")
    text = _text(data)
    if not text.strip():
        return Skipped(f"a message without text ({_kind(data)})")
    try:
        when = _when(data, options)
    except (ValueError, TypeError) as error:
        return InvalidDocument(str(error), number)
    name = chat.get("name") or (
        "Saved Messages" if chat.get("type") == "saved_messages" else "Deleted Account"
    )
    return message(
        identity("telegram", chat.get("id"), data["id"]),
        text,
        author=data.get("from") or "Deleted Account",
        when=when,
        source=f"Telegram/{name}",
        number=number,
        forwarded_from=data.get("forwarded_from"),
    )


def _text(data: Mapping[str, Any]) -> str:
    """The text, which is a string or a list of strings and entities; of a poll, its question and answers."""
    text = data.get("text", "")
    parts = text if isinstance(text, list) else [text]
    whole = "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in parts)
    poll = data.get("poll")
    if isinstance(poll, dict):
        answers = [str(answer.get("text", "")) for answer in poll.get("answers", [])]
        return "\n".join([whole, str(poll.get("question", "")), *answers]).strip()
    return whole


def _kind(data: Mapping[str, Any]) -> str:
    found = data.get("media_type") or next(
        (key for key in ("photo", "file", "location_information", "contact_information") if key in data),
        "empty",
    )
    return str(found).replace("_", " ")


def _when(data: Mapping[str, Any], options: Options) -> datetime:
    """The exact instant where the file has it, with the offset that its local time implies."""
    if "date_unixtime" not in data:
        return iso_time(data.get("date"), options)
    instant = options.since_1970(int(data["date_unixtime"]))
    if "date" in data:
        offset = datetime.fromisoformat(data["date"]) - instant.astimezone(UTC).replace(tzinfo=None)
        if abs(offset) < timedelta(days=1):
            return instant.astimezone(timezone(offset))
    return instant


def _recognizes(beginning: Beginning) -> bool:
    one = beginning.has_keys("type", "id", "messages", "date") and (
        beginning.has_keys("from_id") or beginning.has_keys("actor_id") or beginning.has_keys("date_unixtime")
    )
    return (
        one or beginning.has_keys("personal_information", "user_id") or beginning.has_keys("chats", "about")
    )


TELEGRAM = Format("telegram", "Telegram export", each(read_telegram), recognizes=_recognizes)
