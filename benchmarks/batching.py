"""Continuous batching in virtual time: how long an engine takes for many concurrent turns.

The simulated engine runs it in real time; `finishes` uses it to compute the time of an ideal client, the
bound that benchmarks compare with.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Generic, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from index.documents import first_fault

PARAMETERS = Path(__file__).with_name("data") / "engine.json"
SHORTEST_TURN = 24
"""Minimum tokens of a turn: tags and an action."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Parameters(BaseModel, extra="forbid", frozen=True):
    """The latency model and the script. `about` in the file explains the values."""

    about: str = ""
    first_token_s: Seconds
    prompt_token_s: Seconds
    prompt_tokens_per_step: Count
    step_s: list[tuple[Count, Annotated[float, Field(gt=0, allow_inf_nan=False)]]] = Field(min_length=1)
    max_batch: Count
    stream_interval: Count = 1
    turn_tokens: list[Annotated[int, Field(ge=SHORTEST_TURN)]] = Field(min_length=1)
    spread: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _curve(self) -> Self:
        batches = [batch for batch, _ in self.step_s]
        if any(after <= before for before, after in pairwise(batches)):
            raise ValueError("step_s: batches must increase")
        if batches[0] != 1 or batches[-1] < self.max_batch:
            raise ValueError(f"step_s must cover 1 to max_batch ({self.max_batch})")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the parameters. Raises ValueError, naming the file and the fault."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        except ValidationError as error:
            raise ValueError(f"{path}: {first_fault(error)}") from None

    def step(self, batch: int) -> float:
        """Seconds per step with `batch` running streams."""
        right = bisect_left(self.step_s, (batch, 0.0))
        after, slow = self.step_s[right]
        if after == batch:
            return slow
        before, fast = self.step_s[right - 1]
        return fast + (slow - fast) * (batch - before) / (after - before)


@dataclass(eq=False)
class Stream:
    """One turn: prompt tokens that the engine must read, and tokens to write."""

    prompt_tokens: int
    tokens: int
    written: int = 0

    @property
    def done(self) -> bool:
        return self.written >= self.tokens


S = TypeVar("S", bound=Stream)


class Batch(Generic[S]):
    """Continuous batching on a virtual clock, which only `advance` moves.

    `due` is the time of the next change, and `advance` makes it: a step begins, or it ends and every running
    stream has one more token.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._step = [0.0, *(parameters.step(batch) for batch in range(1, parameters.max_batch + 1))]
        self._waiting: deque[tuple[float, S]] = deque()
        self._running: dict[S, None] = {}
        self._clock = 0.0
        self._in_step: list[S] | None = None

    @property
    def due(self) -> float | None:
        """Time of the next change; None if there is nothing to do."""
        if self._in_step is not None or self._running:
            return self._clock
        return max(self._clock, self._waiting[0][0]) if self._waiting else None

    def submit(self, stream: S, at: float) -> None:
        """Add a request. Requests must be added in the order of their arrival."""
        self._waiting.append((at + self._parameters.first_token_s, stream))

    def cancel(self, stream: S) -> None:
        """Remove the request of a client that has left."""
        self._running.pop(stream, None)
        self._waiting = deque(waiting for waiting in self._waiting if waiting[1] is not stream)

    def advance(self) -> list[S]:
        """Make the change that is due. Returns the streams that gained a token."""
        if self._in_step is None:
            self._begin()
            return []
        written = [stream for stream in self._in_step if stream in self._running]
        self._in_step = None
        for stream in written:
            stream.written += 1
            if stream.done:
                del self._running[stream]
        return written

    def _begin(self) -> None:
        if (due := self.due) is None:
            return
        read = 0
        while self._waiting and len(self._running) < self._parameters.max_batch:
            ready, stream = self._waiting[0]
            if ready > due or (
                read and read + stream.prompt_tokens > self._parameters.prompt_tokens_per_step
            ):
                break
            self._waiting.popleft()
            self._running[stream] = None
            read += stream.prompt_tokens
        self._clock = due + self._step[len(self._running)] + read * self._parameters.prompt_token_s
        self._in_step = list(self._running)


def finishes(parameters: Parameters, episodes: Sequence[Sequence[tuple[int, int]]]) -> list[list[float]]:
    """End times of every turn of every episode, for a client that takes no time between turns.

    A turn is (prompt tokens, tokens to write); all episodes begin at 0. The latest end is the bound.
    """
    batch: Batch[Stream] = Batch(parameters)
    ends: list[list[float]] = [[] for _ in episodes]
    owner: dict[Stream, int] = {}

    def submit(number: int, at: float) -> None:
        if len(ends[number]) < len(episodes[number]):
            stream = Stream(*episodes[number][len(ends[number])])
            owner[stream] = number
            batch.submit(stream, at)

    for number in range(len(episodes)):
        submit(number, 0.0)
    while (now := batch.due) is not None:
        for stream in batch.advance():
            if stream.done:
                number = owner.pop(stream)
                ends[number].append(now)
                submit(number, now)
    return ends
