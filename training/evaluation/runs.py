"""A run: every question of a data set answered and scored, in a folder that survives being killed.

Each finished question is one line on disk, written before anything is derived from it. A restarted run does
only what is owed, and ends with the same files as one that was never interrupted.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from agent.trajectory import Trajectory
from training.evaluation.answers import Unanswered
from training.evaluation.records import MANIFEST, RECORDS, TRAJECTORIES, Record, read_records
from training.evaluation.summary import ScoreSummary, summarize
from training.evaluation.task import Metric, Q, Task, assess
from training.folder import check_unchanged, cut_torn_line, locked, write_json

T = TypeVar("T")


class Watcher(Protocol):
    """Is notified of each question of a run."""

    def finished(self, record: Record) -> None: ...

    def failed(self, question_id: str, why: str) -> None:
        """The question could not be answered for a reason outside of it. It is still owed."""
        ...


@dataclass
class RunOutcome:
    """How a run ended."""

    summaries: Mapping[str, ScoreSummary]
    """By metric, the task's main one first."""
    failed: dict[str, str] = field(default_factory=dict)
    """The questions that are still owed, and why."""

    @property
    def summary(self) -> ScoreSummary:
        """By the task's main metric."""
        return next(iter(self.summaries.values()))


class Run:
    """A run's folder, locked to this process; made by `open_run`."""

    def __init__(self, folder: Path, configuration: Mapping[str, Any], finished: dict[str, int]) -> None:
        self.folder = folder
        self._configuration = configuration
        self._finished = finished
        """Where the record of each finished question begins."""

    @property
    def finished(self) -> frozenset[str]:
        """Ids of the questions that are finished."""
        return frozenset(self._finished)

    async def drain(
        self,
        questions: Iterable[Q],
        answer: Callable[[Q], Awaitable[Trajectory]],
        task: Task[Q],
        metrics: Sequence[Metric[Q]],
        *,
        concurrency: int = 8,
        per_second: float | None = None,
        watcher: Watcher | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> RunOutcome:
        """Answer and score the questions that are owed, then write the run's files.

        At most `concurrency` questions are in flight, and at most `per_second` are begun in a second, for
        servers that count requests. `questions` is read only as far as needed. `answer` raises Unanswered.
        `facts` are added to the manifest: versions, prices.
        """
        failed: dict[str, str] = {}
        order: list[str] = []
        with (
            (self.folder / RECORDS).open("ab") as records,
            (self.folder / TRAJECTORIES).open("ab") as trajectories,
        ):

            async def work(question: Q) -> None:
                try:
                    trajectory = await answer(question)
                    if why := unanswered(trajectory):
                        raise Unanswered(why)
                except Unanswered as error:
                    # The answer is not to blame, so there is no score: the question is still owed.
                    failed[question.id] = str(error)
                    if watcher:
                        watcher.failed(question.id, str(error))
                    return
                record = await _record(question, trajectory, metrics)
                # The record comes last: with it the question is finished.
                _append(trajectories, {"id": question.id, "trajectory": trajectory.to_dict()})
                self._finished[question.id] = _append(records, record.to_dict())
                if watcher:
                    watcher.finished(record)

            async def owed() -> AsyncIterator[Q]:
                for question in questions:
                    order.append(question.id)
                    if question.id not in self._finished:
                        yield question

            await each(owed(), work, concurrency, 1 / per_second if per_second else 0.0)
        finished = [question for question in order if question in self._finished]
        records_of = partial(self._records, finished)
        totals = {
            "questions": len(order),
            "finished": len(finished),
            "failed": len(failed),
            "prompt_tokens": sum(record.prompt_tokens for record in records_of()),
            "policy_tokens": sum(record.policy_tokens for record in records_of()),
        }
        task.write(self.folder, records_of)
        _write_manifest(
            self.folder,
            self._configuration,
            {**(facts or {}), "totals": totals, "finished": len(finished) == len(order)},
        )
        return RunOutcome({one.name: summarize(one.aggregate, records_of) for one in metrics}, failed)

    def _records(self, ids: Iterable[str]) -> Iterator[Record]:
        """The records of these questions, one at a time: a run may be larger than memory."""
        with (self.folder / RECORDS).open("rb") as file:
            for question in ids:
                file.seek(self._finished[question])
                yield Record.from_dict(json.loads(file.readline()))


@contextmanager
def open_run(folder: Path, configuration: Mapping[str, Any]) -> Iterator[Run]:
    """Lock the folder, and begin a run in it or continue one.

    `configuration` holds JSON values: all that the answers and scores depend on. Raises FolderInUse,
    ChangedConfiguration, and ValueError for an invalid record.
    """
    now: dict[str, Any] = json.loads(json.dumps(dict(configuration)))
    manifest = folder / MANIFEST
    with locked(folder):
        if manifest.exists():
            before = json.loads(manifest.read_text("utf-8"))
            check_unchanged({key: before.get(key) for key in before["configured"]}, now, folder)
        else:
            _write_manifest(folder, now, {"finished": False})
        for name in (RECORDS, TRAJECTORIES):
            cut_torn_line(folder / name)
        with (folder / RECORDS).open("rb") as lines:
            offsets = accumulate(map(len, lines), initial=0)
            finished = {
                record.id: offset for record, offset in zip(read_records(folder), offsets, strict=False)
            }
        yield Run(folder, now, finished)


async def _record(question: Q, trajectory: Trajectory, metrics: Sequence[Metric[Q]]) -> Record:
    response = trajectory.answer.text if trajectory.answer else ""
    return Record(
        id=question.id,
        category=question.category,
        question=question.question,
        response=response,
        finish_reason=str(trajectory.finish_reason),
        assessment=await assess(metrics, question, response),
        searches=trajectory.searches,
        documents_read=len(trajectory.documents_read),
        profile_size=len(question.profile),
        prompt_tokens=trajectory.tokens_read,
        policy_tokens=trajectory.tokens_written,
        latency_ms=trajectory.total_ms,
    )


async def each(
    items: AsyncIterator[T],
    work: Callable[[T], Awaitable[None]],
    concurrency: int,
    pause_s: float,
) -> None:
    """Call `work` for every item, at most `concurrency` at a time and at least `pause_s` apart.

    An item is only read when there is room for it.
    """
    room = asyncio.Semaphore(concurrency)

    async def one(item: T) -> None:
        try:
            await work(item)
        finally:
            room.release()

    async with asyncio.TaskGroup() as tasks:
        await room.acquire()
        async for item in items:
            tasks.create_task(one(item))
            if pause_s:
                await asyncio.sleep(pause_s)
            await room.acquire()


def unanswered(trajectory: Trajectory) -> str:
    """The reason for an answer that is missing for a cause outside of the question; empty otherwise.

    Time that ran out before the policy wrote anything says nothing about its answers.
    """
    if trajectory.finish_reason in ("policy_error", "cancelled"):
        return trajectory.detail or str(trajectory.finish_reason)
    silent = trajectory.policy_tokens == 0 and not any(s.author == "policy" for s in trajectory.segments)
    if trajectory.finish_reason == "deadline" and silent:
        return trajectory.detail or "the deadline passed before any text was written"
    return ""


def _write_manifest(folder: Path, configuration: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    write_json(folder / MANIFEST, {**configuration, "configured": sorted(configuration), **facts})


def _append(stream: IO[bytes], value: Mapping[str, Any]) -> int:
    """Write one line. Returns the offset at which it begins."""
    line = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    stream.write(line)
    stream.flush()
    return stream.tell() - len(line)
