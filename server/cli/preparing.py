"""`pr2 train prepare`: a data set as prompts, with the profiles in one store that all workers share."""

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from server.cli import judging, options
from server.cli.errors import BadInput, said_plainly
from server.cli.printable import one_line
from server.cli.progress import bar

if TYPE_CHECKING:
    from training.evaluation.profiles import KeptProfiles
    from training.policy.environment import Configuration
    from training.policy.rows import Row
    from training.tasks.datasets import Part, Questions
    from training.tasks.errors import InvalidRecord

STORE = "store"
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
    with said_plainly():
        from server.settings import QuestionLimits
        from training.folder import locked
        from training.policy.advantage import Formula
        from training.policy.environment import Configuration
        from training.policy.reward import Costs
        from training.tasks.datasets import parts_of

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
        parts, split = parts_of(dataset, validation, most, seed, faults.append if skip_invalid else None)
        parts = {name: _storable(part, faults if skip_invalid else None) for name, part in parts.items()}
        with locked(out):
            asyncio.run(_write(out, dataset, configuration, parts, split, without_profile or []))
        _report(faults)


def _storable(questions: "Questions", faults: "list[InvalidRecord] | None") -> "Questions":
    """Those whose profile the store takes; the others are faults, or an error."""
    from index.documents import parse_document
    from index.errors import InvalidDocument
    from training.tasks.errors import InvalidRecord

    left_out = set()
    for number, question in enumerate(questions(), 1):
        for place, item in enumerate(question.profile):
            try:
                parse_document({"id": item.id, "text": item.text})
            except InvalidDocument as error:
                fault = InvalidRecord(f"question {question.id}", number, f"profile.{place}", str(error))
                if faults is None:
                    raise fault from None
                faults.append(fault)
                left_out.add(question.id)
                break
    return lambda: (question for question in questions() if question.id not in left_out)


async def _write(
    out: Path,
    dataset: str,
    configuration: "Configuration",
    parts: "dict[Part, Questions]",
    split: str,
    runs: list[Path],
) -> None:
    from server.cli.backend import open_local
    from training.evaluation.profiles import KeptProfiles
    from training.evaluation.task import dataset_hash
    from training.folder import pin_configuration, write_json
    from training.policy.prepare import ENVIRONMENT, scores_without_profile, write_prompts

    scores = {
        question: score
        for run in runs
        for question, score in scores_without_profile(run, configuration.judge).items()
    }
    known = hashlib.sha256(repr(sorted(scores.items())).encode()).hexdigest()
    hashes: dict[str, Any] = {name: dataset_hash(questions()) for name, questions in parts.items()}
    values = configuration.model_dump(mode="json")
    pin_configuration(
        out / "prepared.json",
        {"dataset": dataset, "split": split, **hashes, "without_profile": known, **values},
    )
    flags = options.flags(
        data=out / STORE, encoder=configuration.encoder, policy="extractive", protocol="tags"
    )
    async with open_local(flags) as backend:
        profiles = KeptProfiles(backend)
        for name, questions in parts.items():
            rows = await _rows(name, questions, profiles, scores)
            count = write_prompts(out / f"{name}.jsonl", rows, configuration.limits)
            told = sum(row.without_profile is not None for row in rows)
            typer.echo(f"{out / f'{name}.jsonl'}: {count} questions, {told} with a score without the profile")
    write_json(out / ENVIRONMENT, values)
    typer.echo(f"validated with: {split}\n{out / ENVIRONMENT}: what the environment is made of")
    if configuration.formula.name != "grpo" and not scores:
        typer.echo(
            f"No run was given with --without-profile, so the formula {configuration.formula.name} takes the "
            "mean of each question's samples in its place.",
            err=True,
        )


async def _rows(
    name: str, questions: "Questions", profiles: "KeptProfiles", scores: Mapping[tuple[str, str], float]
) -> "list[Row]":
    """Each question with its profile in the store."""
    from training.policy.rows import Row

    rows = []
    with bar(name, sum(1 for _ in questions())) as (progress, task):
        for question in questions():
            user = await profiles.keep(question)
            bare = question.model_copy(update={"profile": ()})
            rows.append(
                Row(user=user, question=bare, without_profile=scores.get((question.id, question.question)))
            )
            progress.advance(task)
    return rows


def _report(faults: "list[InvalidRecord]") -> None:
    named = dict.fromkeys(map(str, faults))  # The data set was read more than once.
    if named:
        typer.echo(f"{len(named)} records do not fit, and were left out:", err=True)
    for fault in list(named)[:_SHOWN]:
        typer.echo(one_line(f"  {fault}"), err=True)
