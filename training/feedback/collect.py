"""Collects feedback: for each question and each of its first documents, the utility of that document alone.

Questions are lines of a journal, which alone counts; the folder's feedback is made from it, in the order of
the data set. What failed is owed again. So a killed run ends with the same files as one that was not killed.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol

from pydantic import TypeAdapter, ValidationError

from index.documents import first_fault
from training.errors import TrainingError
from training.evaluation.runs import each
from training.evaluation.task import Item, Q
from training.feedback.records import ENCODER, TASK, Feedback, InvalidFeedback, Judged, write_feedback
from training.feedback.utility import NoUtility, Utility
from training.folder import cut_torn_line, locked, pin_configuration

CONFIGURATION, JOURNAL = "configuration.json", "journal.jsonl"
DOCUMENTS = 16
"""The published number of documents per question, a limit of cost (arXiv 2404.05970)."""

_FEEDBACK: TypeAdapter[Feedback] = TypeAdapter(Feedback)


class NothingToCollect(TrainingError, ValueError):
    """There is no question with a document to collect feedback on."""


@dataclass(frozen=True)
class Source(Generic[Q]):
    """The questions of a task, and how the retriever sees them."""

    task: str
    questions: Callable[[], Iterable[Q]]
    """Reads them from the first each time it is called. Raises DataError."""
    query: Callable[[Q], str]
    """The text that is searched for."""
    user: Callable[[Q], str]
    """Identifies the person who asks."""
    ranked: Callable[[Q], Awaitable[Sequence[Item]]]
    """The first documents of the initial ranking, best first, with the texts that the retriever sees."""
    encoder: Mapping[str, Any] | None
    """The manifest of the encoder that made the ranking; None if none did."""


class Watcher(Protocol):
    """Is notified of the progress of a collection."""

    def started(self, questions: int, finished: int) -> None: ...

    def called(self) -> None:
        """The utility of one document is known, or has failed."""
        ...

    def finished(self, question_id: str) -> None:
        """A question is done with all of its documents, whether or not some failed."""
        ...

    def failed(self, question_id: str, document_id: str, why: str) -> None: ...


@dataclass(frozen=True)
class Collected:
    """The size of a folder of feedback."""

    questions: int
    utilities: int
    failed: int
    """Documents without a utility: they are null in the feedback, and owed."""
    without_documents: int
    """Questions for which nothing was found. They are not in the feedback."""


async def collect(
    folder: Path,
    source: Source[Q],
    utility: Utility[Q],
    configuration: Mapping[str, Any],
    *,
    concurrency: int = 32,
    watcher: Watcher | None = None,
) -> Collected:
    """Collect what is owed, and write the folder's feedback and manifest.

    `configuration` holds JSON values beyond the utility's own: data set, retriever, number of documents. At
    most `concurrency` calls are in flight. Raises NothingToCollect, ChangedConfiguration, FolderInUse,
    InvalidFeedback, DataError, CacheUnavailable, and what `source` and `utility` raise.
    """
    described = {TASK: source.task, ENCODER: source.encoder, **configuration, **utility.configuration}
    with locked(folder):
        pin_configuration(folder / CONFIGURATION, described)
        journal = _Journal(folder / JOURNAL)
        order = [question.id for question in source.questions()]
        if watcher:
            watcher.started(len(order), sum(one in journal.finished for one in order))
        room = asyncio.Semaphore(concurrency)

        async def judged(question: Q, document: Item) -> Judged:
            async with room:
                try:
                    value: float | None = await utility(question, [document])
                except NoUtility as error:
                    value = None
                    if watcher:
                        watcher.failed(question.id, document.id, str(error))
            if watcher:
                watcher.called()
            return Judged(document.id, document.text, value)

        async def work(question: Q) -> None:
            documents = await source.ranked(question)
            async with asyncio.TaskGroup() as tasks:
                found = [tasks.create_task(judged(question, document)) for document in documents]
            results = tuple(task.result() for task in found)
            journal.add(Feedback(question.id, source.query(question), results, source.user(question)))
            if watcher:
                watcher.finished(question.id)

        async def owed() -> AsyncIterator[Q]:
            for question in source.questions():
                if question.id not in journal.finished:
                    yield question

        with journal:
            await each(owed(), work, concurrency, 0.0)
        kept = [question for question in order if question not in journal.without_documents]
        if not kept:
            raise NothingToCollect("no question has a document to collect feedback on")
        counts = Counter[bool]()
        write_feedback(folder, described, _counted(journal.read(kept), counts))
        return Collected(len(kept), counts[True], counts[False], len(order) - len(kept))


class _Journal:
    """Feedback in the order in which it was collected; of a question's lines, the last one counts."""

    def __init__(self, file: Path) -> None:
        """Raises InvalidFeedback, naming the line, for one that was not written here."""
        self._file = file
        self._places: dict[str, int] = {}
        self.finished = set[str]()
        """The questions all of whose documents have a utility."""
        self.without_documents = set[str]()
        cut_torn_line(file)
        place = 0
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    self._note(_FEEDBACK.validate_json(line), place)
                except ValidationError as error:
                    raise InvalidFeedback(f"{file}:{number}: {first_fault(error, 'record')}") from None
                place += len(line)

    def __enter__(self) -> None:
        self._lines = self._file.open("ab")

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def add(self, feedback: Feedback) -> None:
        """Append a line, which a killed process does not lose."""
        place = self._lines.tell()
        self._lines.write(feedback.to_line().encode("utf-8", "replace") + b"\n")
        self._lines.flush()
        self._note(feedback, place)

    def read(self, ids: Iterable[str]) -> Iterator[Feedback]:
        """The feedback on these questions, one at a time: a journal may be larger than memory."""
        with self._file.open("rb") as lines:
            for question in ids:
                lines.seek(self._places[question])
                yield _FEEDBACK.validate_json(lines.readline())

    def _note(self, feedback: Feedback, place: int) -> None:
        self._places[feedback.id] = place
        if not feedback.documents:
            self.without_documents.add(feedback.id)
        if all(document.utility is not None for document in feedback.documents):
            self.finished.add(feedback.id)


def _counted(records: Iterable[Feedback], counts: Counter[bool]) -> Iterator[Feedback]:
    """The records, whose documents are counted by whether they have a utility."""
    for record in records:
        counts.update(document.utility is not None for document in record.documents)
        yield record
