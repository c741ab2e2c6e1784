"""`pr2 ask`: prints the steps of one question, the answer, and the lines that it cites."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.methods import METHODS
from server.cli import options
from server.cli.errors import as_cli_errors
from server.cli.printable import one_line, to_json

if TYPE_CHECKING:
    from agent.driver import Event


@options.shared(flags=("data", "encoder", "space", "selector", *options.POLICY), limits=options.LIMITS)
def ask(
    user: options.User,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="Question to answer for this person.")],
    server: options.Server = None,
    *,
    flags: options.Given,
    method: Annotated[str | None, typer.Option(help=f"{', '.join(METHODS)}.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also answer without the history, for comparison.")
    ] = False,
    remember: Annotated[
        bool | None,
        typer.Option(
            "--remember/--no-remember",
            help="Add the question to the person's history once it is answered; default: as in the settings.",
        ),
    ] = None,
    retriever: options.Retriever = None,
    as_of: options.AsOf = None,
    time_zone: options.TimeZone = None,
    limits: options.Given,
    as_json: options.AsJson = False,
    no_color: options.NoColor = False,
) -> None:
    """Answer a question from a person's own history, with evidence.

    Exit codes: 0 answered; 1 no answer, with the reason on stderr; 2 bad input, or no server.
    """
    asked = {
        "method": method,
        "retriever": retriever,
        "limits": limits,
        "compare": compare,
        "remember": remember,
        "period": options.period(as_of=as_of, time_zone=time_zone),
    }
    with as_cli_errors():
        asyncio.run(_ask(server, flags, user, question, asked, as_json, no_color))


async def _ask(
    server: str | None,
    flags: options.Given,
    user: str,
    question: str,
    asked: Mapping[str, Any],
    as_json: bool,
    no_color: bool,
) -> None:
    from server.answers import record_of
    from server.cli.backend import open_backend
    from server.cli.render import StepPrinter, console

    printer = StepPrinter(console(no_color=no_color))

    async def show(event: "Event") -> None:
        printer.show(event)

    async with open_backend(server, flags) as backend:
        with nullcontext() if as_json else printer:
            record = await record_of(backend.answer(user, question, **asked), None if as_json else show)
    if as_json:
        typer.echo(to_json(record.to_dict(), indent=2))
    else:
        printer.footer(record)
    trajectory = record.trajectory
    if trajectory.answer is None:
        detail = f": {trajectory.detail}" if trajectory.detail else ""
        typer.echo(one_line(f"pr2: no answer: {trajectory.finish_reason}{detail}"), err=True)
        raise typer.Exit(1)
