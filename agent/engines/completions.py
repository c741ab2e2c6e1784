"""Text that an OpenAI-compatible server streams, from either endpoint: the events, checked, up to their end.

The one place where the content of a stream is read. What is wrong with it is an EngineError.
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
    """A piece of the text that is being written."""

    text: str | None = None
    delta: dict[str, JsonValue] | None = None
    finish_reason: str | None = None
    stop_reason: JsonValue = None
    token_ids: list[int] | None = None

    @property
    def written(self) -> str:
        """The text of the piece, on either endpoint."""
        return self.text or str((self.delta or {}).get("content") or "")


class Usage(BaseModel):
    """Tokens that the server counted."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Event(BaseModel):
    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: JsonValue = None


@dataclass(frozen=True)
class Piece:
    """One event of a stream. The last one has a `finish_reason` and, where the server counts, the usage."""

    choice: Choice
    usage: Usage | None


async def events(
    server: OpenAIServer, path: str, request: Json, *, retries: int | None = None, said: str = ""
) -> AsyncGenerator[tuple[list[Choice], Usage | None], None]:
    """The choices and the usage of each event, to the end of the stream. See OpenAIServer.stream."""
    async with aclosing(server.stream(path, request, _Event, retries=retries, said=said)) as stream:
        async for event in stream:
            if event.error is not None:
                raise server.broken(event.error, request, said)
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
    said: str = "",
) -> AsyncGenerator[Piece, None]:
    """The text, piece by piece, up to a finish reason; any but `finishes` raises EngineError.

    A stream that ends without one raises too, also after [DONE]: the text may have been cut off anywhere,
    and to accept it as a whole turn could close a half-written answer. For `said`, see OpenAIServer.stream.
    """
    async with aclosing(events(server, path, request, retries=retries, said=said)) as stream:
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
    """Read to the end, if that is near: the usage may still come, and the connection can be used again.

    The turn is complete whatever comes.
    """
    latest = None
    with suppress(EngineError, TimeoutError):
        async with asyncio.timeout(REST_S):
            async for _, usage in stream:
                latest = usage or latest
    return latest
