"""The policy that answers as LaMP-QA's published baselines do (`protocol = "json"`).

A chat model is shown passages and a question, and replies with JSON. It never searches and
cites nothing. It is there so that published tables can be reproduced.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from agent import prompts
from agent.engines.capabilities import context_of
from agent.engines.completions import CHAT, Json, Usage, pieces
from agent.engines.openai import OpenAIServer
from agent.episode import Episode
from agent.policy import Chunk
from agent.tags import escape
from agent.tokens import estimated, make_room

ROUNDS = 20
"""Of a reply without an answer (published: 20). The temperature rises by 0.1 a round, up to 1.0."""
_STEP, _HOTTEST = 0.1, 1.0
_DECODER = json.JSONDecoder(strict=False)
"""Models write the line breaks of a longer answer as they are."""


class JSONPolicy:
    """Answers as the chat model of `server`. Use it in one event loop.

    A reply that holds no answer is asked for again, up to ROUNDS times and as far as the question's tokens
    go; then the turn is invalid (`malformed_reply`). `context` is how many tokens the model reads and writes
    together; without it, the server is asked.
    """

    def __init__(self, server: OpenAIServer, temperature: float = 0.0, context: int | None = None) -> None:
        self._server = server
        self._temperature = temperature
        self._context = context
        self._asked = context is not None

    @property
    def name(self) -> str:
        """`json:MODEL`; only `json` until the server has been asked for its model."""
        return f"json:{self._server.model}" if self._server.model else "json"

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        """See Policy. Closing the iterator closes the HTTP stream, by which the engine knows to stop."""

        async def count() -> int:
            return _size(json_messages(episode))

        room = await make_room(episode, await self._known_context(), max_tokens, count)
        messages = json_messages(episode)
        temperature = self._temperature
        for _ in range(ROUNDS):
            if room <= 0:
                break
            text, usage, is_whole = await self._reply(messages, room, temperature)
            written = (usage and usage.completion_tokens) or estimated(text)
            read = (usage and usage.prompt_tokens) or _size(messages)
            answer = _answer(text) if episode.instructions == prompts.JSON_INSTRUCTIONS else text.strip()
            if answer and is_whole:
                yield Chunk(f"<answer>{escape(answer)}</answer>", written, "stop", prompt_tokens=read)
                return
            yield Chunk("", written, prompt_tokens=read)
            room -= written
            temperature = round(min(temperature + _STEP, _HOTTEST), 1)
        if room <= 0:
            yield Chunk("", finish="length")
        else:
            yield Chunk("", invalid="malformed_reply")

    async def check(self) -> str:
        """See Policy."""
        said = [{"role": "user", "content": "Hello"}]
        await self._reply(said, 1, self._temperature, retries=0)
        context = await self._known_context()
        return f"context {context or 'of unknown length'}, chat that replies with JSON"

    async def aclose(self) -> None:
        """See Policy."""
        await self._server.aclose()

    async def _known_context(self) -> int | None:
        if not self._asked:
            self._context = await context_of(self._server)
            self._asked = True
        return self._context

    async def _reply(
        self, messages: list[Json], max_tokens: int, temperature: float, retries: int | None = None
    ) -> tuple[str, Usage | None, bool]:
        """A reply, what it cost, where that is told, and whether it came to its own end."""
        request: Json = {
            "model": await self._server.served_model(retries),
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        text = ""
        # Streamed, though only the whole reply is used: a silent server shows, and a working one can go on.
        async with aclosing(pieces(self._server, CHAT, request, retries=retries)) as written:
            async for piece in written:
                text += piece.choice.written
        return text, piece.usage, piece.choice.finish_reason == "stop"


def json_messages(episode: Episode) -> list[Json]:
    """The episode as these models are told it: passages, a blank line between them, and then the question."""
    shown = [escape(read.passage.text) for read in episode.reads[episode.passages_dropped :]]
    said = [(message.role, escape(message.text)) for message in episode.conversation]
    system = [episode.instructions, *(text for role, text in said if role == "system")]
    return [
        {"role": "system", "content": "\n".join(system)},
        *({"role": role, "content": text} for role, text in said if role != "system"),
        {"role": "user", "content": "\n\n".join([*shown, prompts.asked(episode.question, episode.plan)])},
    ]


def _answer(text: str) -> str:
    """The answer in the first JSON object that has one, whatever stands around it; '' if there is none."""
    at = text.find("{")
    while at >= 0:
        try:
            found: Any = _DECODER.raw_decode(text, at)[0]
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and isinstance(answer := found.get(prompts.JSON_KEY), str):
            return answer.strip()
        at = text.find("{", at + 1)
    return ""


def _size(messages: list[Json]) -> int:
    return sum(estimated(message["content"]) for message in messages)
