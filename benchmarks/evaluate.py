"""Measures the time that an evaluation adds to the servers that answer and grade, and its memory.

    python -m benchmarks.evaluate [--questions 1000] [--at-once 96] [--json OUT]

Both servers are simulated and take fixed times, so that the time of an ideal client is known exactly. Each
figure is shown beside its bar; a missed bar means exit code 1. Absolute times depend on the machine.
"""

import argparse
import asyncio
import heapq
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agent.driver import drive
from agent.engines.openai import OpenAIServer
from agent.methods import METHODS
from agent.policies.tags import TagsPolicy
from agent.trajectory import Limits, Search, Trajectory
from benchmarks.episodes import waited_for_a_core
from benchmarks.judge import MODEL, Pace, Station, running
from benchmarks.speed import PROFILE, Figure, table_of
from index.documents import Passage
from training.evaluation.runs import RunOutcome, open_run
from training.judging.llm import LLMJudge
from training.tasks import TASKS
from training.tasks.lampqa.data import CATEGORIES, Aspect, Item, Question

QUESTIONS, ASPECTS = 1000, 5
POLICY, JUDGE = Pace(32, 0.3), Pace(64, 0.12)
"""Each alone needs the same time for all questions, which makes it hardest to keep both busy."""
AT_ONCE = 96
"""Questions in flight. It exceeds what the servers work on, so that no server is idle while a question moves
from one to the other."""
HURRY = 10
"""Speed-up of the servers for runs that only measure memory."""
WALL_BAR, MEMORY_BAR_MB = 1.15, 10.0
"""Growth below the bar does not prove constant memory: see the MB per 1,000 more questions."""
_ITEM_CHARACTERS = 400


@dataclass(frozen=True)
class Load:
    """The work of a run, and the pace of the servers that do it."""

    questions: int = QUESTIONS
    aspects: int = ASPECTS
    policy: Pace = POLICY
    judge: Pace = JUDGE

    def hurried(self, questions: int) -> "Load":
        """The same load with this many questions and servers that are HURRY times as fast."""
        paces = (Pace(pace.at_once, pace.seconds / HURRY) for pace in (self.policy, self.judge))
        return Load(questions, self.aspects, *paces)


@dataclass(frozen=True)
class Measured:
    """One run in a process of its own. Times in seconds, memory in MB of 10⁶ bytes."""

    questions: int
    at_once: int
    wall: float
    cpu: float
    waited: float
    """Waiting for a core. If it is much of the wall time, the wall time says little about this code."""
    before_mb: float
    """Peak memory before the first question."""
    peak_mb: float


def bound(load: Load, at_once: int | None = None) -> float:
    """The seconds that an ideal client would need, computed in virtual time.

    All questions are asked at 0 or, with `at_once`, each as soon as fewer than that are in flight; a
    question is in flight until its last aspect is graded. Without `at_once` this is a lower bound: requests
    to a server are alike, so their order does not matter, and each arrives as early as possible. It exceeds
    the longer of the two servers' own times, because the first grade waits for the first answer and answers
    come in waves.
    """
    policy, judge = Station(load.policy), Station(load.judge)
    asked = min(load.questions, at_once or load.questions)
    # Future events in order; each question is answered, then judged.
    events = [(policy.take(0.0)[1], number, "answered") for number in range(asked)]
    heapq.heapify(events)
    now = 0.0
    while events:
        now, number, what = heapq.heappop(events)
        if what == "answered":
            ends = [judge.take(now)[1] for _ in range(load.aspects)]
            heapq.heappush(events, (max(ends, default=now), number, "judged"))
        elif asked < load.questions:
            heapq.heappush(events, (policy.take(now)[1], asked, "answered"))
            asked += 1
    return now


def questions(count: int, aspects: int) -> Iterator[Question]:
    """Yield generated questions with profiles as large as LaMP-QA's.

    A run that kept its questions would need about 110 MB per 1,000.
    """
    for number in range(count):
        yield Question(
            id=f"q{number}",
            question=f"Which one of the {number + 2} fits me best?",
            category=CATEGORIES[number % len(CATEGORIES)],
            narrative=f"I have looked at all {number + 2} of them, and it has to last. " * 8,
            rubric_aspects=tuple(
                Aspect(
                    aspect=f"What speaks for number {i} in particular",
                    reason=f"They asked about number {i} more than once. ",
                    evidence=f"I keep coming back to number {i} of the {number + 2}. ",
                )
                for i in range(aspects)
            ),
            profile=tuple(
                Item(id=f"q{number}-{i}", text=f"Post {i} of {number}. ".ljust(_ITEM_CHARACTERS, "."))
                for i in range(PROFILE)
            ),
        )


async def no_search(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
    raise RuntimeError("the method none searches nothing")


async def evaluate(base_url: str, load: Load, at_once: int, folder: Path) -> Measured:
    """Run an evaluation in `folder`. Raises RuntimeError like `check_complete`."""
    policy = TagsPolicy(OpenAIServer(base_url, MODEL))
    judge = await LLMJudge.connect(OpenAIServer(base_url, MODEL), concurrency=2 * load.judge.at_once)

    async def answer(question: Question) -> Trajectory:
        episode = METHODS["none"].begin(question.question, Limits())
        async with aclosing(drive(episode, policy, no_search)) as events:
            async for _ in events:
                pass
        return episode.trajectory

    asked = questions(load.questions, load.aspects)
    async with aclosing(policy), aclosing(judge):
        before, began, spent, waited = peak_mb(), time.monotonic(), time.process_time(), waited_for_a_core()
        task = TASKS["lamp-qa"]
        metrics = task.metrics(judge)
        with open_run(folder, {"method": "none", **metrics[0].configuration}) as run:
            outcome = await run.drain(asked, answer, task, metrics, concurrency=at_once)
        wall, cpu = time.monotonic() - began, time.process_time() - spent
    check_complete(outcome, load.questions)
    return Measured(
        load.questions, at_once, wall, cpu, waited_for_a_core() - waited, before_mb=before, peak_mb=peak_mb()
    )


def check_complete(outcome: RunOutcome, count: int) -> None:
    """Raises RuntimeError if a question is owed or an aspect unjudged, because skipped work takes no time."""
    macro = outcome.summary.macro
    if outcome.failed or macro.questions != count or macro.unjudged_aspects:
        why = next(iter(outcome.failed.values()), "none failed")
        raise RuntimeError(f"not every one of {count} questions was answered and judged: {macro}; {why}")


def peak_mb() -> float:
    """Peak memory of this process so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024) / 1e6


def _measure(base_url: str, load: Load, at_once: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(evaluate(base_url, load, at_once, Path(folder)))


def alone(base_url: str, load: Load, at_once: int) -> Measured:
    """Measure a run in a fresh process: peaks never go down, so runs must not share one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_measure, base_url, load, at_once).result()


def cost(base_url: str) -> Any:
    """The servers' cost since the last call."""

    async def ask() -> Any:
        async with aclosing(OpenAIServer(base_url, MODEL)) as server:
            return await server.ask("/cost")

    return asyncio.run(ask())


def figures_of(load: Load, timed: Measured, runs: Sequence[Measured]) -> list[Figure]:
    """The figures with bars. Memory is compared between `runs`, ordered from the smallest."""
    least = bound(load)
    busy = [
        load.questions * load.policy.seconds / load.policy.at_once,
        load.questions * load.aspects * load.judge.seconds / load.judge.at_once,
    ]
    small, middle = runs[:2]
    return [
        Figure(
            f"{load.questions:,} questions × {load.aspects} aspects: wall time ÷ the servers' bound",
            timed.wall / least,
            WALL_BAR,
            True,
            f"{timed.wall:.2f} s, bound {least:.2f} s (policy alone {busy[0]:.2f} s, judge alone "
            f"{busy[1]:.2f} s); {timed.waited:.2f} s without a core",
        ),
        Figure(
            f"{small.questions:,} → {middle.questions:,} questions: growth of peak memory, MB",
            middle.peak_mb - small.peak_mb,
            MEMORY_BAR_MB,
            True,
            f"{small.peak_mb:.1f} MB → {middle.peak_mb:.1f} MB",
        ),
    ]


def mb_per_1000(before: Measured, after: Measured) -> float:
    return (after.peak_mb - before.peak_mb) / (after.questions - before.questions) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the time that an evaluation adds, and its memory.")
    parser.add_argument(
        "--questions", type=int, default=QUESTIONS, help="memory is measured with ¼ to 4 × as many"
    )
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="questions in flight")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    count, at_once = arguments.questions, arguments.at_once
    if at_once < 1 or count < 4 * at_once:
        parser.error("at least 1 question at once, and at least 4 × as many in all")
    load = Load(count)
    console = Console(file=sys.stderr)
    with console.status(f"measuring: {count:,} questions"), running(load.policy, load.judge) as base_url:
        cost(base_url)
        timed = alone(base_url, load, at_once)
        served = cost(base_url)
    runs = []
    quick = load.hurried(count)
    with running(quick.policy, quick.judge) as base_url:
        for number in (count // 4, count, 4 * count):
            with console.status(f"measuring: memory for {number:,} questions"):
                runs.append(alone(base_url, replace(quick, questions=number), at_once))
    figures = figures_of(load, timed, runs)

    console = Console(width=150)
    console.print(table_of("Evaluation against simulated policy and judge servers", figures))

    late = served["late_s"]
    table = Table(title="Beside them", show_header=False)
    for name, value in (
        ("questions in flight", str(at_once)),
        ("bound with so many in flight", f"{bound(load, at_once):.2f} s"),
        ("our CPU, ms a question", f"{timed.cpu / count * 1e3:.1f}"),
        ("our CPU, share of a core", f"{timed.cpu / timed.wall:.2f}"),
        ("servers' CPU, share of a core", f"{served['cpu_s'] / timed.wall:.2f}"),
        ("servers behind their times, ms (p50, p99)", f"{late['p50'] * 1e3:.1f}, {late['p99'] * 1e3:.1f}"),
        ("connections", str(served["connections"])),
        *(
            (
                f"peak memory of {run.questions:,} questions, MB",
                f"{run.peak_mb:.1f}, of which {run.before_mb:.1f} before the first question",
            )
            for run in runs
        ),
        *(
            (
                f"{before.questions:,} → {after.questions:,} questions, MB for 1,000 more",
                f"{mb_per_1000(before, after):.2f}",
            )
            for before, after in pairwise(runs)
        ),
    ):
        table.add_row(name, value)
    console.print(table)
    if arguments.json:
        values = {
            "figures": {figure.name: vars(figure) | {"met": figure.met} for figure in figures},
            "timed": vars(timed),
            "bound_s": {"any": bound(load), "in_flight": bound(load, at_once)},
            "servers": served,
            "memory": [vars(run) for run in runs],
        }
        arguments.json.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    sys.exit(not all(figure.met for figure in figures))


if __name__ == "__main__":
    main()
