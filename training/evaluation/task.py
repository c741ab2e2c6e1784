"""The seam between evaluation and what is evaluated on: a task has questions, and metrics score responses.

Adding a task is adding a class with these methods to training/tasks and registering it there.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from pydantic import TypeAdapter

from training.evaluation.records import Assessment, Record
from training.evaluation.summary import CategoryScore
from training.judging.judge import Judge

Direction = Literal["higher", "lower"]
"""Which scores of a metric are better."""
Records = Callable[[], Iterator[Record]]
"""Reads a run's records from the first to the last each time it is called."""

_JSON: TypeAdapter[Any] = TypeAdapter(Any)
"""Serializes pydantic models and dataclasses alike."""


class Item(Protocol):
    """One document of a profile."""

    @property
    def id(self) -> str: ...

    @property
    def text(self) -> str: ...


class Question(Protocol):
    """One question of a task, with the documents of the person who asks it."""

    @property
    def id(self) -> str: ...

    @property
    def category(self) -> str:
        """Scores are averaged within a category, then over the categories."""
        ...

    @property
    def question(self) -> str:
        """The text that is asked."""
        ...

    @property
    def profile(self) -> Sequence[Item]: ...


Q = TypeVar("Q", bound=Question)
Q_contra = TypeVar("Q_contra", bound=Question, contravariant=True)


@dataclass(frozen=True)
class Score:
    """A metric's result for one response."""

    value: float | None
    """None if it could not be determined, which is counted and never taken as 0."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON values that explain it, kept in the record. Names are not those of a record's own fields."""


class Metric(Protocol[Q_contra]):
    """Scores one response, and many."""

    @property
    def name(self) -> str: ...

    @property
    def direction(self) -> Direction: ...

    @property
    def configuration(self) -> Mapping[str, Any]:
        """JSON values that the scores depend on, such as the judge, for the run's manifest."""
        ...

    async def score(self, question: Q_contra, response: str) -> Score:
        """Score the response, which is empty if there was no answer."""
        ...

    def aggregate(self, records: Iterable[Record]) -> CategoryScore:
        """The score of one category's records; see `mean_score`."""
        ...


class Task(Protocol[Q]):
    """Questions with their references, their metrics, and the files that their field expects of a run."""

    @property
    def name(self) -> str: ...

    def split(self, name: str) -> str | None:
        """The full name of the split that `name` means; None if the data have no splits of their own.

        Raises DataError if they have, and none of that name.
        """
        ...

    def read(
        self, categories: Sequence[str], split: str, skip: Callable[[Any], None] | None = None
    ) -> Iterator[Q]:
        """The questions of these categories (all, if none is given) and this split.

        Raises DataError. With `skip`, which is called with the error, an invalid record is left out instead.
        """
        ...

    def metrics(self, judge: Judge) -> Sequence[Metric[Q]]:
        """The metrics, the main one first. `judge` is for those that need one."""
        ...

    def plan(self, question: Q) -> Sequence[str]:
        """The points of an ideal answer, for the method planpers-oracle; empty if the task has none."""
        ...

    def write(self, folder: Path, records: Records) -> None:
        """Write a run's responses and scores to the folder, in the task's own formats."""
        ...


async def assess(metrics: Sequence[Metric[Q]], question: Q, response: str) -> Assessment:
    """Score a response by every metric."""
    scores: dict[str, float | None] = {}
    details: dict[str, Any] = {}
    for metric in metrics:
        score = await metric.score(question, response)
        scores[metric.name] = score.value
        details |= score.details
    return Assessment(scores, details)


def dataset_hash(questions: Iterable[Question]) -> str:
    """sha256, in hex, of the questions in their order; fields beyond their schema do not count."""
    digest = hashlib.sha256()
    for question in questions:
        content = json.dumps(_JSON.dump_python(question, mode="json"), sort_keys=True, separators=(",", ":"))
        digest.update(content.encode() + b"\n")
    return digest.hexdigest()
