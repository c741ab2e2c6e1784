"""Reads the messages of a request: the question, and the conversation before it.

A finished tool exchange stays in the conversation, as text: a follow-up question may rest on what a tool
returned, and dropping it would change the answer. It is shown as the assistant's, which passed it on; a
user's words would be taken for the person's, and a system message outranks others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agent.trajectory import Message
from index.documents import check_storable
from server.openai.errors import OpenAIProblem

CONVERSATION_CHARACTERS = 8_000
"""Characters of the earlier messages that the policy is shown, in total."""

Role = Literal["user", "assistant", "system"]


@dataclass(frozen=True)
class Conversation:
    """A question and the messages before it, as far as they fit."""

    question: str
    earlier: Sequence[Message]
    is_shortened: bool
    """Whether earlier messages were left out or cut."""


@dataclass(frozen=True)
class _Turn:
    role: Role
    text: str
    of_tool: Literal["call", "result"] | None = None


def read_conversation(messages: Sequence[tuple[str, Mapping[str, Any]]], field: str) -> Conversation:
    """Read messages in the shape of chat completions, each with its place in the request's `field`.

    The last message of the user is the question. System messages and finished tool exchanges may follow it.
    Raises OpenAIProblem.
    """
    tools: dict[str, str] = {}
    turns = [_turn(place, message, tools) for place, message in messages]
    last = next((index for index in reversed(range(len(turns))) if turns[index].role == "user"), None)
    if last is None or not _may_follow(turns[last + 1 :]):
        raise OpenAIProblem(400, "the last message must be the user's: it is the question", field)
    earlier = [Message(turn.role, turn.text) for turn in turns[:last] + turns[last + 1 :]]
    kept = _newest(earlier)
    is_shortened = sum(len(message.text) for message in kept) < sum(len(message.text) for message in earlier)
    return Conversation(turns[last].text, kept, is_shortened)


def _may_follow(turns: Sequence[_Turn]) -> bool:
    """Whether the assistant has neither begun to answer before these turns end nor waits for a tool."""
    after = [turn for turn in turns if turn.role != "system"]
    return all(turn.of_tool for turn in after) and (not after or after[-1].of_tool == "result")


_ROLES: Mapping[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "assistant",
    "function": "assistant",
}


def _turn(place: str, message: Mapping[str, Any], tools: dict[str, str]) -> _Turn:
    """One message. `tools` collects the names of the tools that were called, by the calls' ids."""
    sent = str(message.get("role"))
    role = _ROLES.get(sent)
    if role is None:
        raise OpenAIProblem(400, f"{place}: the role must be one of {', '.join(_ROLES)}", place)
    of_tool: Literal["call", "result"] | None = None
    if sent in ("tool", "function"):
        of_tool = "result"
        name = message.get("name") or tools.get(str(message.get("tool_call_id")))
        returned = _text(f"{place}.content", message.get("content"), may_lack=True)
        text = f"The tool {name} returned: {returned}" if name else f"A tool returned: {returned}"
    else:
        calls = list(_calls(place, message, tools)) if sent == "assistant" else []
        of_tool = "call" if calls else None
        said = _text(f"{place}.content", message.get("content"), may_lack=sent == "assistant")
        text = "\n".join(filter(None, [said, *calls]))
    try:
        return _Turn(role, check_storable(text), of_tool)
    except ValueError as error:
        place = f"{place}.content"
        raise OpenAIProblem(400, f"{place} {error}", place) from None


def _calls(place: str, message: Mapping[str, Any], tools: dict[str, str]) -> Iterator[str]:
    old = message.get("function_call")
    calls = message.get("tool_calls") or ([{"function": old}] if old else [])
    for call in calls if isinstance(calls, list) else [calls]:
        match call:
            case {"function": {"name": str(name), "arguments": str(arguments)}} | {
                "custom": {"name": str(name), "input": str(arguments)}
            }:
                tools[str(call.get("id"))] = name
                yield f"The tool {name} was called with {arguments}"
            case _:
                raise OpenAIProblem(
                    400, f"{place}: a tool call needs a name and its arguments as text", place
                )


def _text(place: str, content: Any, *, may_lack: bool) -> str:
    if content is None and may_lack:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise OpenAIProblem(400, f"{place} must be a text or a list of parts of type text", place)
    texts = []
    for index, part in enumerate(content):
        match part:
            case {"type": "text" | "input_text" | "output_text", "text": str(text)}:
                texts.append(text)
            case {"type": "refusal", "refusal": str(text)}:
                texts.append(text)
            case _:
                part_place = f"{place}[{index}]"
                raise OpenAIProblem(400, f"{part_place}: only parts of type text are supported", part_place)
    return "\n".join(texts)


def _newest(messages: Sequence[Message]) -> list[Message]:
    """The messages that fit the limit, in order: system messages first, then from the newest backwards.

    The message that crosses the limit keeps its beginning: nothing is refused for its length, and the kept
    messages have no gap.
    """
    left = CONVERSATION_CHARACTERS
    kept: dict[int, Message] = {}
    newest_first = reversed(range(len(messages)))
    for index in sorted(newest_first, key=lambda index: messages[index].role != "system"):
        if text := messages[index].text[:left]:
            kept[index] = Message(messages[index].role, text)
            left -= len(text)
    return [kept[index] for index in sorted(kept)]
