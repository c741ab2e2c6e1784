"""`pr2 evaluate`: evaluates the local service or a server on a task, and reports on the runs."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.methods import METHODS
from server.cli import judging, lamp, options, texts
from server.cli.errors import BadInput, as_cli_errors
from server.cli.evaluator import Concurrency, Most, Seed, evaluator
from server.cli.printable import one_line
from server.cli.selecting import pool
from server.cli.sweeping import sweep

if TYPE_CHECKING:
    from training.evaluation.evaluate import Evaluation
    from training.evaluation.runs import RunOutcome
    from training.evaluation.task import Task
    from training.judging.factory import JudgeConfiguration

evaluate = typer.Typer(help="Measure how well answers fit the person who asked, as LaMP-QA and LaMP do.")


evaluate.command()(pool)
evaluate.command()(sweep)


@evaluate.callback(invoke_without_command=True)
@options.shared(
    flags=("data", "encoder", "space", "passage_tokens", "selector", *options.POLICY, *options.PLANNER),
    limits=("top_k", "max_searches", "max_tokens"),
)
def run(
    context: typer.Context,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The run's folder; a run in it is continued."),
    ] = None,
    benchmark: lamp.Benchmark = "lamp-qa",
    task: lamp.TaskNumber = None,
    dataset: lamp.Dataset = None,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="art, lifestyle or society; default: all.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="train, validation or test; default: test, and validation (dev) for LaMP."
        ),
    ] = None,
    separation: lamp.Separation = None,
    dates: lamp.Dates = False,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help=f"{', '.join(METHODS)}; rag-random uses another person's passages, planpers-oracle the "
            "rubric as the plan. Default: pr2; for LaMP rag, none for the bare input, or prlm.",
        ),
    ] = None,
    most: Most = None,
    fold: Annotated[
        str | None,
        typer.Option("--fold", metavar="N/K", help="Only the people of the Nth of K folds."),
    ] = None,
    judge: judging.Kind = "lexical",
    judge_url: judging.Url = None,
    judge_model: judging.Model = "",
    judge_args: judging.Arguments = "{}",
    concurrency: Concurrency = 32,
    per_second: Annotated[
        float | None, typer.Option("--per-second", min=0.001, help="Most questions started per second.")
    ] = None,
    prices: Annotated[
        tuple[float, float] | None,
        typer.Option("--prices", help="Per million prompt and completion tokens; for costs in the report."),
    ] = None,
    seed: Seed = 0,
    limits: options.Given,
    retriever: options.Retriever = None,
    engine: texts.Engine = None,
    beams: texts.Beams = None,
    tokenizer: texts.Tokenizer = None,
    prompt_tokens: lamp.PromptTokens = None,
    server: options.Server = None,
    flags: options.Given,
) -> None:
    """Answer and score every question of a data set, and write the results to DIR.

    DIR gets responses and scores in the benchmark's own formats, trajectories, and a manifest. A killed run
    continues where it stopped; another configuration is refused. The profiles are kept in a store beside the
    runs (--data, default: DIR/../store), so that they are encoded once.

    Exit code 1: some questions could not be answered and are still owed.
    """
    if context.invoked_subcommand is not None:
        return
    with as_cli_errors():
        if out is None:
            raise BadInput("give --out DIR, the folder of the run (see pr2 evaluate --help)")
    given = dict(flags)
    if server is None:
        given.setdefault("data", out.parent / "store")
    of_lamp = lamp.LampOptions(task, separation, dates, engine, beams, tokenizer, prompt_tokens)
    with as_cli_errors():
        from training.evaluation.evaluate import Evaluation
        from training.folds import Fold
        from training.tasks import task_named

        adapted: lamp.Adapted = nullcontext
        if benchmark == "lamp":
            chosen_task: Task[Any] = of_lamp.task(dataset)
            adapted = of_lamp.answering(given, limits, method, local=server is None)
        else:
            of_lamp.check_absent()
            chosen_task = task_named(dataset or "sample")
        evaluation = Evaluation(
            out=out,
            task=chosen_task,
            method=method or ("rag" if benchmark == "lamp" else "pr2"),
            categories=category or [],
            split=split or ("validation" if benchmark == "lamp" else "test"),
            most=most,
            fold=None if fold is None else Fold.parse(fold),
            retriever=retriever,
            limits=limits,
            seed=seed,
            concurrency=concurrency,
            per_second=per_second,
            prices=prices,
        )
        chosen = judging.judge_configuration(judge, judge_url, judge_model, judge_args)
        outcome = asyncio.run(_evaluate(evaluation, chosen, server, given, adapted))
    _print(outcome)
    if outcome.failed:
        raise typer.Exit(1)


@evaluate.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of the runs to compare.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Default: the folder that holds the first run."),
    ] = None,
) -> None:
    """Write a report on one or several runs, as an HTML page and as Markdown."""
    from training.evaluation.report import write_report

    folder = out or runs[0].parent
    with _input_errors():
        write_report(runs, folder)
    typer.echo(f"{folder / 'report.html'}")


@evaluate.command()
def exhibits(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs, of any data sets.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Default: the folder that holds the first run."),
    ] = None,
    pools: Annotated[
        list[Path] | None,
        typer.Option("--pool", metavar="FILE", help="A file of pr2 evaluate pool --json, for Table 4."),
    ] = None,
) -> None:
    """Write the exhibits of arXiv 2404.05970 from finished runs, as an HTML page and as Markdown.

    The runs of a data set differ in their retriever alone; those that an exhibit lacks are named.
    """
    from training.evaluation.exhibits import PAGE, write_exhibits

    folder = out or runs[0].parent
    with _input_errors():
        write_exhibits(runs, folder, pools or ())
    typer.echo(f"{folder / PAGE}")


Run = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.", show_default=False)]


@evaluate.command()
def form(
    folder: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The form; JSONL.", show_default=False)],
    dataset: Annotated[
        str,
        typer.Option("--dataset", metavar="NAME|FILE", help="The run's data set, which has the narratives."),
    ] = "sample",
    split: Annotated[str, typer.Option("--split", help="For lamp-qa: train, validation or test.")] = "test",
    count: Annotated[int, typer.Option("--count", min=1, help="Number of aspects to rate.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Determines which are drawn.")] = 0,
) -> None:
    """Write a form in which people rate aspects of the run's answers without seeing the judge's verdicts."""
    from training.judging.forms import write_form
    from training.tasks.datasets import questions_of

    with _input_errors():
        written = write_form(folder, file, count, seed, questions_of(dataset, [], split, None)())
    typer.echo(f"{file}: {written} aspects to rate")


@evaluate.command()
def agreement(
    folder: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ratings; JSONL.", show_default=False)],
) -> None:
    """Compare the judge's verdicts with people's ratings: share of equal ones, and Cohen's kappa."""
    from training.judging import agreement as agreements

    with _input_errors():
        typer.echo(agreements.as_text(agreements.agreement(folder, file)))


evaluate.command()(lamp.predictions)


@contextmanager
def _input_errors() -> Iterator[None]:
    """Report an unusable folder or file in one line."""
    with as_cli_errors():
        try:
            yield
        except (ValueError, OSError) as error:
            raise BadInput(str(error)) from None


async def _evaluate(
    evaluation: "Evaluation[Any]",
    judge: "JudgeConfiguration",
    server: str | None,
    flags: Mapping[str, Any],
    adapted: lamp.Adapted,
) -> "RunOutcome":
    # Read one question first: a wrong name is reported before models are loaded.
    next(evaluation.questions(), None)
    async with evaluator(evaluation.out.parent, judge, server, flags, adapted) as run:
        return await run(evaluation)


def _print(outcome: "RunOutcome") -> None:
    from training.evaluation.summary import as_text

    for name, summary in outcome.summaries.items():
        if len(outcome.summaries) > 1:
            typer.echo(name)
        typer.echo(as_text(summary))
    for question, why in outcome.failed.items():
        typer.echo(one_line(f"still owed: {question}: {why}"), err=True)
