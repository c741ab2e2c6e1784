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
