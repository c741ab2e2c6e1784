"""Reads Claude's data export (conversations.json), along the branch of each conversation that is shown."""

from collections.abc import Mapping, Sequence
from typing import Any

from index.documents import Document
from index.errors import InvalidDocument
from index.formats.chats import ME, identity, iso_time, message
from index.formats.members import Member
from index.formats.objects import objects
from index.formats.reading import each
from index.formats.source import Format, Items, Options, Skipped

_AUTHORS = {"human": (ME, "user"), "assistant": ("Claude", "assistant")}


def read_claude(member: Member, options: Options) -> Items:
    """Yield the messages of the person and the assistant."""
    with member.open() as stream:
        for number, (_, data) in enumerate(objects(stream, ("item",)), 1):
            if not isinstance(data, dict) or not isinstance(data.get("chat_messages"), list):
                yield InvalidDocument("not a conversation of Claude: it has no chat_messages", number)
                continue
            title = str(data.get("name") or "")
            found = [item for item in data["chat_messages"] if isinstance(item, dict)]
            for item in _branch(found, data.get("current_leaf_message_uuid")):
                yield _message(item, title, number, options)


def _branch(messages: Sequence[Mapping[str, Any]], leaf: Any) -> list[Mapping[str, Any]]:
    """The messages up to the current one, or up to the last; all of them in an export without branches."""
    by_id = {item.get("uuid"): item for item in messages}
    if not messages or not any(item.get("parent_message_uuid") for item in messages):
        return list(messages)
    name = leaf if leaf in by_id else messages[-1].get("uuid")
    branch: dict[Any, Mapping[str, Any]] = {}
    while name in by_id and name not in branch:
        branch[name] = by_id[name]
        name = by_id[name].get("parent_message_uuid")
    return list(branch.values())[::-1]


def _message(
    data: Mapping[str, Any], title: str, number: int, options: Options
) -> Document | InvalidDocument | Skipped:
    if data.get("sender") not in _AUTHORS:
        return InvalidDocument("not a message of Claude", number)
    author, role = _AUTHORS[data["sender"]]
    text = _text(data)
    if not text.strip():
        return Skipped("a message without text")
    try:
        when = iso_time(data.get("created_at"), options)
    except ValueError as error:
        return InvalidDocument(str(error), number)
    return message(
        identity("claude", str(data.get("uuid"))),
        text,
        author=author,
        when=when,
        source=f"Claude/{title}",
        title=title,
        number=number,
        role=role,
    )


def _text(data: Mapping[str, Any]) -> str:
    """The text blocks, without thinking and tools; older exports have the text alone."""
    blocks = [block for block in data.get("content") or [] if isinstance(block, dict)]
    if not blocks:
        return str(data.get("text") or "")
    return "\n".join(
        str(block["text"]) for block in blocks if block.get("type") == "text" and block.get("text")
    )


CLAUDE = Format(
    "claude",
    "Claude export",
    each(read_claude),
    recognizes=lambda beginning: beginning.has_keys("chat_messages", "uuid"),
)
