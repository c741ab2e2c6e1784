"""The progress bar of long work."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining


@contextmanager
def bar(name: str, total: int) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on stderr, and only on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns, TimeElapsedColumn(), Remaining(), console=console, disable=not console.is_terminal
    ) as progress:
        yield progress, progress.add_task("", total=total)
