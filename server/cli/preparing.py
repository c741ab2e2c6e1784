"""`pr2 train prepare`: a data set as prompts, with the profiles in one store that all workers share."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from server.cli import judging, options
from server.cli.errors import BadInput, as_cli_errors
from server.cli.printable import one_line
from server.cli.progress import bar

if TYPE_CHECKING:
    from training.policy.prepare import Preparation, Prompts
    from training.tasks.errors import InvalidRecord

_SHOWN = 20
"""Faulty records that are named."""


def prepare(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of it all.")],
    dataset: options.LearnedFrom = "lamp-qa",
    validation: options.Validation = None,
    most: options.MostOfEach = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out records that do not fit, and list them.")
    ] = False,
    without_profile: Annotated[
        list[Path] | None,
        typer.Option(
            "--without-profile",
            metavar="RUN",
            help="A run of pr2 evaluate --method none by the policy that training begins with; repeatable.",
        ),
    ] = None,
    formula: Annotated[
        Literal["without_profile", "grpo", "released"],
        typer.Option("--formula", help="How rewards become advantages."),
    ] = "without_profile",
    weight: Annotated[
        float,
        typer.Option(min=0, max=1, help="The part of the baseline that is the answer without the profile."),
    ] = 0.5,
    judge: judging.Kind = "lexical",
    judge_url: judging.Url = None,
    judge_model: judging.Model = "",
    judge_args: judging.Arguments = "{}",
    cost_search: Annotated[float, typer.Option(min=0, help="Taken off the score for every search.")] = 0.0,
    cost_violation: Annotated[float, typer.Option(min=0, help="For every deviation from the tags.")] = 0.0,
    cost_invalid: Annotated[float, typer.Option(min=0, help="For ending without an answer.")] = 0.2,
    top_k: Annotated[int | None, typer.Option(help="Documents that one search brings.")] = None,
    max_searches: Annotated[int | None, typer.Option(help="The most searches.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens that the policy may write.")] = None,
    seed: Annotated[int, typer.Option(help="Of who is held out to validate with.")] = 0,
    retriever: options.Retriever = None,
    encoder: options.Encoder = None,
) -> None:
    """Write what a training of the policy reads: prompts, the shared store, and the environment's settings.

    DIR gets train.jsonl and validation.jsonl (OpenRLHF's prompt files), store/ with every profile and its
    vectors, and environment.json. Another configuration than that of an earlier call is refused.
    """
    with as_cli_errors():
        from server.settings import QuestionLimits
        from training.folder import locked
        from training.policy.advantage import Formula
        from training.policy.environment import Configuration
        from training.policy.prepare import STORE, Preparation, check_storable, scores_without_profile
        from training.policy.reward import Costs
        from training.tasks.datasets import parts_of
        from training.tasks.survey import survey

        if judge == "openai" and not (judge_url and judge_model):
            raise BadInput("--judge openai needs --judge-url and --judge-model")
        chosen = judging.judge_configuration(judge, judge_url, judge_model, judge_args)
        given = {"top_k": top_k, "max_searches": max_searches, "max_tokens": max_tokens}
        limits = {name: value for name, value in given.items() if value is not None}
        configuration = Configuration(
            data=(out / STORE).resolve(),
            encoder=encoder or "minilm",
            retriever=retriever or "hybrid",
            limits=QuestionLimits(**limits).limits(),
            judge=chosen,
            costs=Costs(search=cost_search, violation=cost_violation, invalid=cost_invalid),
            formula=Formula(formula, weight=weight),
        )
        faults: list[InvalidRecord] = []
        skip = faults.append if skip_invalid else None
        parts, split = parts_of(dataset, validation, most, seed, skip)
        checked = {name: survey(part, check_storable, skip) for name, part in parts.items()}
        with locked(out):
            scores = scores_without_profile(without_profile or [], configuration.judge)
            preparation = Preparation(dataset, split, checked, configuration, scores)
            preparation.pin(out)
            _print(out, preparation, asyncio.run(_write(out, preparation)))
        _report(faults)


async def _write(out: Path, preparation: "Preparation") -> "Sequence[Prompts]":
    from server.cli.backend import open_local
    from training.evaluation.profiles import KeptProfiles

    configuration = preparation.configuration
    flags = options.flags(
        data=configuration.data, encoder=configuration.encoder, policy="extractive", protocol="tags"
    )
    count = sum(part.count for part in preparation.parts.values())
    async with open_local(flags) as backend:
        with bar("questions", count) as (progress, task):
            return await preparation.write(out, KeptProfiles(backend).keep, lambda: progress.advance(task))


def _print(out: Path, preparation: "Preparation", written: "Sequence[Prompts]") -> None:
    from training.policy.prepare import ENVIRONMENT

    for part in written:
        typer.echo(f"{part.file}: {part.questions} questions, {part.scored} with a score without the profile")
    typer.echo(f"validated with: {preparation.split}\n{out / ENVIRONMENT}: what the environment is made of")
    formula = preparation.configuration.formula.name
    if formula != "grpo" and not preparation.without_profile:
        typer.echo(
            f"No run was given with --without-profile, so the formula {formula} takes the mean of each "
            "question's samples in its place.",
            err=True,
        )


def _report(faults: "list[InvalidRecord]") -> None:
    named = dict.fromkeys(map(str, faults))  # The data set was read more than once.
    if named:
        typer.echo(f"{len(named)} records do not fit, and were left out:", err=True)
    for fault in list(named)[:_SHOWN]:
        typer.echo(one_line(f"  {fault}"), err=True)
