"""`pr2 rank`: sorts the profiles of a data set by a retriever."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli import lamp, options
from server.cli.errors import as_cli_errors
from server.cli.progress import bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from training.tasks.ranking import Question


@options.shared(flags=("encoder", "space", "passage_tokens"))
def rank(
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The file to write. If it is named …questions.json, LaMP's outputs are written beside it.",
        ),
    ],
    benchmark: lamp.Benchmark = "lamp-qa",
    task: lamp.TaskNumber = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME|PATH", help="As for pr2 evaluate; default: the sample."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="As for pr2 evaluate: train, validation or test.")
    ] = None,
    separation: lamp.Separation = None,
    dates: lamp.Dates = False,
    most: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N questions.")] = None,
    retriever: options.Retriever = None,
    data: options.Data = None,
    flags: options.Given,
) -> None:
    """Write a data set with each profile sorted, best entry first, in the published format.

    Profiles are kept in a local store (--data, default: store beside FILE), which pr2 evaluate uses as well.
    Entries that the retriever does not find follow in their old order.
    """
    with as_cli_errors():
        from itertools import islice

        questions = _questions(lamp.LampOptions(task, separation, dates), benchmark, dataset, split)
        # Read one question first: a wrong name is reported before models are loaded.
        next(questions(), None)
        place = {"data": data or out.parent / "store", **flags}
        count = asyncio.run(_rank(lambda: islice(questions(), most), retriever, out, place))
    typer.echo(f"{out}: {count} profiles sorted")


def _questions(
    of_lamp: lamp.LampOptions, benchmark: str, dataset: str | None, split: str | None
) -> "Callable[[], Iterator[Question]]":
    if benchmark == "lamp":
        task = of_lamp.task(dataset)
        return lambda: task.inputs(split or "validation")
    from training.tasks import task_named

    of_lamp.check_absent()
    other = task_named(dataset or "sample")
    return lambda: other.read([], split or "test")


async def _rank(
    questions: "Callable[[], Iterator[Question]]", retriever: str | None, out: Path, flags: Mapping[str, Any]
) -> int:
    from server.cli.answers import BackendAnswers
    from server.cli.backend import open_local
    from training.tasks.ranking import rank_profiles

    # The retrievers need no policy, and a configured one may be large.
    searching = {**flags, "policy": {"engine": "extractive", "protocol": "tags"}}
    async with open_local(searching) as backend:
        answers = BackendAnswers(backend)

        async def search(user: str, query: str, k: int) -> Sequence[str]:
            return [passage.document_id for passage in await answers.search(user, query, k, retriever)]

        with bar(out.name, None) as (progress, shown):
            return await rank_profiles(questions(), answers, search, out, lambda: progress.advance(shown))
