"""Reads the text that an OpenAI-compatible server streams, from either endpoint.

The single place that knows the format of the events. An invalid or incomplete stream raises EngineError.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, JsonValue, model_validator

from agent.engines.errors import EngineError
from agent.engines.openai import REST_S, OpenAIServer

COMPLETIONS, CHAT = "/completions", "/chat/completions"

Json = dict[str, Any]

_LENGTHS = frozenset({"length", "max_tokens", "max_length", "max_output_tokens", "model_length"})
_FILTERED = frozenset(
    {
        "content_filter",
        "content_filtered",
        "refusal",
        "safety",
        "recitation",
        "blocklist",
        "prohibited_content",
    }
)
_FAILED = frozenset(
    {"abort", "aborted", "error", "cancel", "cancelled", "canceled", "timeout", "network_error", "overloaded"}
    | {"malformed_function_call", "insufficient_system_resource"}
)


class Choice(BaseModel):
    """The new part of the text in one event."""

    text: str | None = None
    """The new text of a completion."""
    delta: dict[str, JsonValue] | None = None
    """The new part of a chat message; its `content` is text."""
    finish_reason: str | None = None
    stop_reason: JsonValue = None
    token_ids: list[int] | None = None

    @model_validator(mode="before")
    @classmethod
    def _normalized(cls, sent: Any) -> Any:
        """Some servers send `message` in place of `delta`, and content as a list of parts."""
        if not isinstance(sent, dict):
            return sent
        delta = sent.get("message") if sent.get("delta") is None else sent["delta"]
        if isinstance(delta, dict) and isinstance(delta.get("content"), list):
            text, thought = _text_of(delta["content"])
            delta = {**delta, "content": text}
            if thought:
                delta["reasoning_content"] = thought
        return sent if delta is sent.get("delta") else {**sent, "delta": delta}

    @property
    def written(self) -> str:
        """The new text, whichever endpoint sent it."""
        return self.text or str((self.delta or {}).get("content") or "")


class Usage(BaseModel):
    """Token counts from the server."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Event(BaseModel):
    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: JsonValue = None


@dataclass(frozen=True)
class Piece:
    """One event of a stream.

    The last one has a `finish_reason`, `stop` or `length`, and the usage if the server reports it.
    """

    choice: Choice
    usage: Usage | None


async def events(
    server: OpenAIServer, path: str, request: Json, *, retries: int | None = None, prompt_text: str = ""
) -> AsyncGenerator[tuple[list[Choice], Usage | None], None]:
    """The choices and the usage of every event. For the arguments, see OpenAIServer.stream.

    [DONE] is a last event whose choice has the finish reason `stop`.
    """
    stream = server.stream(path, request, _Event, retries=retries, prompt_text=prompt_text)
    async with aclosing(stream):
        async for event in stream:
            if event is None:
                yield [Choice(finish_reason="stop")], None
                return
            if event.error is not None:
                raise server.broken(event.error, request, prompt_text)
            if not {"choices", "usage"} & event.model_fields_set:
                raise server.bad_reply("sent an event without choices")
            yield event.choices or [], event.usage


async def pieces(
    server: OpenAIServer,
    path: str,
    request: Json,
    *,
    retries: int | None = None,
    prompt_text: str = "",
) -> AsyncGenerator[Piece, None]:
    """The pieces of the text, up to its finish reason.

    A reason that is neither a token limit nor a failure means that the text is complete, whatever the server
    calls it, and so does [DONE] without a reason. A failure, a content filter, and a stream that just ends
    raise EngineError: the text may have been cut off anywhere. For the arguments, see OpenAIServer.stream.
    """
    latest = None
    async with aclosing(events(server, path, request, retries=retries, prompt_text=prompt_text)) as stream:
        async for choices, usage in stream:
            latest = usage or latest
            if not choices:
                continue
            choice = choices[0]
            if not choice.finish_reason:
                yield Piece(choice, usage)
                continue
            reason = _finish(server, choice.finish_reason)
            latest = await _usage_after(stream) or latest
            yield Piece(choice.model_copy(update={"finish_reason": reason}), latest)
            return
    raise server.ended(None)


def _finish(server: OpenAIServer, reason: str) -> Literal["stop", "length"]:
    """The server's finish reason in OpenAI's words. Raises EngineError if the text is not complete."""
    known = reason.lower()
    if known in _FAILED or known in _FILTERED:
        raise server.ended("content_filter" if known in _FILTERED else reason)
    return "length" if known in _LENGTHS else "stop"


def _text_of(parts: list[Any]) -> tuple[str, str]:
    """The text and the thoughts of a message's content that is sent as a list of parts."""
    text, thought = "", ""
    for part in parts:
        match part:
            case str() | {"text": str()}:
                text += part if isinstance(part, str) else part["text"]
            case {"thinking": str(thinking)}:
                thought += thinking
            case {"thinking": [*inner]}:
                thought += _text_of(inner)[0]
    return text, thought


async def _usage_after(
    stream: AsyncGenerator[tuple[list[Choice], Usage | None], None],
) -> Usage | None:
    """Read to the end of the stream, for at most REST_S: for the usage, and to keep the connection.

    The turn is complete, so failures are ignored.
    """
    latest = None
    with suppress(EngineError, TimeoutError):
        async with asyncio.timeout(REST_S):
            async for _, usage in stream:
                latest = usage or latest
    return latest
