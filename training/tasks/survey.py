"""Reads a data set once for everything that has to be known about it before it is used."""

from collections.abc import Iterator
from dataclasses import dataclass

from training.evaluation.task import dataset_hash
from training.tasks.datasets import Questions
from training.tasks.lampqa.data import Question


@dataclass(frozen=True)
class Survey:
    """Questions, how many they are, and their `dataset_hash`."""

    questions: Questions
    count: int
    digest: str


def survey(questions: Questions) -> Survey:
    """Read the questions once. Raises DataError."""
    count = 0

    def counted() -> Iterator[Question]:
        nonlocal count
        for question in questions():
            count += 1
            yield question

    digest = dataset_hash(counted())
    return Survey(questions, count, digest)
