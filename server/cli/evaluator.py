"""Evaluates with a judge and a backend that are opened once, and shows the progress."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, TaskID

from server.cli import lamp
from server.cli.printable import one_line
from server.cli.progress import bar

if TYPE_CHECKING:
    from training.evaluation.evaluate import Evaluation
    from training.evaluation.records import Record
    from training.evaluation.runs import RunOutcome
    from training.judging.factory import JudgeConfiguration

Most = Annotated[int | None, typer.Option("--limit", help="Only the first N questions.")]
Concurrency = Annotated[
    int, typer.Option("--concurrency", min=1, help="Questions in flight, including judging.")
]
Seed = Annotated[int, typer.Option("--seed", help="Determines whose passages rag-random uses.")]

Evaluate = Callable[["Evaluation[Any]"], Awaitable["RunOutcome"]]


@asynccontextmanager
async def evaluator(
    folder: Path,
    judge: "JudgeConfiguration",
    server: str | None,
    flags: Mapping[str, Any],
    adapted: lamp.Adapted,
) -> AsyncIterator[Evaluate]:
    """Yields what runs an evaluation. `folder` keeps the judge's verdicts, so that every run uses them."""
    from server.cli.answers import BackendAnswers
    from server.cli.backend import open_backend
    from training.evaluation.evaluate import evaluate
    from training.judging.factory import open_judge

    async with (
        aclosing(await open_judge(judge, folder / "verdicts.db")) as opened,
        open_backend(server, flags) as backend,
        adapted(BackendAnswers(backend)) as answers,
    ):

        async def run(evaluation: "Evaluation[Any]") -> "RunOutcome":
            with bar(evaluation.out.name, 1) as (progress, task):
                return await evaluate(evaluation, answers, opened, _Watcher(progress, task))

        yield run


class _Watcher:
    """Shows the mean score of this session in the progress bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._scores: list[float] = []
        self._failed = 0

    def started(self, questions: int, finished: int) -> None:
        self._progress.update(self._task, total=questions, completed=finished)

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
