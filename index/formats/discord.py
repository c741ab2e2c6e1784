"""Reads the JSON of DiscordChatExporter: one file for each channel or direct chat."""

from typing import Any

from index.documents import Document
from index.errors import InvalidDocument
from index.formats.chats import identity, iso_time, message
from index.formats.members import Member
from index.formats.objects import objects
from index.formats.reading import each
from index.formats.source import Format, Items, Options, Skipped

_SAID = ("Default", "Reply", "ThreadStarterMessage", "ChatInputCommand", "ContextMenuCommand")
"""Types of messages that people write; the others are the app's own."""


def read_discord(member: Member, options: Options) -> Items:
    """Yield the messages; those of the app and those without text are Skipped."""
    with member.open() as stream:
        guild, channel = "", ""
        number = 0
        for place, value in objects(stream, ("guild.name", "channel.name", "messages.item")):
            if place == "guild.name":
                guild = str(value)
            elif place == "channel.name":
                channel = str(value)
            else:
                number += 1
                yield _message(value, f"Discord/{guild}/{channel}", number, options)


def _message(data: Any, source: str, number: int, options: Options) -> Document | InvalidDocument | Skipped:
    if not isinstance(data, dict) or "id" not in data or not isinstance(data.get("author"), dict):
        return InvalidDocument("not a Discord message", number)
    if data.get("type", "Default") not in _SAID:
        return Skipped("a message of the app")
    content = str(data.get("content") or "")
    if not content.strip():
        return Skipped("a message without text")
    author = data["author"]
    try:
        when = iso_time(data.get("timestamp"), options)
    except ValueError as error:
        return InvalidDocument(str(error), number)
    return message(
        identity("discord", data["id"]),
        content,
        author=author.get("nickname") or author.get("name"),
        when=when,
        source=source,
        number=number,
    )


DISCORD = Format(
    "discord",
    "Discord chat (DiscordChatExporter)",
    each(read_discord),
    recognizes=lambda beginning: beginning.has_keys("guild", "channel", "exportedAt"),
)
