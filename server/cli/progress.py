"""The progress bar of a long command."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from server.cli.printable import one_line

_NAME = 40


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g}/s" if task.speed else "")


@contextmanager
def bar(name: str, total: int | None) -> Iterator[tuple[Progress, TaskID]]:
    """Show a bar on stderr if that is a terminal; `total` is None if it is not known."""
    console = Console(stderr=True)
    columns = (
        TextColumn(one_line(name, _NAME), markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress, progress.add_task("", total=total)


class TrainingBar:
    """Shows the steps and losses of training in a bar. Implements training.trainer.Watcher."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def started(self, steps: int) -> None:
        self._progress.update(self._task, total=steps)

    def trained(self, step: int, loss: float | None) -> None:
        self._progress.update(self._task, completed=step)
        if loss is not None:
            self._progress.update(self._task, description=f"loss {loss:.3f}")

    def validated(self, step: int, loss: float) -> None:
        self._progress.console.print(f"step {step}: validation loss {loss:.4f}", highlight=False)
