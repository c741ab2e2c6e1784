"""`pr2 mcp`: the local store for an assistant that starts this program and talks to it over a pipe."""

import asyncio
import signal
from typing import Annotated

import typer

from server.cli import options
from server.cli.errors import as_cli_errors


@options.shared(flags=("data", "encoder", "retriever", *options.POLICY))
def mcp(
    *,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", help="Whose profile it is; without it, the assistant names the user each time."
        ),
    ] = None,
    flags: options.Given,
) -> None:
    """Serve an assistant over MCP, on stdin and stdout, from the local store.

    The assistant starts it. Register it there, with the folder in full, like this:

    {"mcpServers": {"pr2": {"command": "pr2", "args": ["mcp", "--user", "ana", "--data", "/home/ana/pr2"]}}}

    A pr2 server needs no such program: it speaks MCP itself, at /mcp.
    """
    with as_cli_errors():
        asyncio.run(_serve(flags, user))


async def _serve(flags: options.Given, user: str | None) -> None:
    from mcp.server.stdio import stdio_server

    from index.documents import check_name
    from server.cli.backend import open_local
    from server.mcp.endpoint import mcp_server

    if user is not None:
        check_name(user)
    async with open_local(flags) as local:
        server = mcp_server(lambda connection: local, user)
        await local.service.run(local.service.profiles.store.open)
        # Reading stdin cannot be interrupted, so Ctrl-C would only be heeded after the next line. To end at
        # once loses nothing: what is stored is stored whole.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # From here on stdout is the protocol's; what else is printed goes to stderr.
        async with stdio_server() as (requests, responses):
            await server.run(requests, responses, server.create_initialization_options())
