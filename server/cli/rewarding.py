"""`pr2 train reward-model`: trains a model that prefers answers which fit the person, and measures it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from server.cli.errors import as_cli_errors
from server.cli.progress import TrainingBar, bar

if TYPE_CHECKING:
    from training.reward_model.measures import Accuracy


def reward_model(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="Folder written by pr2 train pairs.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the training; resumed if interrupted.")
    ],
    model: Annotated[
        str, typer.Option("--model", help="Encoder: minilm (for CPUs), a folder, or a name on the hub.")
    ] = "bert-base-uncased",
    history: Annotated[
        bool,
        typer.Option("--history", help="Let the model read the person's own history: the newest that fits."),
    ] = False,
    negatives: Annotated[
        Literal["plain", "others"],
        typer.Option(
            "--negatives",
            help="Answers to prefer the personalized one to: without a profile, or also with another "
            "person's (pr2 train pairs --others).",
        ),
    ] = "plain",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pairs.")] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Pairs per batch.")] = 64,
    gradient_accumulation: Annotated[int, typer.Option(min=1, help="Batches per step.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate; decays linearly.")] = 5e-5,
    warmup: Annotated[
        float, typer.Option(min=0, max=0.99, help="Fraction of the steps used for warm-up.")
    ] = 0.0,
    max_tokens: Annotated[
        int, typer.Option(min=8, help="Longest input; less if the encoder reads less.")
    ] = 512,
    seed: Annotated[int, typer.Option(help="Random seed of training and split.")] = 42,
) -> None:
    """Train a reward model that scores how well an answer fits the person who asked (PrLM).

    A tenth of the people is held out, and the model is measured on their pairs: how often it prefers the
    personalized answer, the same with length controlled (.5 if all that it learned is a preference for longer
    or shorter answers), and the accuracy of always preferring the longer one; with pairs of --others also how
    often it prefers it to the answer with another's profile. Writes checkpoints to DIR, and the model to
    DIR/reward-model. The defaults are published.
    """
    with as_cli_errors():
        from training.crossencoder import check_can_train
        from training.reward_model.train import Recipe, train
        from training.trainer import working

        check_can_train()
        recipe = Recipe(
            epochs=epochs,
            batch_size=batch_size,
            gradient_accumulation=gradient_accumulation,
            learning_rate=learning_rate,
            warmup=warmup,
            max_tokens=max_tokens,
            seed=seed,
            history=history,
            negatives=negatives,
        )
        with working(out), bar("training", None) as (progress, task):
            made = train(out, pairs, model, recipe, TrainingBar(progress, task))
    typer.echo(f"{made.folder}: step {made.step}, {made.people} people, {made.held_out} held out")
    for name, found in (
        ("accuracy", made.accuracy),
        ("length-controlled", made.length_controlled),
        ("longer wins", made.longer_wins),
    ):
        typer.echo(f"{name:18}{_shown(found)}")
    if made.own:
        typer.echo(f"{'own profile':18}{made.own}")
    if made.histories_cut:
        typer.echo(
            f"{made.histories_cut} histories are longer than the window: their oldest part was not read"
        )


def _shown(found: "Accuracy | None") -> str:
    return str(found or "unknown: the better answer is always, or never, the longer one")
