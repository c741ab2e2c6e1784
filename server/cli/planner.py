"""`pr2 train planner`: trains the model that writes the plans of the method planpers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli import options
from server.cli.errors import as_cli_errors
from server.cli.printable import one_line
from server.cli.progress import TrainingBar, bar

if TYPE_CHECKING:
    from index.documents import Passage
    from training.planner.data import Recorded
    from training.planner.sft import KeptAdapter, Recipe

_VLLM_RANK = 16
"""vLLM's default limit on the rank of an adapter."""
_SHOWN = 5
"""Number of left-out questions to list."""


@dataclass(frozen=True)
class Data:
    """Options for the questions to learn from, and for finding their passages."""

    dataset: str
    validation: Path | None
    most: int | None
    flags: dict[str, Any]
    retriever: str | None
    top_k: int
    max_length: int


def planner(
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder of examples, checkpoints and adapter."),
    ],
    dataset: options.LearnedFrom = "lamp-qa",
    validation: options.Validation = None,
    most: options.MostOfEach = None,
    prepare_only: Annotated[
        bool, typer.Option("--prepare-only", help="Write the examples, but do not train.")
    ] = False,
    model: Annotated[
        str, typer.Option("--model", help="Model to adapt: a folder, or a name on the Hugging Face Hub.")
    ] = "Qwen/Qwen2.5-7B-Instruct",
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 2_000,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples per batch.")] = 4,
    gradient_accumulation: Annotated[int, typer.Option(min=1, help="Batches per step.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate; decays linearly.")] = (5e-5),
    warmup: Annotated[
        float, typer.Option(min=0, max=0.99, help="Fraction of the steps used for warm-up.")
    ] = (0.1),
    lora_rank: Annotated[int, typer.Option(min=1, help="Rank of the adapter.")] = 16,
    lora_alpha: Annotated[int, typer.Option(min=1, help="Scale of the adapter, times its rank.")] = 16,
    lora_dropout: Annotated[float, typer.Option(min=0, max=0.99, help="Dropout before the adapter.")] = 0.05,
    max_length: Annotated[int, typer.Option(min=16, help="Maximum tokens per example.")] = 8_192,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 250,
    seed: Annotated[int, typer.Option(help="Random seed of training and split.")] = 0,
    top_k: Annotated[int, typer.Option(min=1, max=100, help="Passages per plan.")] = 10,
    cpu: Annotated[bool, typer.Option("--cpu", help="Train without a GPU (tiny models).")] = False,
    retriever: options.Retriever = None,
    data: options.Data = None,
    encoder: options.Encoder = None,
    space: options.Space = None,
) -> None:
    """Train the planner of the method planpers: a LoRA adapter that predicts what the user expects.

    Writes examples and checkpoints to DIR, and the adapter with the lowest validation loss to DIR/adapter.
    The defaults are those published with LaMP-QA. An interrupted run resumes from its last checkpoint;
    a changed configuration is refused. Without --data, profiles are stored in DIR/../store.
    """
    with as_cli_errors():
        from training.folder import locked
        from training.planner.prepare import EXAMPLES
        from training.planner.sft import Recipe, check_can_train, train

        recipe = Recipe(
            steps=steps,
            batch_size=batch_size,
            gradient_accumulation=gradient_accumulation,
            learning_rate=learning_rate,
            warmup=warmup,
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            lora_dropout=lora_dropout,
            validate_every=validate_every,
            seed=seed,
        )
        if not prepare_only:
            check_can_train(model, recipe, max_length, cpu=cpu)
        # No question is answered here, so the policy in the settings is not loaded.
        flags = options.flags(
            data=data or out.parent / "store",
            encoder=encoder,
            space=space,
            policy="extractive",
            protocol="tags",
        )
        given = Data(dataset, validation, most, flags, retriever, top_k, max_length)
        with locked(out):
            recorded = asyncio.run(_prepare(out, given, model, seed))
            _print_examples(out / EXAMPLES, recorded)
            if prepare_only:
                return
            with bar("training", steps) as (progress, task):
                outcome = train(
                    out, out / EXAMPLES, model, recipe, cpu=cpu, watcher=TrainingBar(progress, task)
                )
    _print_outcome(outcome, model, recipe, given)


async def _prepare(out: Path, data: Data, model: str, seed: int) -> "Recorded":
    from server.cli.backend import open_local
    from training.evaluation.profiles import KeptProfiles
    from training.planner.prepare import Preparation
    from training.planner.sft import load_tokenizer
    from training.tasks.datasets import parts_of
    from training.tasks.survey import survey

    questions, split = parts_of(data.dataset, data.validation, data.most, seed)
    parts = {name: survey(part) for name, part in questions.items()}
    counts = {name: part.count for name, part in parts.items()}
    typer.echo(f"{counts['train']} questions to train on, {counts['validation']} to validate with: {split}")
    tokenizer = load_tokenizer(model)
    async with open_local(data.flags) as backend:
        settings = backend.service.settings
        limits = settings.limits.limits({"top_k": data.top_k})
        retriever = data.retriever or settings.retriever
        encoder = backend.service.profiles.encoders
        preparation = Preparation(
            data.dataset, split, parts, model, data.max_length, limits, retriever, encoder
        )
        preparation.pin(out)

        async def search(user: str, query: str, k: int) -> "Sequence[Passage]":
            return (await backend.search(user, [query], k, retriever))[0]

        keep = KeptProfiles(backend).keep
        with bar("examples", sum(counts.values())) as (progress, task):
            return await preparation.write(out, tokenizer, keep, search, partial(progress.advance, task))


def _print_examples(file: Path, recorded: "Recorded") -> None:
    counts = recorded.examples
    typer.echo(f"{file}: {counts['train']} examples to train on, {counts['validation']} to validate with")
    if recorded.left_out:
        typer.echo(f"{len(recorded.left_out)} questions left out:", err=True)
    for question, why in list(recorded.left_out.items())[:_SHOWN]:
        typer.echo(one_line(f"  {question}: {why}"), err=True)


def _print_outcome(outcome: "KeptAdapter", model: str, recipe: "Recipe", data: Data) -> None:
    ranks = f" --max-lora-rank {recipe.lora_rank}" if recipe.lora_rank > _VLLM_RANK else ""
    same = {"retriever": data.retriever, "encoder": data.flags.get("encoder")}
    found = "".join(f" --{option} {value}" for option, value in same.items() if value)
    found += "".join(f" --space {name}={value}" for name, value in data.flags.get("spaces", {}).items())
    typer.echo(
        f"{outcome.adapter}: step {outcome.step}, validation loss {outcome.validation_loss:.4f}\n"
        "To evaluate it:\n"
        f"  vllm serve {model} --port 8001 --enable-lora{ranks} --lora-modules planner={outcome.adapter}\n"
        f"  pr2 evaluate --dataset {data.dataset} --method planpers --policy openai --model {model}"
        " --planner-model planner --planner-protocol tags"
        f" --top-k {data.top_k}{found} --out RUN"
    )
