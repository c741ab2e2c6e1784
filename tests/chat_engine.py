"""Replies of chat servers, for `tests.engine.Engine` to stream: deltas of text, thoughts and tool calls."""

import json
from collections.abc import Sequence
from typing import Any

from tests.engine import DONE, Dialect, Engine, Part, Reply, Request, Script

Delta = dict[str, Any]


def chat_engine(script: Script, models: Sequence[str] = ("tiny",)) -> Engine:
    """A server that only chats, and ignores unknown options."""
    return Engine(script, models, Dialect(completions=False, chat=True))


def delta(finish: str | None = None, *, usage: Delta | None = None, **said: Any) -> bytes:
    """One event. `said` is the delta."""
    choices = [{"index": 0, "delta": said, "logprobs": None, "finish_reason": finish}]
    return _event({"choices": choices} | ({"usage": usage} if usage else {}))


def usage(prompt_tokens: int, completion_tokens: int) -> bytes:
    """The event after the finish, if `include_usage` was requested."""
    tokens = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    tokens["total_tokens"] = sum(tokens.values())
    return _event({"choices": [], "usage": tokens})


def call(arguments: object, name: str = "search_profile", *, index: int | None = 0, id: str = "c1") -> bytes:  # noqa: A002
    """A complete call in one delta, as Ollama sends it, and vLLM for many models."""
    given = {} if index is None else {"index": index}
    function = {"name": name, "arguments": arguments}
    return delta(tool_calls=[{**given, "id": id, "type": "function", "function": function}])


def call_in_pieces(arguments: str, name: str = "search_profile", *, index: int = 0) -> list[bytes]:
    """A call as OpenAI and vLLM stream it: first the name, then the arguments in pieces."""
    first = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name}}
    later = [{"index": index, "function": {"arguments": arguments[at : at + 3]}}
             for at in range(0, len(arguments), 3)]  # fmt: skip
    return [delta(role="assistant", content=None, tool_calls=[part]) for part in (first, *later)]


def searches(query: str, *before: bytes) -> Reply:
    """A reply that ends with a search."""
    arguments = json.dumps({"query": query})
    return Reply((*before, *call_in_pieces(arguments), delta("tool_calls"), usage(100, 10), DONE))


def says(text: str, *before: bytes, size: int = 4) -> Reply:
    """A reply that ends with text."""
    pieces = [delta(content=text[at : at + size]) for at in range(0, len(text), size)]
    return Reply((*before, *pieces, delta("stop"), usage(200, 20), DONE))


def replies(*parts: Part) -> Reply:
    return Reply((*parts, DONE))


def messages(request: Request) -> list[Delta]:
    said: list[Delta] = request.json["messages"]
    return said


def _event(body: Delta) -> bytes:
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "tiny", **body}
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"
