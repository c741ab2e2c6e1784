"""Runs a proof of learning: a training in each process, tables, and the claims that do not hold."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar


class Outcome(Protocol):
    """The measures of one training."""

    def __str__(self) -> str:
        """Name the training, and say the most important figure if one fits the line."""
        ...

    def shortfalls(self) -> Iterator[str]:
        """Claims that do not hold."""
        ...


TaskT = TypeVar("TaskT")
OutcomeT = TypeVar("OutcomeT", bound=Outcome)


def prove(
    write_encoder: Callable[[Path], object],
    learn: Callable[[Path, TaskT], OutcomeT],
    tasks: Sequence[TaskT],
    tables: Callable[[Sequence[OutcomeT]], str],
) -> int:
    """Train once for each task, from an encoder written to a folder, and print tables of the outcomes.

    `learn` gets that folder and a task, in a process of its own, so both have to be picklable. Returns 0 if
    all claims hold; else prints those that do not and returns 1.
    """
    began = time.monotonic()
    outcomes: list[OutcomeT] = []
    with (
        TemporaryDirectory() as place,
        ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as processes,
    ):
        encoder = Path(place) / "small"
        write_encoder(encoder)
        for outcome in processes.map(learn, [encoder] * len(tasks), tasks):
            outcomes.append(outcome)
            print(f"{len(outcomes)} of {len(tasks)}: {outcome}", file=sys.stderr, flush=True)
    print(tables(outcomes))
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes")
    missing = [words for outcome in outcomes for words in outcome.shortfalls()]
    for words in missing:
        print(words, file=sys.stderr)
    return bool(missing)
