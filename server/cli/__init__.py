"""The command line, `pr2`. Commands import what they need when they run, so that help is instant."""

from typing import Annotated

import typer

from server import installed_version
from server.cli.ask import ask
from server.cli.evaluating import evaluate
from server.cli.mcp import mcp
from server.cli.profile import profile
from server.cli.ranking import rank
from server.cli.serve import serve
from server.cli.storing import store
from server.cli.training import train

app = typer.Typer(
    name="pr2",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(ask)
app.command()(mcp)
app.command()(rank)
app.add_typer(evaluate, name="evaluate")
app.add_typer(profile, name="profile", no_args_is_help=True)
app.add_typer(store, name="store", no_args_is_help=True)
app.add_typer(train, name="train", no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pr2 {installed_version()}")
        raise typer.Exit


@app.callback()
def pr2(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Answer questions for one person from that person's own history, with evidence."""


def main() -> None:
    """Entry point of the `pr2` script."""
    app()
