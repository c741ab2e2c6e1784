"""LaMP as tasks of an evaluation: the made sample, published data, or files of the same layout."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.evaluation.records import RESPONSES, SCORES
from training.evaluation.task import Metric, Records
from training.judging.judge import Judge
from training.tasks.errors import DatasetUnavailable, Skip
from training.tasks.lamp.data import Question, parse_question, read_questions
from training.tasks.lamp.files import write_outputs, write_scores
from training.tasks.lamp.metrics import metrics_of
from training.tasks.lamp.sample import records
from training.tasks.lamp.schemas import SCHEMAS
from training.tasks.lamp.sources import (
    Downloads,
    Files,
    PublishedFiles,
    Separation,
    local_files,
    published_files,
    split_named,
)

SAMPLE, LAMP = "lamp-sample", "lamp"
"""The names of the made data and of the published data."""

Source = Callable[[str, Skip | None, bool], Iterator[Question]]
"""Reads the questions of a split; the last argument says whether references are needed."""


@dataclass(frozen=True)
class Lamp:
    """One of LaMP's tasks (see Task)."""

    name: str
    number: int
    source: Source
    has_splits: bool = False

    def split(self, name: str) -> str | None:
        """See Task. `validation` is dev."""
        return split_named(name) if self.has_splits else None

    def read(self, categories: Sequence[str], split: str, skip: Skip | None = None) -> Iterator[Question]:
        """See Task. All questions are of one category, the task's published name."""
        found = self.source(split, skip, True)
        return (question for question in found if not categories or question.category in categories)

    def inputs(self, split: str, skip: Skip | None = None) -> Iterator[Question]:
        """The questions, also where no references are published: they are empty then. Raises DataError."""
        return self.source(split, skip, False)

    def metrics(self, judge: Judge) -> Sequence[Metric[Question]]:
        """See Task. No judge is needed."""
        return metrics_of(self.number)

    def plan(self, question: Question) -> Sequence[str]:
        """See Task: there are no plans."""
        return ()

    def write(self, folder: Path, records: Records) -> None:
        """See Task: responses.json, the predictions as published, and scores.json."""
        write_outputs(folder / RESPONSES, self.number, ((one.id, one.response) for one in records()))
        write_scores(folder / SCORES, self.number, records)


def lamp_task(
    dataset: str,
    number: int,
    *,
    separation: Separation | None = None,
    dates: bool = False,
    downloads: Downloads | None = None,
) -> Lamp:
    """A task on a data set: `lamp-sample`, `lamp` (the published data), or a path (see `local_files`).

    `separation` is by time if it is not given, and a folder does not hold both. `dates` appends dates to the
    text that retrievers see.
    """
    if number not in SCHEMAS:
        raise DatasetUnavailable(f"LaMP has no task {number}; there are 1 to {len(SCHEMAS)}")

    def from_files(files: Files, skip: Skip | None, needs_outputs: bool) -> Iterator[Question]:
        if needs_outputs and files.outputs is None:
            raise DatasetUnavailable(
                f"{files.questions}: there are no outputs for it; those of test are not published"
            )
        return read_questions(number, files.questions, files.outputs, dates=dates, skip=skip)

    def made(split: str, skip: Skip | None, needs_outputs: bool) -> Iterator[Question]:
        for position, (record, output) in enumerate(records(number), 1):
            yield replace(parse_question(number, record, dataset, position, dates=dates), output=output)

    def published(split: str, skip: Skip | None, needs_outputs: bool) -> Iterator[Question]:
        files = published_files(number, split, separation or "time", downloads or PublishedFiles())
        yield from from_files(files, skip, needs_outputs)

    def local(split: str, skip: Skip | None, needs_outputs: bool) -> Iterator[Question]:
        yield from from_files(local_files(Path(dataset), number, split, separation), skip, needs_outputs)

    if dataset == SAMPLE:
        return Lamp(f"{SAMPLE}-{number}", number, made)
    if dataset == LAMP:
        return Lamp(f"{LAMP}-{number}-{separation or 'time'}", number, published, has_splits=True)
    return Lamp(dataset, number, local, has_splits=not Path(dataset).is_file())
