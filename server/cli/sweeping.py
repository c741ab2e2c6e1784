"""`pr2 evaluate sweep`: compares methods over numbers of passages and retrievers."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli import judging, lamp, options, texts
from server.cli.errors import BadInput, as_cli_errors, explain
from server.cli.evaluator import Concurrency, Most, Seed, evaluator
from server.cli.printable import one_line

if TYPE_CHECKING:
    from training.evaluation.evaluate import Evaluation
    from training.evaluation.runs import RunOutcome
    from training.evaluation.sweep import Cell, Failures
    from training.evaluation.task import Task
    from training.judging.factory import JudgeConfiguration

Prepared = tuple[Mapping[str, Any], lamp.Adapted]
"""The flags of a backend, and what makes the answers from it."""


@options.shared(
    flags=("data", "encoder", "space", "passage_tokens", *options.POLICY, *options.PLANNER),
    limits=("max_searches", "max_tokens"),
)
def sweep(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the runs; finished questions are kept.")
    ],
    *,
    benchmark: lamp.Benchmark = "lamp-qa",
    task: lamp.TaskNumber = None,
    dataset: lamp.Dataset = None,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="Only this category; repeatable.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="See pr2 evaluate --split.")] = None,
    separation: lamp.Separation = None,
    dates: lamp.Dates = False,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", help="Repeatable; the first is compared with each other. Default: prlm, then rag."
        ),
    ] = None,
    top_k: Annotated[
        list[int] | None,
        typer.Option("--top-k", min=1, help="Number of passages; repeatable. Default: 1, 2, 4, 8."),
    ] = None,
    retriever: Annotated[
        list[str] | None,
        typer.Option("--retriever", help="Repeatable. Default: bm25, recency, dense, random."),
    ] = None,
    most: Most = None,
    judge: judging.Kind = "lexical",
    judge_url: judging.Url = None,
    judge_model: judging.Model = "",
    judge_args: judging.Arguments = "{}",
    concurrency: Concurrency = 32,
    seed: Seed = 0,
    limits: options.Given,
    engine: texts.Engine = None,
    beams: texts.Beams = None,
    tokenizer: texts.Tokenizer = None,
    prompt_tokens: lamp.PromptTokens = None,
    server: options.Server = None,
    flags: options.Given,
) -> None:
    """Evaluate methods for every number of passages and every retriever, and compare them.

    Each cell is a run of pr2 evaluate in DIR/METHOD-RETRIEVER-kN. DIR gets sweep.html and sweep.md: all
    scores, and the differences of the first method from the others, with intervals. A killed sweep continues
    where it stopped.

    Exit code 1: some cells failed; the report names them, and the same command tries them again.
    """
    methods, ks = method or ["prlm", "rag"], top_k or [1, 2, 4, 8]
    retrievers = retriever or ["bm25", "recency", "dense", "random"]
    of_lamp = lamp.LampOptions(task, separation, dates, engine, beams, tokenizer, prompt_tokens)
    with as_cli_errors():
        from training.evaluation.evaluate import Evaluation
        from training.evaluation.report.sweep import PAGE, write_sweep
        from training.evaluation.sweep import cells_of
        from training.tasks import task_named
        from training.tasks.lamp.reasoned import METHOD

        cells = cells_of(methods, retrievers, ks)
        is_lamp = benchmark == "lamp"
        if not is_lamp:
            of_lamp.check_absent()
        chosen_task: Task[Any] = of_lamp.task(dataset) if is_lamp else task_named(dataset or "sample")
        evaluations: dict[Cell, Evaluation[Any]] = {
            cell: Evaluation(
                out=cell.folder(out),
                task=chosen_task,
                method=cell.method,
                categories=category or [],
                split=split or ("validation" if is_lamp else "test"),
                most=most,
                retriever=cell.retriever,
                limits={**limits, "top_k": cell.top_k},
                seed=seed,
                concurrency=concurrency,
            )
            for cell in cells
        }

        def prepared(name: str) -> Prepared:
            given = dict(flags)
            if server is None:
                given.setdefault("data", out / "store")
            if not is_lamp:
                return given, nullcontext
            asked = of_lamp
            if name == METHOD:
                asked = replace(of_lamp, engine=None, beams=None, tokenizer=None, prompt_tokens=None)
            elif "policy" in given:
                # The server and the model are those of the policy, but a text model knows no protocol.
                given["policy"] = {key: held for key, held in given["policy"].items() if key != "protocol"}
            return given, asked.answering(given, limits, name, local=server is None)

        # LaMP's methods are answered by different models; all others by one policy.
        groups = [[cell for cell in cells if cell.method == name] for name in dict.fromkeys(methods)]
        chosen = judging.judge_configuration(judge, judge_url, judge_model, judge_args)
        running = _run(groups if is_lamp else [cells], evaluations, out, chosen, server, prepared)
        failures = asyncio.run(running)
        try:
            write_sweep(out, cells, failures)
        except ValueError as error:
            raise BadInput(str(error)) from None
    for cell, why in failures.items():
        typer.echo(one_line(f"failed: {cell.folder(out).name}: {why}"), err=True)
    typer.echo(f"{out / PAGE}")
    if failures:
        raise typer.Exit(1)


async def _run(
    groups: "Sequence[Sequence[Cell]]",
    evaluations: "Mapping[Cell, Evaluation[Any]]",
    out: Path,
    judge: "JudgeConfiguration",
    server: str | None,
    prepared: Callable[[str], Prepared],
) -> "Failures":
    from training.evaluation.sweep import run_cells

    failures: dict[Cell, str] = {}
    for cells in groups:
        # Read one question first: a wrong name is reported before models are loaded.
        next(evaluations[cells[0]].questions(), None)
        flags, adapted = prepared(cells[0].method)
        async with evaluator(out, judge, server, flags, adapted) as evaluate:

            async def run(cell: "Cell") -> "RunOutcome":
                return await evaluate(evaluations[cell])

            failures |= await run_cells(cells, run, explain)
    return failures
