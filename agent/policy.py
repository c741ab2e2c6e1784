"""The seam between an episode and whatever writes its next text."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from agent.episode import Episode

STREAM_INTERVAL = 8
"""Tokens that an engine sends at a time, where it can be asked to, after the first one. To read each token
by itself costs several times more, and at 50 tokens a second nobody sees it."""


@dataclass(frozen=True)
class Chunk:
    """A piece of policy text. The last chunk of a turn carries `finish`."""

    text: str
    tokens: int = 0
    finish: Literal["stop", "length"] | None = None
    token_ids: tuple[int, ...] = ()
    """The sampled tokens, from a policy that works with tokens; the text of a turn may lag behind them."""
    prompt_tokens: int = 0
    """Tokens that were read for this turn; all of its chunks together say how many."""
    invalid: str = ""
    """Why the turn cannot be used, where its text cannot show it."""


class Policy(Protocol):
    """Writes one turn at a time, stopping after `</search>` or `</answer>`.

    Closing the iterator cancels the generation. Raises EngineError.
    """

    @property
    def name(self) -> str: ...

    def generate(self, episode: "Episode", max_tokens: int) -> AsyncGenerator[Chunk, None]: ...

    async def check(self) -> str:
        """Produce one token, to show that the policy is ready. Raises EngineError.

        Returns what was found out about its engine, in words for whoever runs the service.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections and processes."""
        ...
