"""`pr2 train`: what is learned offline, each kind a command of its own module."""

import typer

from server.cli.planner import planner

train = typer.Typer()
train.command()(planner)


@train.callback()
def _train() -> None:
    # With a callback, typer keeps this a group, however few commands it has.
    """Train models on LaMP-QA."""
