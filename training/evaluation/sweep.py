"""Robustness: the same questions for methods × numbers of passages × retrievers, each cell a run of its own.

A run's folder is that of `pr2 evaluate`, so a sweep that was killed goes on where it stopped, and a cell can
be reported, continued or compared alone.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from agent.methods import METHODS
from training.errors import TrainingError
from training.evaluation.runs import RunOutcome


class InvalidSweep(TrainingError, ValueError):
    """There is nothing to compare; the message says why."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    method: str
    retriever: str
    top_k: int

    def folder(self, out: Path) -> Path:
        """The run's folder in that of the sweep."""
        return out / f"{self.method}-{self.retriever}-k{self.top_k}"


Failures = Mapping[Cell, str]
"""The cells without a score, and why."""


def cells_of(methods: Sequence[str], retrievers: Sequence[str], top_ks: Sequence[int]) -> list[Cell]:
    """The cells, method by method. Raises InvalidSweep for methods that cannot be compared over passages."""
    for name in methods:
        if name in METHODS and not METHODS[name].reads:
            raise InvalidSweep(f"{name} reads no passages, so its score does not depend on them")
    if len(set(methods)) < 2 or not retrievers or not top_ks:
        raise InvalidSweep("a sweep takes at least two methods, a retriever and a number of passages")
    combined = product(dict.fromkeys(methods), dict.fromkeys(retrievers), dict.fromkeys(sorted(top_ks)))
    return [Cell(*one) for one in combined]


async def run_cells(
    cells: Iterable[Cell],
    run: Callable[[Cell], Awaitable[RunOutcome]],
    explain: Callable[[Exception], str | None],
) -> Failures:
    """Run the cells one after the other. A cell that fails stops no other.

    `explain` gives the message of an expected error; what it does not know is raised.
    """
    failures: dict[Cell, str] = {}
    for cell in cells:
        try:
            outcome = await run(cell)
        except Exception as error:
            if (why := explain(error)) is None:
                raise
            failures[cell] = why
        else:
            if outcome.failed:
                why = next(iter(outcome.failed.values()))
                failures[cell] = f"{len(outcome.failed)} questions are still owed ({why})"
    return failures
