"""One call for many callers: what concurrent requests ask for is done in one batch."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Together(Generic[In, Out]):
    """Hands items that come at the same time to `work` together; one result or exception for each.

    Whoever finds `work` free takes along all that has gathered meanwhile: a lone caller never waits for
    company, and a crowd costs one batch. When `work` raises, every caller of the batch hears of it.
    """

    def __init__(self, work: Callable[[Sequence[In]], Sequence[Out | Exception]]) -> None:
        self._work = work
        self._gathered: list[_Waiting[In, Out]] = []
        self._gathering = threading.Lock()
        self._working = threading.Lock()

    def __call__(self, item: In) -> Out:
        waiting: _Waiting[In, Out] = _Waiting(item)
        with self._gathering:
            self._gathered.append(waiting)
        with self._working:
            if waiting.outcome is None:
                with self._gathering:
                    batch, self._gathered = self._gathered, []
                self._do(batch)
        assert waiting.outcome is not None
        (outcome,) = waiting.outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _do(self, batch: "Sequence[_Waiting[In, Out]]") -> None:
        outcomes: Sequence[Out | Exception]
        try:
            outcomes = self._work([waiting.item for waiting in batch])
        except Exception as error:
            outcomes = [error for _ in batch]
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.outcome = (outcome,)


@dataclass
class _Waiting(Generic[In, Out]):
    item: In
    outcome: tuple[Out | Exception] | None = None
