"""The policy for models trained on the tags, behind an OpenAI-compatible server (`protocol = "tags"`).

The server's features are probed once (agent/engines/capabilities.py). If possible, the transcript travels as
token ids in both directions; otherwise as text through `/completions`; on servers that can only chat, as the
beginning of the assistant's message.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from agent.engines.capabilities import Capabilities, probe
from agent.engines.completions import CHAT, Choice, pieces
from agent.engines.controls import tokens_of
from agent.engines.errors import EngineError
from agent.engines.openai import OpenAIServer, Refused
from agent.episode import Episode
from agent.policy import Chunk
from agent.tags import STOP, missing_close
from agent.tokens import estimated, make_room, prompt_ids


class TagsPolicy:
    """Writes the tags with the model of `server`, at the given temperature.

    `context` is the model's context length in tokens; by default, the server is asked for it. If the server
    reports no usage, each piece of text counts as one token. Use each object in one event loop only.
    """

    def __init__(self, server: OpenAIServer, temperature: float = 0.0, context: int | None = None) -> None:
        self._server = server
        self._temperature = temperature
        self._context = context
        self._known: Capabilities | None = None
        self._probing = asyncio.Lock()
        self._failed: EngineError | None = None

    @property
    def name(self) -> str:
        """`openai:MODEL`; `openai` until the model is known."""
        return f"openai:{self._server.model}" if self._server.model else "openai"

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        """See Policy. Closing the iterator closes the HTTP stream, which tells the engine to stop."""
        known, begun = await self._capabilities(), False
        for is_last in (False, True):
            try:
                async with aclosing(self._write(known, episode, max_tokens)) as chunks:
                    async for chunk in chunks:
                        begun = True
                        yield chunk
                return
            except Refused:
                # Another server may be running at this address now, with fewer features or another model.
                if begun or is_last:
                    raise
                before = known
                if self._known is before:
                    self._known = None
                known = await self._capabilities()
                if known == before:
                    raise

    async def _write(
        self, known: Capabilities, episode: Episode, max_tokens: int
    ) -> AsyncGenerator[Chunk, None]:
        ids: list[int] = []

        async def encode(text: str, opening: bool) -> list[int]:
            return await self._encode(known, text, opening)

        async def count() -> int:
            nonlocal ids
            if not known.takes_ids:
                return estimated(episode.prompt)
            ids = await prompt_ids(episode, encode)
            return len(ids)

        room = await make_room(episode, known.context, max_tokens, count)
        if room == 0:
            yield Chunk("", finish="length")
            return
        if known.takes_ids and not ids:
            await count()
        request = {
            "model": known.model,
            **_transcript(known, episode, ids),
            **known.options,
            "stop": list(STOP),
            "stream": True,
            "max_tokens": room,
            "temperature": self._temperature,
        }
        text, counted, prompt = "", 0, episode.prompt
        # Reported with the first chunk: the last one is not read when the action comes before it.
        expected = unreported = len(ids) if known.takes_ids else estimated(prompt)
        stream = pieces(self._server, known.path, request, prompt_text=prompt)
        async with aclosing(stream) as written:
            async for piece in written:
                choice = piece.choice
                new = choice.written
                sampled = tuple(choice.token_ids or ()) if known.tells_ids else ()
                text += new
                tokens = len(sampled) if known.tells_ids else int(bool(new))
                counted += tokens
                if known.tells_ids and new and not counted:
                    raise self._server.bad_reply("sent text without its tokens")
                if choice.finish_reason:
                    if piece.usage is not None:
                        tokens += max((piece.usage.completion_tokens or counted) - counted, 0)
                        unreported += (piece.usage.prompt_tokens or expected) - expected
                    if choice.finish_reason == "stop":
                        yield Chunk(new + _trimmed_stop(choice, text), tokens, "stop", sampled, unreported)
                    else:
                        yield Chunk(new, tokens, "length", sampled, unreported)
                elif new or sampled:
                    yield Chunk(new, tokens, None, sampled, unreported)
                    unreported = 0

    async def check(self) -> str:
        """See Policy. Tries once, within the time allowed for one request."""
        async with self._server.check_deadline():
            self._known = None
            known = await self._capabilities(retries=0)
        return str(known)

    async def aclose(self) -> None:
        """See Policy."""
        await self._server.aclose()

    async def _capabilities(self, retries: int | None = None) -> Capabilities:
        failed_before = self._failed
        async with self._probing:
            if self._known is None and self._failed is not None and self._failed is not failed_before:
                # Probing failed while this episode waited; waiting again would end the same way.
                raise EngineError(self._failed.fault, str(self._failed))
            if self._known is None:
                try:
                    known = await probe(self._server, retries)
                    self._known = replace(known, context=self._context or known.context)
                except EngineError as error:
                    # A check gives up early; that proves nothing for episodes, which retry.
                    self._failed = error if retries is None else self._failed
                    raise
            return self._known

    async def _encode(self, known: Capabilities, text: str, opening: bool) -> list[int]:
        assert known.encodes is not None
        plain = await self._server.controls.broken(text)
        return await tokens_of(self._server, known.encodes, plain, opening=opening)


def _transcript(known: Capabilities, episode: Episode, ids: list[int]) -> dict[str, Any]:
    if known.takes_ids:
        return {"prompt": ids}
    if known.path != CHAT:
        return {"prompt": episode.prompt}
    opening, *rest = (segment.text for segment in episode.segments)
    messages = [{"role": "user", "content": opening}]
    if not rest:
        return {"messages": messages}
    messages.append({"role": "assistant", "content": "".join(rest)})
    return {"messages": messages, **known.continuing}


def _trimmed_stop(choice: Choice, text: str) -> str:
    """The stop string that the engine removed from the end of the turn's `text`, or ''.

    vLLM reports it as `stop_reason`; there, null or a token id means that the model stopped by itself, and
    nothing is restored, as in training. For other servers it can only be inferred.
    """
    if "stop_reason" in choice.model_fields_set:
        stop = next((stop for stop in STOP if stop == choice.stop_reason), "")
    else:
        stop = missing_close(text)
    return "" if text.endswith(stop) else stop
