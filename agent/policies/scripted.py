"""A policy for tests: it writes scripted turns and raises scripted failures, without a model.

Use it to test code that is built on the service or the driver; it needs no network and no weights.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from agent.engines.errors import EngineError
from agent.episode import Episode
from agent.policy import Chunk
from agent.trajectory import Search

Piece = str | Exception
"""A piece of text to stream, or an exception to raise in its place."""


class ScriptedPolicy:
    """Writes one of `turns` in each round of an episode.

    Every episode starts with the first turn; after the last one, that one is repeated. A turn is a string, or
    the pieces in which it is streamed, each after `delay_s` seconds and counted as one token. `cancelled`
    lists the questions whose generation was stopped before the turn was over. `checks` counts the calls of
    `check`, which raises `check_fault` if that is set.
    """

    name = "scripted"

    def __init__(self, turns: Sequence[str | Sequence[Piece]], delay_s: float = 0.0) -> None:
        self.turns = turns
        self.delay_s = delay_s
        self.cancelled: list[str] = []
        self.check_fault: EngineError | None = None
        self.checks = 0
        self.started = asyncio.Event()
        """Set once a turn has begun."""

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        """See Policy. `max_tokens` is ignored: the driver enforces the limit."""
        self.started.set()
        searched = sum(isinstance(step, Search) for step in episode.steps)
        turn = self.turns[min(searched, len(self.turns) - 1)]
        pieces: Sequence[Piece] = [turn] if isinstance(turn, str) else turn
        try:
            for number, piece in enumerate(pieces, 1):
                await asyncio.sleep(self.delay_s)
                if isinstance(piece, Exception):
                    raise piece
                yield Chunk(piece, tokens=1, finish="stop" if number == len(pieces) else None)
        except (asyncio.CancelledError, GeneratorExit):
            # Closed after the action that ended the turn, the policy has lost nothing.
            if episode.pending is None and episode.finish_reason is None:
                self.cancelled.append(episode.question)
            raise

    async def check(self) -> str:
        """See Policy. Raises `check_fault` if that is set."""
        self.checks += 1
        if self.check_fault is not None:
            raise self.check_fault
        return "scripted"

    async def aclose(self) -> None:
        """Nothing to release."""
