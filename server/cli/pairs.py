"""`pr2 train pairs`: collects the answers, with and without the profile, that a reward model learns from."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, TaskID

from server.cli import lamp, options, texts
from server.cli.errors import as_cli_errors
from server.cli.printable import one_line
from server.cli.progress import bar

if TYPE_CHECKING:
    from training.evaluation.records import Record
    from training.evaluation.task import Task
    from training.reward_model.collect import Asked, CollectedPairs


@options.shared(
    flags=("data", "encoder", "space", "passage_tokens", *options.POLICY),
    limits=("top_k", "max_tokens", "deadline_ms"),
)
def pairs(
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the pairs; one in it is continued.")
    ],
    benchmark: lamp.Benchmark = "lamp-qa",
    task: lamp.TaskNumber = None,
    dataset: lamp.Dataset = None,
    split: Annotated[str, typer.Option("--split", help="train, validation or test.")] = "train",
    separation: lamp.Separation = None,
    dates: lamp.Dates = False,
    most: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N questions.")] = None,
    others: Annotated[
        bool,
        typer.Option("--others", help="Also answer with another person's profile, for --negatives others."),
    ] = False,
    history: Annotated[
        int, typer.Option("--history", min=1, help="Newest documents of the person to keep with a pair.")
    ] = 32,
    retriever: options.Retriever = None,
    engine: texts.Engine = None,
    beams: texts.Beams = None,
    tokenizer: texts.Tokenizer = None,
    prompt_tokens: lamp.PromptTokens = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Questions in flight.")] = 32,
    seed: Annotated[int, typer.Option("--seed", help="Determines whose profiles --others uses.")] = 0,
    limits: options.Given,
    flags: options.Given,
) -> None:
    """Answer each question twice by the same LLM: with the retrieved profile, and without.

    DIR gets pairs.jsonl and manifest.json, for pr2 train reward-model, and in DIR/runs the two runs of
    pr2 evaluate (methods rag and none) that the pairs are joined from. A killed collection continues where it
    stopped; another configuration is refused. Profiles are kept in DIR/../store (--data).

    Exit code 1: some questions could not be answered and are still owed.
    """
    of_lamp = lamp.LampOptions(task, separation, dates, engine, beams, tokenizer, prompt_tokens)
    given = {"data": out.parent / "store", **flags}
    with as_cli_errors():
        from training.reward_model.collect import Asked
        from training.tasks import task_named

        adapted: lamp.Adapted = nullcontext
        if benchmark == "lamp":
            chosen: Task[Any] = of_lamp.task(dataset)
            adapted = of_lamp.answering(given, limits, local=True)
        else:
            of_lamp.check_absent()
            chosen = task_named(dataset or "sample")
        asked = Asked(chosen, split, most, retriever, limits, others, history, concurrency, seed)
        found = asyncio.run(_collect(out, asked, given, adapted))
    typer.echo(f"{out}: {found.pairs} pairs, {found.empty} left out because a side is empty")
    if found.owed:
        typer.echo(f"still owed: {found.owed} questions; run the same command again", err=True)
        raise typer.Exit(1)


async def _collect(
    out: Path, asked: "Asked", flags: Mapping[str, Any], adapted: lamp.Adapted
) -> "CollectedPairs":
    from server.cli.answers import BackendAnswers
    from server.cli.backend import open_local
    from training.reward_model.collect import collect

    # Read one question first: a wrong name is reported before models are loaded.
    next(iter(asked.task.read([], asked.split)), None)
    async with open_local(flags) as backend, adapted(BackendAnswers(backend)) as answers:
        with bar(out.name, 1) as (progress, task):
            return await collect(out, asked, answers, _Watcher(progress, task))


class _Watcher:
    """Shows the questions of one side after another, and names each failure once."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._reasons = set[str]()

    def started(self, questions: int, finished: int) -> None:
        self._progress.reset(self._task, total=questions, completed=finished)

    def finished(self, record: "Record") -> None:
        self._progress.advance(self._task)

    def failed(self, question_id: str, why: str) -> None:
        self._progress.advance(self._task)
        if why not in self._reasons:
            self._reasons.add(why)
            line = one_line(f"{question_id}: {why}")
            self._progress.console.print(line, style="red", highlight=False, markup=False)
