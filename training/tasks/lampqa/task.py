"""LaMP-QA as a task, for its published data and for any data in its format."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.evaluation.records import RESPONSES, SCORES
from training.evaluation.task import Metric, Records
from training.judging.judge import Judge
from training.judging.rubric import RubricMetric
from training.tasks.errors import Skip
from training.tasks.lampqa.data import CATEGORIES, Question, category_named, read, split_named
from training.tasks.lampqa.files import write_responses, write_scores
from training.tasks.lampqa.hub import from_hub

Source = Callable[[Sequence[str], str, Skip | None], Iterator[Question]]
"""Reads the questions of some categories (all, for none) and a split; it may read those of others too."""


@dataclass(frozen=True)
class LampQA:
    """Open questions whose answers are judged by the rubric of each question (see Task)."""

    name: str
    source: Source
    has_splits: bool = False

    def split(self, name: str) -> str | None:
        """See Task. A beginning of the name is enough."""
        return split_named(name) if self.has_splits else None

    def read(self, categories: Sequence[str], split: str, skip: Skip | None = None) -> Iterator[Question]:
        """See Task. Beginnings of the categories' names are enough."""
        wanted = sorted({category_named(category) for category in categories})
        found = self.source(wanted, split, skip)
        return (question for question in found if not wanted or question.category in wanted)

    def metrics(self, judge: Judge) -> Sequence[Metric[Question]]:
        """See Task."""
        return (RubricMetric(judge),)

    def plan(self, question: Question) -> Sequence[str]:
        """See Task: the rubric's aspects."""
        return [aspect.aspect for aspect in question.rubric_aspects]

    def write(self, folder: Path, records: Records) -> None:
        """See Task: responses.json and scores.json, as published."""
        write_responses(folder / RESPONSES, records())
        write_scores(folder / SCORES, records())


def published(categories: Sequence[str], split: str, skip: Skip | None) -> Iterator[Question]:
    """The data set on the Hugging Face Hub."""
    for category in categories or sorted(CATEGORIES):
        yield from from_hub(category, split, skip=skip)


def from_file(dataset: str) -> LampQA:
    """The data in a file of LaMP-QA's format, named by its path."""

    def source(categories: Sequence[str], split: str, skip: Skip | None) -> Iterator[Question]:
        # A published part may name its categories otherwise: a single category that is asked for is its own.
        category = categories[0] if len(categories) == 1 else None
        return read(Path(dataset), category=category, skip=skip)

    return LampQA(dataset, source)
