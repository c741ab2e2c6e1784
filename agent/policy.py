"""The interface between an episode and the policy that writes its next text."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from agent.episode import Episode

STREAM_INTERVAL = 8
"""Tokens per event of a stream, after the first, for engines with such an option. Reading each token
separately costs several times more, and at 50 tokens a second nobody sees the difference."""


@dataclass(frozen=True)
class Chunk:
    """A piece of policy text. The last chunk of a turn has a `finish`."""

    text: str
    tokens: int = 0
    finish: Literal["stop", "length"] | None = None
    token_ids: tuple[int, ...] = ()
    """The sampled tokens, from policies that work with tokens; the text may lag behind them."""
    prompt_tokens: int = 0
    """Prompt tokens of this turn; its chunks add up to the total."""
    invalid: str = ""
    """Why the turn is invalid, if its text does not show it; else ''."""


class Policy(Protocol):
    """Writes one turn at a time, stopping after `</search>` or `</answer>`.

    Closing the iterator cancels the generation. Raises EngineError.
    """

    @property
    def name(self) -> str: ...

    def generate(self, episode: "Episode", max_tokens: int) -> AsyncGenerator[Chunk, None]: ...

    async def check(self) -> str:
        """Produce one token, to show that the policy is ready. Raises EngineError.

        Returns a description of its engine, for the operator of the service.
        """
        ...

    async def aclose(self) -> None:
        """Close connections and end processes."""
        ...
