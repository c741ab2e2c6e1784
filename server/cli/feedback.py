"""`pr2 train feedback`: measures how useful each of a person's documents is to the LLM that answers."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from server.cli import judging, lamp, options, texts
from server.cli.errors import BadInput, as_cli_errors

if TYPE_CHECKING:
    from server.cli.collecting import Opening
    from training.evaluation.task import Task


@options.shared(
    flags=("data", "encoder", "space", "passage_tokens", *options.POLICY),
    limits=("max_tokens", "deadline_ms"),
)
def feedback(
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the feedback; one in it is continued.")
    ],
    benchmark: lamp.Benchmark = "lamp-qa",
    task: lamp.TaskNumber = None,
    dataset: lamp.Dataset = None,
    split: Annotated[str, typer.Option("--split", help="train, validation or test.")] = "train",
    separation: lamp.Separation = None,
    dates: lamp.Dates = False,
    most: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N questions.")] = None,
    documents: Annotated[
        int, typer.Option("--documents", min=1, help="Documents per question: the first of the ranking.")
    ] = 16,
    whole_profile: Annotated[
        bool, typer.Option("--whole-profile", help="All documents that the ranking finds.")
    ] = False,
    retriever: Annotated[
        str, typer.Option("--retriever", help="Initial ranking; dense is that of the encoder to train.")
    ] = "dense",
    measure: Annotated[
        Literal["metric", "likelihood"],
        typer.Option(
            "--measure", help="For LaMP: the metric of the output, or the likelihood of the reference."
        ),
    ] = "metric",
    from_run: Annotated[
        Path | None,
        typer.Option(
            "--from-run",
            metavar="RUN",
            help="A run of pr2 evaluate, whose answers' citations are the feedback. Calls no model.",
        ),
    ] = None,
    engine: texts.Engine = None,
    beams: texts.Beams = None,
    tokenizer: texts.Tokenizer = None,
    prompt_tokens: lamp.PromptTokens = None,
    judge: judging.Kind = "lexical",
    judge_url: judging.Url = None,
    judge_model: judging.Model = "",
    judge_args: judging.Arguments = "{}",
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Calls in flight, including judging.")
    ] = 32,
    prices: Annotated[
        tuple[float, float] | None,
        typer.Option("--prices", help="Per million prompt and completion tokens; to show the cost."),
    ] = None,
    limits: options.Given,
    flags: options.Given,
) -> None:
    """Measure how useful each document is: the score of the LLM's output with that document alone.

    For LaMP, the score is the task's metric of what a text model (--engine) writes; for LaMP-QA, that of the
    judge for the policy's answer (--policy). DIR gets feedback.jsonl and manifest.json, for pr2 train
    retriever. A killed collection continues where it stopped; another configuration is refused. Outputs are
    kept in DIR/../outputs.db, and profiles in DIR/../store (--data), for all collections.

    Exit code 1: some calls failed. Their documents have no feedback (null), and are owed.
    """
    of_lamp = lamp.LampOptions(task, separation, dates, engine, beams, tokenizer, prompt_tokens)
    given = {"data": out.parent / "store", **flags}
    with as_cli_errors():
        from server.cli import collecting
        from training.tasks import task_named

        if from_run is not None:
            collecting.from_run(out, from_run)
            return
        opening: Opening
        if benchmark == "lamp":
            chosen: Task[Any] = of_lamp.task(dataset)
            opening = collecting.lamp_utility(of_lamp, given, limits, measure)
        else:
            of_lamp.check_absent()
            if measure != "metric":
                raise BadInput("--measure likelihood needs references: only with --benchmark lamp")
            chosen = task_named(dataset or "sample")
            judged_by = judging.judge_configuration(judge, judge_url, judge_model, judge_args)
            opening = collecting.rubric_utility(given, limits, judged_by, out.parent)
        asked = collecting.Asked(
            chosen, split, most, retriever, None if whole_profile else documents, dates, concurrency, prices
        )
        failed = asyncio.run(collecting.collected(out, asked, given, opening))
    if failed:
        raise typer.Exit(1)
