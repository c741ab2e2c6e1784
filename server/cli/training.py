"""`pr2 train`: what is learned offline, each kind a command of its own module."""

import typer

from server.cli.launching import policy
from server.cli.planner import planner
from server.cli.preparing import prepare
from server.cli.warmstart import warmstart

train = typer.Typer()
train.command()(planner)
train.command()(policy)
train.command()(prepare)
train.command()(warmstart)


@train.callback()
def _train() -> None:
    # With a callback, typer keeps this a group, however few commands it has.
    """Train models on LaMP-QA."""
