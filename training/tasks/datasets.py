"""Selects questions from data sets, and splits them for training and validation."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from training.evaluation.profiles import user_of
from training.evaluation.task import Task
from training.tasks import task_named
from training.tasks.errors import DataError, Skip
from training.tasks.lampqa.data import Question

Questions = Callable[[], Iterator[Question]]
Part = Literal["train", "validation"]
_VALIDATION = 0.1


def questions_of(
    dataset: str, categories: list[str], split: str, most: int | None, skip: Skip | None = None
) -> Questions:
    """Return a function that reads the data set from the beginning each time it is called.

    `skip` is called with the error of each invalid record; without it, the error is raised.
    """
    task = task_named(dataset)
    return lambda: islice(task.read(categories, split, skip), most)


def parts_of(
    dataset: str | Task[Any],
    validation: Path | None,
    most: int | None,
    seed: int,
    skip: Skip | None = None,
) -> tuple[dict[Part, Questions], str]:
    """The questions to train on and to validate with, and a description of how they were split.

    Published data have their own split; of other data, the questions of a tenth of the profiles are for
    validation.
    """
    task = task_named(dataset) if isinstance(dataset, str) else dataset

    def part(questions: Questions, keep: Callable[[Question], bool] = lambda question: True) -> Questions:
        return lambda: islice(filter(keep, questions()), most)

    def every() -> Iterator[Any]:
        return task.read([], "train", skip)

    if validation is not None or task.split("validation"):
        held_back = task if validation is None else task_named(str(validation))
        owner = "LaMP-QA" if task.name == "lamp-qa" else task.name
        split = str(validation) if validation else f"{owner}'s own split"

        def other() -> Iterator[Any]:
            return held_back.read([], "validation", skip)

        return {"train": part(every), "validation": part(other)}, split
    people = {user_of(question) for question in every()}
    held = held_out(people, seed)
    return {
        "train": part(every, lambda question: user_of(question) not in held),
        "validation": part(every, lambda question: user_of(question) in held),
    }, f"all of {len(held)} of the {len(people)} profiles, drawn with seed {seed}"


def held_out(people: Iterable[str], seed: int) -> frozenset[str]:
    """Choose a tenth of the people, at least one, for validation. Raises DataError if there is only one."""
    ordered = sorted(set(people), key=lambda person: hashlib.sha256(f"{seed} {person}".encode()).digest())
    if len(ordered) < 2:
        raise DataError(
            "all questions have the same profile, so nobody is left to validate with: give --validation FILE"
        )
    return frozenset(ordered[: max(1, round(len(ordered) * _VALIDATION))])
