"""`pr2 mcp`: the local store over MCP, for an assistant that starts this program and talks over a pipe."""

import asyncio
import signal
from typing import Annotated

import typer

from server.cli import options
from server.cli.errors import as_cli_errors


@options.shared(flags=("data", "encoder", "space", "retriever", "selector", *options.POLICY))
def mcp(
    *,
    user: Annotated[
        str | None,
        typer.Option("--user", help="Id of the user whose profile it is; if omitted, every call names one."),
    ] = None,
    flags: options.Given,
) -> None:
    """Serve an assistant over MCP, on stdin and stdout, from the local store.

    The assistant starts it. Register it there with an absolute folder, like this:

    {"mcpServers": {"pr2": {"command": "pr2", "args": ["mcp", "--user", "ana", "--data", "/home/ana/pr2"]}}}

    A running pr2 server speaks MCP itself, at /mcp.
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
        # Reading stdin cannot be interrupted, so Ctrl-C would only take effect after the next line. Ending at
        # once loses nothing: writes are transactions.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # From here on stdout belongs to the protocol; other output goes to stderr.
        async with stdio_server() as (requests, responses):
            await server.run(requests, responses, server.create_initialization_options())
