"""One evaluation: the questions of a task answered by one method, scored, and kept in a folder.

outcome = await evaluate(Evaluation(Path("runs/pr2"), TASKS["sample"], "pr2"), answers, LexicalJudge())
"""

import platform
import random
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Protocol

from agent.methods import METHODS
from agent.planning import as_plan
from agent.prompts import PROMPT_VERSION
from agent.trajectory import Trajectory
from index.errors import InvalidDocument
from training.errors import TrainingError
from training.evaluation.answers import AnswerOptions, Answers, Unanswered, UnfitQuestion
from training.evaluation.profiles import KeptProfiles, ProfileUnavailable, day_of, person_of
from training.evaluation.records import SCORE
from training.evaluation.runs import RunOutcome, Watcher, open_run
from training.evaluation.task import Metric, Q, Task, dataset_hash
from training.folds import Fold
from training.judging.judge import Judge

_ORACLE = "planpers-oracle"
_RANDOM = "rag-random"
_METHOD_OF = {_RANDOM: "rag", _ORACLE: "planpers"}
"""The methods behind those that exist in evaluations only."""


class EvaluationError(TrainingError, ValueError):
    """There is nothing to evaluate, or the method does not fit; the message says why."""


@dataclass(frozen=True)
class Evaluation(Generic[Q]):
    """An evaluation to run: its data, method and limits."""

    out: Path
    task: Task[Q]
    method: str = "pr2"
    """One of agent.methods.METHODS, `rag-random` (somebody else's profile) or `planpers-oracle`."""
    categories: Sequence[str] = ()
    """All categories if empty."""
    split: str = "test"
    """Ignored by tasks without splits."""
    most: int | None = None
    """Only the first so many questions; None for all."""
    fold: Fold | None = None
    """Of those, only the questions of the people in this fold."""
    retriever: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    """Only those that differ from the defaults."""
    seed: int = 0
    """Decides whose profile rag-random takes."""
    concurrency: int = 32
    per_second: float | None = None
    """The most questions started per second."""
    prices: tuple[float, float] | None = None
    """Per million prompt tokens and per million completion tokens; for the report."""

    def __post_init__(self) -> None:
        """Raises EvaluationError if there is no such method."""
        if self.answering not in METHODS:
            known = ", ".join((*METHODS, *_METHOD_OF))
            raise EvaluationError(f"there is no method {self.method!r}; there are {known}")

    @property
    def answering(self) -> str:
        """The method of agent.methods.METHODS by which questions are answered."""
        return _METHOD_OF.get(self.method, self.method)

    def data(self) -> Iterator[Q]:
        """Read the questions of all folds from the first. Raises DataError."""
        return islice(self.task.read(self.categories, self.split), self.most)

    def asks(self, question: Q) -> bool:
        """Whether the question is one of the fold's, if there is a fold."""
        return self.fold is None or self.fold.holds(person_of(question))

    def questions(self) -> Iterator[Q]:
        """Read the questions to ask from the first. Raises DataError."""
        return filter(self.asks, self.data())


class EvaluationWatcher(Watcher, Protocol):
    """Is notified of the progress of an evaluation."""

    def started(self, questions: int, finished: int) -> None:
        """Called once, with the number of all questions and of those that are finished already."""
        ...


async def evaluate(
    evaluation: Evaluation[Q], answers: Answers, judge: Judge, watcher: EvaluationWatcher | None = None
) -> RunOutcome:
    """Answer and score the questions that are owed.

    Raises EvaluationError, UnfitMethod, UnfitQuestion, DataError, FolderInUse, ChangedConfiguration,
    CacheUnavailable.
    """
    task, method, name = evaluation.task, evaluation.method, evaluation.answering
    count = 0

    def counted() -> Iterator[Q]:
        nonlocal count
        for position, question in enumerate(evaluation.data(), 1):
            count += evaluation.asks(question)
            if method == _ORACLE and not task.plan(question):
                raise EvaluationError(f"the task {task.name} has no plans, so there is no {_ORACLE}")
            try:
                answers.check_question(question.question)
            except UnfitQuestion as error:
                raise EvaluationError(f"record {position}, question {question.id}: {error}") from None
            yield question

    digest = dataset_hash(counted())
    if count == 0:
        where = f" in fold {evaluation.fold}" if evaluation.fold else ""
        raise EvaluationError(f"there is no question to answer{where}")
    answers.check(name, has_plan=method == _ORACLE)
    metrics = task.metrics(judge)
    split = task.split(evaluation.split)
    configuration = {
        "dataset": {
            "name": task.name,
            **({"split": split} if split else {}),
            "hash": digest,
            "questions": count,
        },
        "method": method,
        **({"fold": str(evaluation.fold)} if evaluation.fold else {}),
        "seed": evaluation.seed,
        **answers.describe(evaluation.retriever, evaluation.limits),
        **_described(metrics),
        "prompt_version": PROMPT_VERSION,
    }
    with open_run(evaluation.out, configuration) as run:
        profiles = KeptProfiles(answers)
        users: dict[str, date] = {}
        people: list[str] = []
        if method == _RANDOM:
            for question in evaluation.questions():
                users[await profiles.keep(question)] = day_of(question.profile)
            people = sorted(users)
            if len(users) == 1:
                raise EvaluationError(f"{_RANDOM} needs the profiles of at least two people")

        async def answer(question: Q) -> Trajectory:
            try:
                user = await profiles.keep(question)
            except ProfileUnavailable as error:
                raise Unanswered(f"its profile cannot be stored: {error}") from None
            except InvalidDocument as error:
                why = f"question {question.id}: its profile cannot be stored: {error}"
                raise UnfitQuestion(why) from None
            day = day_of(question.profile)
            if users:
                user = _other_user(people, user, f"{evaluation.seed} {question.id}")
                day = users[user]
            plan = as_plan(task.plan(question)) if method == _ORACLE else None
            options = AnswerOptions(name, evaluation.retriever, evaluation.limits, plan, day)
            return await answers.answer(user, question.question, options)

        if watcher:
            watcher.started(count, len(run.finished))
        return await run.drain(
            evaluation.questions(),
            answer,
            task,
            metrics,
            concurrency=min(evaluation.concurrency, answers.most_at_once or evaluation.concurrency),
            per_second=evaluation.per_second,
            watcher=watcher,
            facts=_facts(evaluation.prices),
        )


def _described(metrics: Sequence[Metric[Q]]) -> dict[str, Any]:
    """The metrics' configurations. Their directions are added unless there is only LaMP-QA's score."""
    described: dict[str, Any] = {}
    for metric in metrics:
        described |= metric.configuration
    directions = {metric.name: metric.direction for metric in metrics}
    return described if directions == {SCORE: "higher"} else described | {"metrics": directions}


def _other_user(users: Sequence[str], user: str, seed: str) -> str:
    """One of the others, each with the same probability: the position of `user` is skipped."""
    position = random.Random(seed).randrange(len(users) - 1)
    return users[position + (position >= users.index(user))]


def _facts(prices: tuple[float, float] | None) -> dict[str, Any]:
    """The manifest's entries beyond the configuration."""
    named = ("pr2", "faiss-cpu", "numpy", "sentence-transformers", "torch", "transformers")
    facts: dict[str, Any] = {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in named}},
        "commit": _commit(),
    }
    if prices is not None:
        facts["prices"] = {"prompt_per_million": prices[0], "completion_per_million": prices[1]}
    return facts


def _commit() -> str | None:
    """The commit of the checkout that this code runs from, if it does."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
