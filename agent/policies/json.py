"""The policy that answers as LaMP-QA's published baselines do (`protocol = "json"`).

A chat model reads passages and a question, and replies with JSON. It neither searches nor cites. Use it to
reproduce published tables.
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
from agent.information import notice_line
from agent.policy import Chunk
from agent.replies import read as read_reply
from agent.replies import without_thoughts
from agent.tags import escape
from agent.tokens import estimated, make_room

ROUNDS = 20
"""Attempts to get a reply with an answer (published: 20). Each raises the temperature by 0.1, up to 1.0."""
_STEP, _HOTTEST = 0.1, 1.0
_DECODER = json.JSONDecoder(strict=False)
"""Not strict: models do not escape the line breaks of a longer answer."""
_ASKING_FOR_JSON = (prompts.JSON_INSTRUCTIONS, prompts.REASONING_JSON_INSTRUCTIONS)


class JSONPolicy:
    """Answers with the chat model of `server`. Use each object in one event loop only.

    A reply without an answer is requested again, up to ROUNDS times and within the question's token limit;
    then the turn is invalid (`malformed_reply`). `context` is the model's context length in tokens; by
    default, the server is asked for it.
    """

    def __init__(self, server: OpenAIServer, temperature: float = 0.0, context: int | None = None) -> None:
        self._server = server
        self._temperature = temperature
        self._context = context
        self._asked = context is not None

    @property
    def name(self) -> str:
        """`json:MODEL`; `json` until the model is known."""
        return f"json:{self._server.model}" if self._server.model else "json"

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        """See Policy. Closing the iterator closes the HTTP stream, which tells the engine to stop."""

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
            reasoning = ""
            if episode.instructions in _ASKING_FOR_JSON:
                reasoning, answer = _said(without_thoughts(text))
            else:
                reply = read_reply(text)
                answer = "" if reply.call else reply.text.strip()
            if answer and is_whole:
                thought = f"<think>{escape(reasoning)}</think>" if reasoning else ""
                tags = f"{thought}<answer>{escape(answer)}</answer>"
                yield Chunk(tags, written, "stop", prompt_tokens=read)
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
        greeting = [{"role": "user", "content": "Hello"}]
        await self._reply(greeting, 1, self._temperature, retries=0)
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
        """A reply, its usage if the server reports it, and whether it is complete."""
        request: Json = {
            "model": await self._server.served_model(retries),
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        text = ""
        # Streamed, although only the whole reply is used, to tell a silent server from a busy one.
        async with aclosing(pieces(self._server, CHAT, request, retries=retries)) as written:
            async for piece in written:
                text += piece.choice.written
        return text, piece.usage, piece.choice.finish_reason == "stop"


def json_messages(episode: Episode) -> list[Json]:
    """The episode as messages: passages, separated by blank lines, and then the question."""
    shown = [escape(read.passage.text) for read in episode.reads[episode.passages_dropped :]]
    earlier = [(message.role, escape(message.text)) for message in episode.conversation]
    system = [episode.instructions, *(text for role, text in earlier if role == "system")]
    if episode.today:
        system.append(prompts.dated(episode.today))
    system += map(notice_line, episode.notices)
    return [
        {"role": "system", "content": "\n".join(system)},
        *({"role": role, "content": text} for role, text in earlier if role != "system"),
        {"role": "user", "content": "\n\n".join([*shown, prompts.asked(episode.question, episode.plan)])},
    ]


def _said(text: str) -> tuple[str, str]:
    """The reasoning and the answer in the first JSON object that has an answer; '' for what is missing.

    Text around the object is ignored.
    """
    at = text.find("{")
    while at >= 0:
        try:
            found: Any = _DECODER.raw_decode(text, at)[0]
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and isinstance(answer := found.get(prompts.JSON_KEY), str):
            reasoning = found.get(prompts.REASONING_KEY)
            return reasoning.strip() if isinstance(reasoning, str) else "", answer.strip()
        at = text.find("{", at + 1)
    return "", ""


def _size(messages: list[Json]) -> int:
    return sum(estimated(message["content"]) for message in messages)
