"""Reads ChatGPT's data export (conversations.json), along the branch of each conversation that is shown."""

from collections.abc import Mapping
from typing import Any

from index.documents import Document
from index.errors import InvalidDocument
from index.formats.chats import ME, identity, message
from index.formats.members import Member
from index.formats.objects import objects
from index.formats.reading import each
from index.formats.source import Format, Items, Options, Skipped

_AUTHORS = {"user": ME, "assistant": "ChatGPT"}


def read_chatgpt(member: Member, options: Options) -> Items:
    """Yield the messages of the person and the assistant; what the app keeps besides is Skipped."""
    with member.open() as stream:
        for number, (_, data) in enumerate(objects(stream, ("item",)), 1):
            if not isinstance(data, dict) or not isinstance(data.get("mapping"), dict):
                yield InvalidDocument("not a conversation of ChatGPT: it has no mapping", number)
                continue
            title = str(data.get("title") or "")
            for node in _branch(data["mapping"], data.get("current_node")):
                found = node.get("message")
                if isinstance(found, dict):
                    yield _message(found, title, number, options)


def _branch(mapping: Mapping[str, Any], current: Any) -> list[Mapping[str, Any]]:
    """The nodes from the root to the current one; without it, to the latest leaf."""
    name = current if current in mapping else _latest_leaf(mapping)
    nodes: dict[str, Mapping[str, Any]] = {}
    while isinstance(name, str) and name not in nodes and isinstance(mapping.get(name), dict):
        nodes[name] = mapping[name]
        name = mapping[name].get("parent")
    return list(nodes.values())[::-1]


def _latest_leaf(mapping: Mapping[str, Any]) -> str | None:
    leaves = [name for name, node in mapping.items() if isinstance(node, dict) and not node.get("children")]

    def time(name: str) -> float:
        return float((mapping[name].get("message") or {}).get("create_time") or 0)

    return max(leaves, key=time, default=None)


def _message(
    data: Mapping[str, Any], title: str, number: int, options: Options
) -> Document | InvalidDocument | Skipped:
    role = (data.get("author") or {}).get("role")
    hidden = (data.get("metadata") or {}).get("is_visually_hidden_from_conversation")
    if role not in _AUTHORS or hidden or data.get("recipient", "all") != "all":
        return Skipped("a message of the system or of a tool")
    text = _text(data.get("content") or {})
    if not text.strip():
        return Skipped("a message without text")
    created = data.get("create_time")
    try:
        when = None if created is None else options.since_1970(created)
    except (ValueError, TypeError) as error:
        return InvalidDocument(str(error), number)
    return message(
        identity("chatgpt", str(data.get("id"))),
        text,
        author=_AUTHORS[role],
        when=when,
        source=f"ChatGPT/{title}",
        title=title,
        number=number,
        role=role,
    )


def _text(content: Mapping[str, Any]) -> str:
    if content.get("content_type") not in ("text", "multimodal_text"):
        return ""  # Code for tools, thoughts, and settings.
    parts = [
        part if isinstance(part, str) else str(part.get("text") or "") if isinstance(part, dict) else ""
        for part in content.get("parts") or []
    ]
    return "\n".join(part for part in parts if part)


CHATGPT = Format(
    "chatgpt",
    "ChatGPT export",
    each(read_chatgpt),
    recognizes=lambda beginning: beginning.has_keys("mapping", "create_time", "parent"),
    copies=("chat.html",),
)
