"""Reads the text that an OpenAI-compatible server streams, from either endpoint.

The single place that knows the format of the events. An invalid or incomplete stream raises EngineError.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, JsonValue

from agent.engines.errors import EngineError
from agent.engines.openai import REST_S, OpenAIServer

COMPLETIONS, CHAT = "/completions", "/chat/completions"

Json = dict[str, Any]


class Choice(BaseModel):
    """The new part of the text in one event."""

    text: str | None = None
    delta: dict[str, JsonValue] | None = None
    finish_reason: str | None = None
    stop_reason: JsonValue = None
    token_ids: list[int] | None = None

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
    """One event of a stream. The last one has a `finish_reason` and, if the server reports it, the usage."""

    choice: Choice
    usage: Usage | None


async def events(
    server: OpenAIServer, path: str, request: Json, *, retries: int | None = None, prompt_text: str = ""
) -> AsyncGenerator[tuple[list[Choice], Usage | None], None]:
    """The choices and the usage of every event. For the arguments, see OpenAIServer.stream."""
    stream = server.stream(path, request, _Event, retries=retries, prompt_text=prompt_text)
    async with aclosing(stream):
        async for event in stream:
            if event.error is not None:
                raise server.broken(event.error, request, prompt_text)
            if event.choices is None:
                raise server.bad_reply("sent an event without choices")
            yield event.choices, event.usage


async def pieces(
    server: OpenAIServer,
    path: str,
    request: Json,
    *,
    finishes: Collection[str] = ("stop", "length"),
    retries: int | None = None,
    prompt_text: str = "",
) -> AsyncGenerator[Piece, None]:
    """The pieces of the text, up to its finish reason. Raises EngineError if that is not one of `finishes`.

    A stream without a finish reason raises EngineError even after [DONE]: the text may have been cut off
    anywhere, and accepting it could close a half-written answer. For the other arguments, see
    OpenAIServer.stream.
    """
    async with aclosing(events(server, path, request, retries=retries, prompt_text=prompt_text)) as stream:
        async for choices, usage in stream:
            if not choices:
                continue
            choice = choices[0]
            if not choice.finish_reason:
                yield Piece(choice, usage)
                continue
            if choice.finish_reason not in finishes:
                raise server.ended(choice.finish_reason)
            yield Piece(choice, await _usage_after(stream) or usage)
            return
    raise server.ended(None)


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
