"""The seam between an episode and whatever writes its next text."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from agent.episode import Episode
from agent.trajectory import PolicyFault


class PolicyError(Exception):
    """The policy could not write. `fault` says how: the server maps it to a status."""

    def __init__(self, fault: PolicyFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True)
class Chunk:
    """A piece of policy text. The last chunk of a turn carries `finish`."""

    text: str
    tokens: int = 0
    finish: Literal["stop", "length"] | None = None


class Policy(Protocol):
    """Writes one turn at a time, stopping after `</search>` or `</answer>`.

    Closing the iterator cancels the generation. Raises PolicyError.
    """

    @property
    def name(self) -> str: ...

    def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]: ...

    async def check(self) -> None:
        """Produce one token, to show that the policy is ready. Raises PolicyError."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and processes."""
        ...
