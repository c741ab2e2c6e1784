"""One evaluation: the questions of a data set put to a backend, by one method, and judged."""

import platform
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.progress import Progress, TaskID

from server.cli.errors import BadInput
from server.cli.printable import one_line
from server.cli.progress import bar

if TYPE_CHECKING:
    from agent.trajectory import Trajectory
    from server.cli.backend import Backend
    from training.evaluation.records import Record
    from training.evaluation.runs import Outcome
    from training.judging.judge import Judge
    from training.tasks.lampqa.data import Question

MethodName = Literal["none", "rag", "rag-random", "planpers", "planpers-oracle", "pr2"]
_SERVICE_METHOD = {"rag-random": "rag", "planpers-oracle": "planpers"}
"""What the service calls a method that is one of its own with something put in its place."""


@dataclass(frozen=True)
class Evaluation:
    """What is to be measured, and how. `asked` are the options of every question."""

    out: Path
    dataset: str
    split: str | None
    """Of a data set that has several."""
    questions: "Callable[[], Iterator[Question]]"
    method: MethodName
    seed: int
    asked: Mapping[str, Any]
    server: str | None
    flags: Mapping[str, Any]
    concurrency: int
    per_second: float | None
    prices: tuple[float, float] | None


async def run(
    wanted: Evaluation, make_judge: "Callable[[], AbstractAsyncContextManager[Judge]]"
) -> "Outcome":
    """Answer and judge what is owed. Raises BadInput, and what the backend and the run raise."""
    from agent.planning import as_plan
    from agent.prompts import PROMPT_VERSION
    from index.errors import InvalidDocument
    from server.cli.backend import open_backend
    from server.cli.datasets import KeptProfiles
    from server.client import ApiError
    from training.evaluation.runs import Run, Unanswered
    from training.tasks.lampqa.data import dataset_hash

    method, questions, seed = wanted.method, wanted.questions, wanted.seed
    count = sum(1 for _ in questions())
    if count == 0:
        raise BadInput("there is no question to answer")
    name = _SERVICE_METHOD.get(method, method)
    async with make_judge() as judge, open_backend(wanted.server, wanted.flags) as backend:
        _check(backend, name, is_planned=method == "planpers-oracle")
        configuration = {
            "dataset": {
                "name": wanted.dataset,
                **({"split": wanted.split} if wanted.split else {}),
                "hash": dataset_hash(questions()),
                "questions": count,
            },
            "method": method,
            "seed": seed,
            **_service_of(backend, wanted.asked),
            "judge": {"name": judge.name, "comparable": judge.comparable},
            "prompt_version": PROMPT_VERSION,
        }
        run = Run(wanted.out, configuration)
        profiles = KeptProfiles(backend)
        people: list[str] = []
        if method == "rag-random":
            people = sorted({await profiles.keep(question) for question in questions()})
            if len(people) == 1:
                raise BadInput("rag-random needs the profiles of at least two people")

        async def answer(question: "Question") -> "Trajectory":
            try:
                user = await profiles.keep(question)
            except (ApiError, InvalidDocument) as error:
                raise Unanswered(f"its profile cannot be stored: {error}") from None
            if people:
                # Any of the others, with the same luck: the place of the person's own name is skipped.
                place = random.Random(f"{seed} {question.id}").randrange(len(people) - 1)
                user = people[place + (place >= people.index(user))]
            options = {**wanted.asked, "method": name}
            if method == "planpers-oracle":
                options["plan"] = as_plan(aspect.aspect for aspect in question.rubric_aspects)
            return await _answer(backend, user, question.question, options)

        with bar(one_line(wanted.out.name, 30), count) as (progress, task):
            progress.update(task, completed=len(run.done))
            return await run.work_off(
                questions(),
                answer,
                judge,
                concurrency=_at_once(backend, wanted.concurrency),
                per_second=wanted.per_second,
                watcher=_Watcher(progress, task),
                facts=_facts(wanted.prices),
            )


def _check(backend: "Backend", name: str, *, is_planned: bool) -> None:
    """What no question could be answered by is said before the first one. A server says so itself."""
    from agent.methods import METHODS
    from server.cli.backend import LocalBackend
    from server.service import InvalidQuestion

    if isinstance(backend, LocalBackend):
        try:
            backend.service.check(METHODS[name], "the rubric" if is_planned else "")
        except InvalidQuestion as error:
            raise BadInput(str(error)) from None


def _facts(prices: tuple[float, float] | None) -> dict[str, Any]:
    """What the manifest says beside the configuration: with what the run was made."""
    named = ("pr2", "faiss-cpu", "numpy", "sentence-transformers", "torch", "transformers")
    facts: dict[str, Any] = {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in named}},
        "commit": _commit(),
    }
    if prices is not None:
        facts["prices"] = {"prompt_per_million": prices[0], "completion_per_million": prices[1]}
    return facts


def _commit() -> str | None:
    """Of the checkout that this runs from, if it does."""
    try:
        said = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def _at_once(backend: "Backend", concurrency: int) -> int:
    """No more than the local service answers at once: a question that waits in its queue loses time."""
    from server.cli.backend import LocalBackend

    if isinstance(backend, LocalBackend):
        return min(concurrency, backend.service.settings.limits.concurrency)
    return concurrency


def _service_of(backend: "Backend", asked: Mapping[str, Any]) -> dict[str, Any]:
    """What answers, as far as it is known from here: a server is known by its address."""
    from server.cli.backend import LocalBackend

    retriever = asked["retriever"]
    if not isinstance(backend, LocalBackend):
        return {
            "server": getattr(backend, "url", ""),
            "retriever": retriever or "the server's own",
            "limits": asked["limits"],
        }
    settings = backend.service.settings
    chosen = {"engine", "model", "protocol", "temperature", "context_tokens", "engine_args"}
    return {
        "limits": asdict(settings.limits.limits()) | asked["limits"],
        "policy": settings.policy.model_dump(mode="json", include=chosen),
        "planner": settings.planning.model_dump(mode="json", include=chosen),
        "encoder": str(backend.service.profiles.encoder.manifest),
        "retriever": retriever or settings.retriever,
    }


async def _answer(backend: "Backend", user: str, question: str, options: Mapping[str, Any]) -> "Trajectory":
    from server.answers import record_of
    from server.client import ApiError
    from server.service import InvalidQuestion
    from training.evaluation.runs import Unanswered

    try:
        return (await record_of(backend.answer(user, question, **options))).trajectory
    except (ApiError, InvalidQuestion) as error:
        raise Unanswered(str(error)) from None


class _Watcher:
    """Tells of the running score of this session."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._scores: list[float] = []
        self._failed = 0

    def finished(self, record: "Record") -> None:
        if record.score is not None:
            self._scores.append(record.score)
        self._show()

    def failed(self, question_id: str, why: str) -> None:
        self._failed += 1
        self._progress.console.print(one_line(f"{question_id}: {why}"), style="red", highlight=False)
        self._show()

    def _show(self) -> None:
        mean = f"score {sum(self._scores) / len(self._scores):.3f}" if self._scores else ""
        failed = f", {self._failed} failed" if self._failed else ""
        self._progress.update(self._task, advance=1, description=mean + failed)
