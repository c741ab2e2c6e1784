"""Reads Slack's export: a folder for each channel, with a JSON file for each day."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from index.documents import Document
from index.errors import InvalidDocument
from index.formats.chats import identity, message
from index.formats.members import Member
from index.formats.objects import objects
from index.formats.reading import located
from index.formats.source import Beginning, Format, Items, Options, Skipped, Source

_LISTS = ("users", "channels", "groups", "dms", "mpims")
_SAID = (None, "thread_broadcast", "me_message", "bot_message", "file_share", "file_comment")
"""Subtypes of messages that people or their programs write; the others are Slack's own."""
_REFERENCE = re.compile(r"<([^<>|]{1,2000})(?:\|([^<>]{0,2000}))?>")

_STAMP = re.compile(r'"ts": ?"\d{8,11}\.\d{6}"')


@dataclass
class _Workspace:
    """Names by id, from the lists beside the channels."""

    people: dict[str, str] = field(default_factory=dict)
    zones: dict[str, ZoneInfo] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)
    """Name of each channel by its id."""
    ids: dict[str, str] = field(default_factory=dict)
    """Id of each channel by the name of its folder."""

    def add(self, kind: str, item: Mapping[str, Any]) -> None:
        key = str(item.get("id"))
        if kind == "users":
            profile = item.get("profile") or {}
            names = [profile.get(name) for name in ("display_name", "real_name")]
            names += [item.get(name) for name in ("real_name", "name")]
            self.people[key] = next((str(name) for name in names if name), key)
            # Times of people without a known zone are in the zone of the import.
            with suppress(ZoneInfoNotFoundError, ValueError, OSError):
                self.zones[key] = ZoneInfo(str(item.get("tz")))
            return
        # A direct chat has no name; its folder is called like its id.
        name = str(item.get("name") or key)
        self.ids[name] = key
        members = [self.people.get(str(each), str(each)) for each in item.get("members") or []]
        self.channels[key] = f"#{name}" if kind in ("channels", "groups") else ", ".join(members) or name

    def text(self, text: str) -> str:
        """Replace Slack's references by the names that people see."""
        return unescape(_REFERENCE.sub(self._shown, text))

    def _shown(self, found: re.Match[str]) -> str:
        target, label = found[1], found[2]
        if target.startswith("@"):
            return f"@{self.people.get(target[1:]) or label or target[1:]}"
        if target.startswith("#"):
            return self.channels.get(target[1:]) or f"#{label or target[1:]}"
        if target.startswith("!"):
            return label or f"@{target[1:].partition('^')[0]}"
        return f"{label} ({target})" if label and not target.rstrip("/").endswith(label) else target


def _sources(members: Sequence[Member], options: Options) -> list[Source]:
    return [Source(options.user, _items(members, options))]


def _items(members: Sequence[Member], options: Options) -> Items:
    workspace = _Workspace()
    lists = {kind: [m for m in members if m.name.rpartition("/")[2] == f"{kind}.json"] for kind in _LISTS}
    for kind, found in lists.items():
        for member in found:
            with member.open() as stream:
                for _, item in objects(stream, ("item",)):
                    if isinstance(item, dict):
                        workspace.add(kind, item)
    for member in members:
        if not any(member in found for found in lists.values()):
            yield from located(member.name, _day(member, workspace, options))


def _day(member: Member, workspace: _Workspace, options: Options) -> Items:
    folder = member.folder
    channel = workspace.ids.get(folder, folder)
    source = f"Slack/{workspace.channels.get(channel, folder)}"
    with member.open() as stream:
        for number, (_, data) in enumerate(objects(stream, ("item",)), 1):
            yield _message(data, channel, source, number, workspace, options)


def _message(
    data: Any, channel: str, source: str, number: int, workspace: _Workspace, options: Options
) -> Document | InvalidDocument | Skipped:
    if not isinstance(data, dict) or data.get("type") != "message":
        return InvalidDocument("not a message of Slack", number)
    if data.get("subtype") not in _SAID:
        return Skipped("a message of Slack itself")
    text = workspace.text(str(data.get("text") or ""))
    if not text.strip():
        return Skipped("a message without text")
    user, stamp = str(data.get("user") or ""), str(data.get("ts"))
    profile = data.get("user_profile") or data.get("bot_profile") or {}
    names = (
        workspace.people.get(user),
        profile.get("display_name"),
        profile.get("real_name"),
        data.get("username"),
        profile.get("name"),
        user,
    )
    try:
        when = options.since_1970(int(Decimal(stamp) * 1_000_000), 1_000_000)
    except (InvalidOperation, ValueError):
        return InvalidDocument(f"not a time: {stamp!r:.60}", number)
    return message(
        identity("slack", channel, stamp),
        text,
        author=next((str(name) for name in names if name), None),
        when=when.astimezone(workspace.zones[user]) if user in workspace.zones else when,
        source=source,
        number=number,
        thread=f"{channel}/{data['thread_ts']}" if data.get("thread_ts") else None,
    )


def _recognizes(beginning: Beginning) -> bool:
    name = beginning.name.rpartition("/")[2].removesuffix(".json")
    if name in _LISTS:
        return beginning.has_keys("id", "profile" if name == "users" else "members")
    return beginning.has_keys("type", "ts") and _STAMP.search(beginning.text) is not None


SLACK = Format("slack", "Slack export", _sources, recognizes=_recognizes)
