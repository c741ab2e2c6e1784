"""`pr2 serve`: runs the server, loads the demo on request, and prints commands to try."""

import asyncio
import json
import os
import shlex
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.access.exposure import missing_for
from server.access.peer import KeepPeer
from server.cli import options
from server.cli.errors import BadInput, as_cli_errors
from server.settings import Settings

if TYPE_CHECKING:
    from server.service import Service

_GRACE_S = 10
"""Seconds that a shutdown waits for answers in progress."""


@options.shared(
    flags=("host", "port", "root_path", "data", "encoder", "retriever", *options.POLICY, *options.PLANNER)
)
def serve(
    flags: options.Given,
    demo: Annotated[
        bool,
        typer.Option("--demo/--no-demo", help="Add five invented people to an empty store."),
    ] = False,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Let other machines in without a token (PR2_TOKEN)."),
    ] = False,
) -> None:
    """Serve the HTTP API.

    Beyond this machine (--host), it needs the setting allowed_hosts and a token.

    Omitted options come from the environment (PR2_PORT, …), pr2.toml and the defaults, in this order.
    """
    # FAISS reads it on import: its OpenMP runtime and PyTorch's get in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # The encoder releases the GIL between hundreds of small steps. At the default switch interval it could
    # wait 5 ms for each of them to get it back while requests are busy.
    sys.setswitchinterval(0.001)
    # Uvicorn shuts down in order and then re-raises the signal (of a person, docker or systemd), which by
    # default would leave the engine and the store no time to close.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    with as_cli_errors():
        settings = Settings(**flags)
        # KeyboardInterrupt: uvicorn raises it once it has shut down in order.
        with listening(settings.host, settings.port) as listener, suppress(KeyboardInterrupt):
            check_exposure(settings, listener.getsockname()[0], insecure)
            asyncio.run(_serve(settings, listener, demo))


def listening(host: str, port: int) -> socket.socket:
    """A listening socket, opened first so that a taken port is reported before anything is loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise BadInput(f"cannot listen at {host!r}: {error.strerror}") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        listener.close()
        raise BadInput(
            f"cannot listen at {host} port {port}: {error.strerror}; choose another with --port"
        ) from None
    return listener


def check_exposure(settings: Settings, address: str, insecure: bool) -> None:
    """Raise BadInput if other machines would reach the server at `address` without the settings for that."""
    advice = missing_for(
        address,
        allowed_hosts=settings.allowed_hosts,
        has_token=settings.token is not None,
        insecure=insecure,
    )
    if advice:
        raise BadInput(f"other machines can reach {address}: {'; and '.join(advice)}")


async def _serve(settings: Settings, listener: socket.socket, with_demo: bool) -> None:
    import uvicorn

    from server import demo
    from server.assembly import open_service
    from server.http.app import create_app

    service = open_service(settings)
    try:
        service.profiles.store.open()
        if with_demo:
            added = await demo.load(service)
            typer.echo(
                f"added {', '.join(added)}" if added else "the store is not empty: no demo users added"
            )
        port = listener.getsockname()[1]
        config = uvicorn.Config(create_app(settings, service), timeout_graceful_shutdown=_GRACE_S)
        config.load()
        # Around uvicorn's own middleware, which replaces the peer by what X-Forwarded-For says.
        config.loaded_app = KeepPeer(config.loaded_app)
        typer.echo(_what_to_try(address_of(settings.host, port), service, settings.token is not None))
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        await service.aclose()


def address_of(host: str, port: int) -> str:
    """URL under which a browser on this machine reaches a server listening on `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _what_to_try(url: str, service: "Service", with_token: bool) -> str:
    from server import demo

    known = set(service.profiles.store.users())
    example = next((asked for asked in demo.questions() if asked.user in known), None)
    if example is None:
        return (
            f"PR² at {url} (policy {service.policy.name}). Import a profile:\n"
            f"  pr2 profile import USER FILE --server {url}\n"
            f"or start with --demo."
        )
    return (
        f"PR² at {url} (policy {service.policy.name}). Try:\n"
        f"  open {url}/\n"
        f"  {curl(url, example.user, example.question, with_token)}\n"
        f"  pr2 ask {shlex.quote(example.user)} {shlex.quote(example.question)} --server {url}"
    )


def curl(url: str, user: str, question: str, with_token: bool = False) -> str:
    """A shell command that asks this question. It reads the token from the environment."""
    body: dict[str, Any] = {"question": question}
    token = ' -H "authorization: Bearer $PR2_TOKEN"' if with_token else ""
    return (
        f"curl {url}/v1/users/{user}/answers{token} -H 'content-type: application/json' -d "
        f"{shlex.quote(json.dumps(body, ensure_ascii=False))}"
    )
