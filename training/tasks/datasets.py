"""Selects questions from data sets, and splits them for training and validation."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from training.evaluation.profiles import user_of
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
    dataset: str, validation: Path | None, most: int | None, seed: int, skip: Skip | None = None
) -> tuple[dict[Part, Questions], str]:
    """The questions to train on and to validate with, and a description of how they were split.

    LaMP-QA has its own split; of other data, the questions of a tenth of the profiles are for validation.
    """

    def part(questions: Questions, keep: Callable[[Question], bool] = lambda question: True) -> Questions:
        return lambda: islice(filter(keep, questions()), most)

    every = questions_of(dataset, [], "train", None, skip)
    if validation is not None or task_named(dataset).split("validation"):
        named = str(validation or dataset)
        other = questions_of(named, [], "validation", None, skip)
        split = named if validation else "LaMP-QA's own split"
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
