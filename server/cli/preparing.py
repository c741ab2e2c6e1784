"""`pr2 train prepare`: turns a data set into prompts and one store that all workers share."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agent.methods import METHODS
from server.cli import judging, lamp, options, rewards
from server.cli.errors import BadInput, as_cli_errors
from server.cli.printable import one_line
from server.cli.progress import bar

if TYPE_CHECKING:
    from training.evaluation.task import Task
    from training.policy.prepare import Preparation, Prompts
    from training.tasks.errors import InvalidRecord

_SHOWN = 20
"""Number of invalid records to list."""


def prepare(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the prepared files.")],
    benchmark: lamp.Benchmark = "lamp-qa",
    task: lamp.TaskNumber = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME|PATH",
            help="lamp-qa (default), sample, or a JSON or JSONL file. For LaMP: lamp-sample (default), lamp, "
            "or a folder or file of its layout.",
        ),
    ] = None,
    separation: lamp.Separation = None,
    validation: options.Validation = None,
    most: options.MostOfEach = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="Method that the policy is trained for: "
            f"{', '.join(name for name, method in METHODS.items() if not method.plans)}.",
        ),
    ] = "pr2",
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out invalid records, and list them.")
    ] = False,
    without_profile: Annotated[
        list[Path] | None,
        typer.Option(
            "--without-profile",
            metavar="RUN",
            help="Run of pr2 evaluate --method none with the initial policy; repeatable.",
        ),
    ] = None,
    reward: rewards.Name = "rubric",
    quality: rewards.Quality = None,
    weight_format: rewards.Format = None,
    weight_preference: rewards.Preference = None,
    reward_model: rewards.Model = None,
    reward_url: rewards.Url = None,
    formula: Annotated[
        Literal["without_profile", "grpo", "released"] | None,
        typer.Option(
            "--formula",
            help="Formula of the advantages; default: without_profile, for the reward prlm grpo.",
        ),
    ] = None,
    weight: Annotated[
        float,
        typer.Option(min=0, max=1, help="Weight of the score without profile in the baseline."),
    ] = 0.5,
    judge: judging.Kind = "lexical",
    judge_url: judging.Url = None,
    judge_model: judging.Model = "",
    judge_args: judging.Arguments = "{}",
    cost_search: Annotated[float, typer.Option(min=0, help="Deducted per search.")] = 0.0,
    cost_violation: Annotated[float, typer.Option(min=0, help="Deducted per format violation.")] = 0.0,
    cost_invalid: Annotated[
        float | None,
        typer.Option(min=0, help="Deducted if there is no answer; default: 0.2, for the reward prlm 0."),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Documents per search.")] = None,
    max_searches: Annotated[int | None, typer.Option(help="Maximum number of searches.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Maximum tokens of the policy.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the split.")] = 0,
    retriever: options.Retriever = None,
    encoder: options.Encoder = None,
    space: options.Space = None,
) -> None:
    """Prepare a data set for training a policy: prompts, the shared store, the environment's settings.

    Writes to DIR: train.jsonl and validation.jsonl (OpenRLHF's prompt files), store/ with all profiles and
    their vectors, and environment.json. Refuses a DIR that was prepared with another configuration.
    """
    with as_cli_errors():
        from server.settings import QuestionLimits
        from training.folder import locked
        from training.policy.advantage import Formula
        from training.policy.environment import Configuration
        from training.policy.prepare import STORE, Preparation, scores_without_profile
        from training.policy.reward import Costs
        from training.tasks import task_named
        from training.tasks.datasets import parts_of
        from training.tasks.survey import survey

        if judge == "openai" and not (judge_url and judge_model):
            raise BadInput("--judge openai needs --judge-url and --judge-model")
        if reward == "prlm" and without_profile:
            raise BadInput("--without-profile: its scores are not on the scale of --reward prlm")
        of_lamp = lamp.LampOptions(task, separation)
        source: Task[Any]
        if benchmark == "lamp":
            if validation is not None:
                raise BadInput("--validation: for LaMP, which has its own division, there is no such file")
            source = of_lamp.task(dataset)
        else:
            of_lamp.check_absent()
            source = task_named(dataset or "lamp-qa")
        chosen = judging.judge_configuration(judge, judge_url, judge_model, judge_args)
        # The paper's reward has neither costs nor a baseline beyond the group's mean.
        if cost_invalid is None:
            cost_invalid = 0.0 if reward == "prlm" else 0.2
        formula = formula or ("grpo" if reward == "prlm" else "without_profile")
        given = {"top_k": top_k, "max_searches": max_searches, "max_tokens": max_tokens}
        limits = {name: value for name, value in given.items() if value is not None}
        configuration = Configuration(
            data=(out / STORE).resolve(),
            method=method,
            encoder=encoder or "minilm",
            spaces=options.spaces_of(space),
            retriever=retriever or "hybrid",
            limits=QuestionLimits().limits(limits),
            judge=chosen,
            costs=Costs(search=cost_search, violation=cost_violation, invalid=cost_invalid),
            reward=rewards.reward_settings(
                reward, quality, weight_format, weight_preference, reward_model, reward_url
            ),
            formula=Formula(formula, weight=weight),
        )
        faults: list[InvalidRecord] = []
        skip = faults.append if skip_invalid else None
        parts, split = parts_of(source, validation, most, seed, skip)
        checked = {name: survey(part) for name, part in parts.items()}
        with locked(out):
            scores = scores_without_profile(without_profile or [], configuration.judge)
            preparation = Preparation(source.name, split, checked, configuration, scores)
            preparation.pin(out)
            _print(out, preparation, asyncio.run(_write(out, preparation)))
        _report(faults)


async def _write(out: Path, preparation: "Preparation") -> "Sequence[Prompts]":
    from server.cli.backend import open_local
    from training.evaluation.profiles import KeptProfiles

    configuration = preparation.configuration
    flags = options.flags(
        data=configuration.data, encoder=configuration.encoder, policy="extractive", protocol="tags"
    ) | {"spaces": configuration.spaces}
    count = sum(part.count for part in preparation.parts.values())
    async with open_local(flags) as backend:
        with bar("questions", count) as (progress, task):
            return await preparation.write(out, KeptProfiles(backend).keep, lambda: progress.advance(task))


def _print(out: Path, preparation: "Preparation", written: "Sequence[Prompts]") -> None:
    from training.policy.prepare import ENVIRONMENT

    for part in written:
        typer.echo(f"{part.file}: {part.questions} questions, {part.scored} with a score without profile")
    typer.echo(f"validated with: {preparation.split}\n{out / ENVIRONMENT}: settings of the environment")
    formula = preparation.configuration.formula.name
    if formula != "grpo" and not preparation.without_profile:
        typer.echo(
            f"No --without-profile run was given: the formula {formula} uses the mean of each question's "
            "samples instead.",
            err=True,
        )


def _report(faults: "list[InvalidRecord]") -> None:
    named = dict.fromkeys(map(str, faults))  # Records are read more than once.
    if named:
        typer.echo(f"{len(named)} invalid records left out:", err=True)
    for fault in list(named)[:_SHOWN]:
        typer.echo(one_line(f"  {fault}"), err=True)
