"""`pr2 train`: a group with one command, in a module of its own, for each kind of model."""

import typer

from server.cli.feedback import feedback
from server.cli.launching import policy
from server.cli.pairs import pairs
from server.cli.planner import planner
from server.cli.preparing import prepare
from server.cli.retriever import retriever
from server.cli.rewarding import reward_model
from server.cli.selecting import selector
from server.cli.warmstart import warmstart

train = typer.Typer()
train.command()(feedback)
train.command()(planner)
train.command()(pairs)
train.command()(policy)
train.command()(prepare)
train.command()(retriever)
train.command()(reward_model)
train.command()(selector)
train.command()(warmstart)


@train.callback()
def _train() -> None:
    # A callback makes typer treat this as a group, whatever the number of commands.
    """Train models, and collect the data to train them on."""
