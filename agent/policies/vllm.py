"""The policy that runs its model in this process with vLLM: for one machine with a GPU and no second server.

The transcript is carried as token ids, and vLLM's prefix cache keeps what earlier turns computed.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from agent.engines.vllm import VLLMEngine
from agent.episode import Episode
from agent.policy import STREAM_INTERVAL, Chunk
from agent.tags import STOP
from agent.tokens import make_room, prompt_ids


class VLLMPolicy:
    """Writes the tags with the model of `engine`, at the given temperature. `check` waits for the engine."""

    def __init__(self, engine: VLLMEngine, temperature: float = 0.0) -> None:
        self.name = f"vllm:{engine.name}"
        self.engine = engine
        self._temperature = temperature

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        """See Policy. Closing the iterator aborts the request in the engine."""
        ids: list[int] = []

        async def count() -> int:
            nonlocal ids
            ids = await prompt_ids(episode, self._encode)
            return len(ids)

        room = await make_room(episode, await self.engine.context(), max_tokens, count)
        if room == 0:
            yield Chunk("", finish="length")
            return
        written = self.engine.write(
            ids,
            temperature=self._temperature,
            max_tokens=room,
            stop=list(STOP),
            include_stop_str_in_output=True,
            stream_interval=STREAM_INTERVAL,
        )
        async with aclosing(written) as parts:
            unreported = len(ids)
            async for part in parts:
                sampled = tuple(part.token_ids)
                yield Chunk(part.text, len(sampled), part.finish_reason, sampled, unreported)
                unreported = 0

    async def check(self) -> str:
        """See Policy. Starts the engine and generates one token."""
        context = await self.engine.context()
        async with aclosing(self.generate(Episode("?"), 1)) as chunks:
            async for _ in chunks:
                pass
        return f"vLLM in process, context {context} tokens, token ids"

    async def aclose(self) -> None:
        """Stop the engine."""
        await self.engine.aclose()

    async def _encode(self, text: str, opening: bool) -> list[int]:
        return (await self.engine.text_tokenizer()).encode(text, opening)
