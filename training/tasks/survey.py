"""Reads a data set once for everything that has to be known about it before it is used."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from training.evaluation.task import dataset_hash
from training.tasks.datasets import Questions
from training.tasks.errors import InvalidRecord, Skip
from training.tasks.lampqa.data import Question

Check = Callable[[int, Question], None]
"""Raises InvalidRecord for a question that cannot be used; its number counts from 1."""


@dataclass(frozen=True)
class Survey:
    """Questions that can be used, how many they are, and their `dataset_hash`."""

    questions: Questions
    count: int
    digest: str


def survey(questions: Questions, check: Check | None = None, skip: Skip | None = None) -> Survey:
    """Read the questions once and leave out those that fail the check.

    `skip` is called with each failure; without it, the first one is raised.
    """
    count = 0
    left_out = set()

    def usable() -> Iterator[Question]:
        nonlocal count
        for number, question in enumerate(questions(), 1):
            try:
                if check is not None:
                    check(number, question)
            except InvalidRecord as fault:
                if skip is None:
                    raise
                skip(fault)
                left_out.add(question.id)
            else:
                count += 1
                yield question

    digest = dataset_hash(usable())
    return Survey(
        lambda: (question for question in questions() if question.id not in left_out), count, digest
    )
