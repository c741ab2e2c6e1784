"""A run: every question of a data set answered and judged, in a folder that survives being killed.

Each finished question is one line on the disk, written before anything else is made of it. A run that is
started again does only what is owed, and comes to the same files as one that was never interrupted.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, Protocol

from agent.trajectory import Trajectory
from training.evaluation.records import (
    MANIFEST,
    RECORDS,
    RESPONSES,
    SCORES,
    TRAJECTORIES,
    Record,
    read_records,
)
from training.folder import check_unchanged, cut_torn_line, locked, write_json
from training.judging.judge import Judge, judged
from training.tasks.lampqa.data import Question
from training.tasks.lampqa.scores import Summary, summary, write_responses, write_scores

Answerer = Callable[[Question], Awaitable[Trajectory]]
"""Answers a question from its own profile, and sees nothing of its narrative or rubric."""


class Unanswered(Exception):
    """No answer was got, for a reason outside of the question."""


class Watcher(Protocol):
    """Is told how a run goes on."""

    def finished(self, record: Record) -> None: ...

    def failed(self, question_id: str, why: str) -> None:
        """The question could not be answered for a reason outside of it. It stays owed."""
        ...


@dataclass
class Outcome:
    """How a run ended. `failed` holds the questions that are still owed, and why."""

    summary: Summary
    failed: dict[str, str] = field(default_factory=dict)


class Run:
    """One folder. `configuration` is what the answers and scores depend on, as JSON values."""

    def __init__(self, folder: Path, configuration: Mapping[str, Any]) -> None:
        """Opens the folder, or begins it. Raises ChangedConfiguration, naming the keys that differ."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._configuration: dict[str, Any] = json.loads(json.dumps(dict(configuration)))
        known = folder / MANIFEST
        if known.exists():
            manifest = json.loads(known.read_text("utf-8"))
            check_unchanged(
                {key: manifest.get(key) for key in manifest["configured"]}, self._configuration, folder
            )
        else:
            self._write_manifest({"finished": False})
        self._done = _places(folder)

    @property
    def done(self) -> frozenset[str]:
        """Ids of the questions that are finished."""
        return frozenset(self._done)

    async def work_off(
        self,
        questions: Iterable[Question],
        answer: Answerer,
        judge: Judge,
        *,
        concurrency: int = 8,
        per_second: float | None = None,
        watcher: Watcher | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Answer and judge what is owed, so many questions at a time, and write the run's files.

        `per_second` is how many are begun in a second at the most, for servers that count requests.
        `questions` is read as far as it is needed. `facts` go into the manifest: versions, prices.
        Raises FolderInUse.
        """
        failed: dict[str, str] = {}
        order: list[str] = []
        with (
            _repaired(self.folder),
            (self.folder / RECORDS).open("ab") as records,
            (self.folder / TRAJECTORIES).open("ab") as trajectories,
        ):
            self._done = _places(self.folder)

            async def work(question: Question) -> None:
                try:
                    trajectory = await answer(question)
                    if trajectory.finish_reason in ("policy_error", "cancelled"):
                        raise Unanswered(trajectory.detail or trajectory.finish_reason)
                    if _never_begun(trajectory):
                        raise Unanswered(trajectory.detail or "the deadline came before anything was written")
                except Unanswered as error:
                    # Nothing that the answer is to blame for, so there is no score: the question stays owed.
                    failed[question.id] = str(error)
                    if watcher:
                        watcher.failed(question.id, str(error))
                    return
                record = await _judged(question, trajectory, judge)
                # The record comes last: with it the question is finished.
                _append(trajectories, {"id": question.id, "trajectory": trajectory.to_dict()})
                self._done[question.id] = _append(records, record.to_dict())
                if watcher:
                    watcher.finished(record)

            async def owed() -> AsyncIterator[Question]:
                for question in questions:
                    order.append(question.id)
                    if question.id not in self._done:
                        yield question

            await _each(owed(), work, concurrency, 1 / per_second if per_second else 0.0)
        return self._finish(order, failed, facts or {})

    def _finish(self, order: list[str], failed: dict[str, str], facts: Mapping[str, Any]) -> Outcome:
        """Write the files that are made from the records, in the order of the data set."""
        finished = [question for question in order if question in self._done]
        totals = {
            "questions": len(order),
            "finished": len(finished),
            "failed": len(failed),
            "prompt_tokens": sum(record.prompt_tokens for record in self._records(finished)),
            "policy_tokens": sum(record.policy_tokens for record in self._records(finished)),
        }
        write_responses(self.folder / RESPONSES, self._records(finished))
        write_scores(self.folder / SCORES, self._records(finished))
        self._write_manifest({**facts, "totals": totals, "finished": len(finished) == len(order)})
        return Outcome(summary(self._records(finished)), failed)

    def _records(self, ids: Iterable[str]) -> Iterator[Record]:
        """The records of these questions, one at a time: a run may be larger than memory."""
        with (self.folder / RECORDS).open("rb") as file:
            for question in ids:
                file.seek(self._done[question])
                yield Record.from_dict(json.loads(file.readline()))

    def _write_manifest(self, facts: Mapping[str, Any]) -> None:
        values = {**self._configuration, "configured": sorted(self._configuration), **facts}
        write_json(self.folder / MANIFEST, values)


async def _judged(question: Question, trajectory: Trajectory, judge: Judge) -> Record:
    response = trajectory.answer.text if trajectory.answer else ""
    return Record(
        id=question.id,
        category=question.category,
        question=question.question,
        response=response,
        finish_reason=str(trajectory.finish_reason),
        aspects=await judged(judge, question, response),
        searches=trajectory.searches,
        documents_read=len(trajectory.documents_read),
        profile_size=len(question.profile),
        prompt_tokens=trajectory.prompt_tokens,
        policy_tokens=trajectory.policy_tokens,
        latency_ms=trajectory.total_ms,
    )


async def _each(
    items: AsyncIterator[Question],
    work: Callable[[Question], Awaitable[None]],
    concurrency: int,
    pause_s: float,
) -> None:
    """`work` for every item, at most so many at once; no item is read before there is room for it.

    Two are begun `pause_s` apart at the least.
    """
    room = asyncio.Semaphore(concurrency)

    async def one(item: Question) -> None:
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


def _never_begun(trajectory: Trajectory) -> bool:
    """Whether the time ran out before the policy had written anything: that says nothing of its answer."""
    silent = trajectory.policy_tokens == 0 and not any(s.author == "policy" for s in trajectory.segments)
    return trajectory.finish_reason == "deadline" and silent


@contextmanager
def _repaired(folder: Path) -> Iterator[None]:
    """The folder for this process alone, without what a killed run has half written."""
    with locked(folder):
        for name in (RECORDS, TRAJECTORIES):
            cut_torn_line(folder / name)
        yield


def _places(folder: Path) -> dict[str, int]:
    """The finished questions, and where their lines begin."""
    (folder / RECORDS).touch()
    with (folder / RECORDS).open("rb") as lines:
        places = accumulate(map(len, lines), initial=0)
        return {record.id: place for record, place in zip(read_records(folder), places, strict=False)}


def _append(stream: IO[bytes], value: Mapping[str, Any]) -> int:
    """Write one line, whole. Returns where it begins."""
    line = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    stream.write(line)
    stream.flush()
    return stream.tell() - len(line)
