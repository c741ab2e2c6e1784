"""`pr2 train selector` and `pr2 evaluate pool`: choosing a retriever for each question, and how well."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from server.cli import lamp, options
from server.cli.errors import BadInput, as_cli_errors
from server.cli.progress import TrainingBar, bar

if TYPE_CHECKING:
    from index.documents import Passage
    from training.selector.data import PoolData
    from training.selector.prediction import Retrieved

Runs = Annotated[
    list[str],
    typer.Option(
        "--run",
        metavar="NAME=DIR",
        help="A retriever, and the folder of pr2 evaluate --retriever NAME; once for each of the pool.",
    ),
]
ValidationRuns = Annotated[
    list[str] | None,
    typer.Option(
        "--validation", metavar="NAME=DIR", help="The same of other questions; default: a tenth of them."
    ),
]


def selector(
    mode: Annotated[
        Literal["pre", "post"],
        typer.Option(
            "--mode", help="pre chooses by the prompts, before an answer; post by the answers of all."
        ),
    ],
    run: Runs,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the training; resumed if interrupted.")
    ],
    validation: ValidationRuns = None,
    exact_prompts: Annotated[
        bool,
        typer.Option(
            "--exact-prompts", help="Read LaMP's prompts as published; auto reads question and passages."
        ),
    ] = False,
    model: Annotated[
        str, typer.Option("--model", help="Encoder: minilm (for CPUs), a folder, or a name on the hub.")
    ] = "allenai/longformer-base-4096",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the questions.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions per batch.")] = 8,
    gradient_accumulation: Annotated[int, typer.Option(min=1, help="Batches per step.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate; decays linearly.")] = (1e-5),
    warmup: Annotated[
        float, typer.Option(min=0, max=0.99, help="Fraction of the steps used for warm-up.")
    ] = (0.05),
    temperature: Annotated[
        float, typer.Option(min=0.001, help="Of the target: the lower, the more only the best count.")
    ] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=8, help="Longest input; less if the encoder reads less.")] = (
        1_024
    ),
    seed: Annotated[int, typer.Option(help="Random seed of training and split.")] = 0,
) -> None:
    """Train a selector on finished runs, one for each retriever of a pool (RSPG).

    The runs are of the same questions, and differ in their retriever alone. Writes examples and checkpoints
    to DIR, and the selector with the lowest validation loss to DIR/selector. The defaults are published.
    """
    with as_cli_errors():
        from agent.selecting import RENDERING
        from training.crossencoder import check_can_train
        from training.selector.data import EXACT, check_mode, parted
        from training.selector.prepare import prepare
        from training.selector.train import Recipe, train
        from training.trainer import working

        check_can_train()
        rendering = EXACT if exact_prompts else RENDERING
        data = _pool(run, rendering)
        check_mode(mode, data.common)
        if validation:
            train_on, validate_with = data.examples, _validation(validation, data, rendering).examples
        else:
            train_on, validate_with = parted(data.examples, seed)
        recipe = Recipe(
            epochs=epochs,
            batch_size=batch_size,
            gradient_accumulation=gradient_accumulation,
            learning_rate=learning_rate,
            warmup=warmup,
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
        )
        with working(out) as first:
            with first():
                purpose = prepare(out, mode, data, train_on, validate_with, rendering)
            typer.echo(
                f"{len(train_on)} questions to train on, {len(validate_with)} to validate with, "
                f"{data.left_out} left out; best single retriever: {purpose.best_single}"
            )
            with bar("training", None) as (progress, task):
                kept = train(out, model, recipe, TrainingBar(progress, task))
    typer.echo(
        f"{kept.folder}: step {kept.step}, validation loss {kept.divergence:.4f}, "
        f"score of the chosen {kept.chosen:.4f}"
    )


@options.shared(flags=("data", "encoder", "space", "passage_tokens"))
def pool(
    *,
    run: Runs,
    selectors: Annotated[
        list[Path] | None,
        typer.Option("--selector", metavar="DIR", help="A folder that pr2 train selector wrote."),
    ] = None,
    validation: ValidationRuns = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME|FILE",
            help="The runs' data set: rank its profiles for the predictors WIG, NQC and σ.",
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="For lamp-qa: train, validation or test.")] = "test",
    task: lamp.TaskNumber = None,
    separation: lamp.Separation = None,
    dates: lamp.Dates = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Also write them here, for pr2 evaluate exhibits."),
    ] = None,
    flags: options.Given,
) -> None:
    """Compare ways to choose among the retrievers of a pool: scores, success and winning rates.

    The best single retriever is the best of the validation runs or else of the first selector's validation.
    With --dataset, the profiles are ranked in a store (--data, default: beside the first run).
    """
    with as_cli_errors():
        from agent.selecting import check_pool, load_selector, read_manifest
        from training.folder import write_json
        from training.selector import report
        from training.selector.measures import best_single, outcomes, pool_scores, winning_rates

        data = _pool(run)
        scores = pool_scores(data.members, data.examples)
        manifests = {folder: read_manifest(folder) for folder in selectors or ()}
        for manifest in manifests.values():
            check_pool(manifest.members, data.members)
        if validation:
            other = _validation(validation, data)
            reference = best_single(pool_scores(data.members, other.examples))
        elif selectors:
            reference = str(manifests[selectors[0]].trained_on["best_single"])
        else:
            raise BadInput(
                "give --validation runs or a --selector: the best single retriever is chosen there"
            )
        strategies = report.strategies(scores, reference)
        if dataset is not None:
            flags = {"data": _folders(run)[data.members[0]].parent / "store", **flags}
            questions = _questions(dataset, split, lamp.LampOptions(task, separation, dates), data)
            rankings = asyncio.run(_rankings(questions, data.members, flags))
            strategies |= report.predictions(scores, rankings)
        for folder, manifest in manifests.items():
            chooser = load_selector(folder, rendering=manifest.rendering)
            prompts = _pool(run, manifest.rendering).examples
            strategies[f"{manifest.mode} ({folder})"] = report.selected(scores, chooser, prompts)
        found = outcomes(scores, strategies, reference, seed=seed)
        rates = winning_rates(scores, seed=seed)
        if file is not None:
            write_json(file, report.as_values(str(data.common["dataset"]["hash"]), found))
    typer.echo(report.as_text(scores, found, rates, reference))


def _questions(dataset: str, split: str, of_lamp: lamp.LampOptions, data: "PoolData") -> list[Any]:
    """The questions of the pool. Raises BadInput if they are not in the data set."""
    from training.tasks import task_named

    wanted = {example.id for example in data.examples}
    task: Any = task_named(dataset) if of_lamp.number is None else of_lamp.task(dataset)
    questions = [question for question in task.read([], split) if question.id in wanted]
    if missing := wanted - {question.id for question in questions}:
        raise BadInput(f"{dataset} has no question {min(missing)}: it is not the data set of the runs")
    return questions


async def _rankings(
    questions: Sequence[Any], members: Sequence[str], flags: Mapping[str, Any]
) -> dict[str, list["Retrieved"]]:
    from server.cli.backend import open_local
    from training.evaluation.profiles import KeptProfiles
    from training.selector.rankings import rankings

    async with open_local(flags) as backend:

        async def search(user: str, query: str, k: int, retriever: str) -> "Sequence[Passage]":
            return (await backend.search(user, [query], k, retriever))[0]

        keep = KeptProfiles(backend).keep
        with bar("rankings", len(questions)) as (progress, task):
            return await rankings(
                questions, members, keep, search, lambda count: progress.advance(task, count)
            )


def _pool(runs: Sequence[str], rendering: str | None = None) -> "PoolData":
    """Read the runs, with prompts of a rendering or, by default, of the service's."""
    from agent.selecting import RENDERING
    from training.selector.data import RENDERINGS, collect

    wanted = rendering or RENDERING
    if wanted not in RENDERINGS:
        raise BadInput(f"prompts of the rendering {wanted} are unknown; there are {', '.join(RENDERINGS)}")
    return collect(_folders(runs), RENDERINGS[wanted])


def _validation(runs: Sequence[str], data: "PoolData", rendering: str | None = None) -> "PoolData":
    """The pool of the validation runs. Raises BadInput if it is another pool than that of `data`."""
    found = _pool(runs, rendering)
    if set(found.members) != set(data.members):
        raise BadInput("the validation runs are of another pool")
    return found


def _folders(runs: Sequence[str]) -> dict[str, Path]:
    """Folders by name. Raises BadInput."""
    folders: dict[str, Path] = {}
    for one in runs:
        name, separator, folder = one.partition("=")
        if not (name and separator and folder):
            raise BadInput(f"{one!r} is not of the form NAME=DIR")
        if name in folders:
            raise BadInput(f"there are two runs for {name}")
        folders[name] = Path(folder)
    return folders
