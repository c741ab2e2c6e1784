"""A policy that writes what it is told to: answers without a model, and failures on demand."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from agent.engines.errors import EngineError
from agent.episode import Episode
from agent.policy import Chunk
from agent.trajectory import Search

Piece = str | Exception
"""What is streamed, or in its place the failure that is raised."""


class ScriptedPolicy:
    """One turn for each round of an episode; every episode starts with the first, the last one repeats.

    A turn is its text, or the pieces in which it comes, each after `delay_s`. `cancelled` holds the
    questions whose generation was stopped before the turn was over.
    """

    name = "scripted"

    def __init__(self, turns: Sequence[str | Sequence[Piece]], delay_s: float = 0.0) -> None:
        self.turns = turns
        self.delay_s = delay_s
        self.cancelled: list[str] = []
        self.check_fault: EngineError | None = None
        self.checks = 0

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
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
            # Closed after an action, which ends the turn anyway, it has lost nothing.
            if episode.pending is None and episode.finish_reason is None:
                self.cancelled.append(episode.question)
            raise

    async def check(self) -> str:
        self.checks += 1
        if self.check_fault is not None:
            raise self.check_fault
        return "scripted"

    async def aclose(self) -> None:
        """Holds nothing."""
