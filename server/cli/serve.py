"""`pr2 serve`: runs the server, loads the demo on request, and prints commands to try."""

import asyncio
import json
import logging.config
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.access.exposure import missing_for
from server.cli import options
from server.cli.errors import BadInput, as_cli_errors
from server.http.descriptors import TooFewDescriptors, connection_limit, open_files
from server.settings import Settings

if TYPE_CHECKING:
    from server.metrics import Metrics
    from server.service import Service

_CLOSING_S = 1
"""Seconds that threads and the database have to end once the server has stopped."""


@options.shared(
    flags=(
        *("host", "port", "root_path", "data", "encoder", "space", "retriever", "selector"),
        *("reranker", "rerank_candidates", "rerank_ms"),
        *options.POLICY,
        *options.PLANNER,
    )
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
    # Before the server runs, a signal ends the process at once. Uvicorn shuts down in order and then raises
    # the signal again, which by default would leave the engine and the store no time to close.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    with as_cli_errors():
        settings = options.settings_of(flags)
        if demo and settings.token is None:
            # Whoever tries it on the page should not have to guess names.
            settings.identity.list_users = True
        with bound(settings.host, settings.port) as listener:
            check_exposure(settings, listener.getsockname()[0], insecure)
            asyncio.run(_serve(settings, listener, _connection_limit(settings), demo))


def bound(host: str, port: int) -> socket.socket:
    """A socket at this address, so that a taken port is reported before anything is loaded.

    It does not listen yet: until the server can answer, connections are refused rather than left waiting.
    """
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
    except OSError as error:
        listener.close()
        raise _taken(host, port, error) from None
    return listener


def listen(listener: socket.socket) -> None:
    """Let connections in. Raises BadInput if another server has come to listen at the address."""
    try:
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        host, port, *_ = listener.getsockname()
        raise _taken(host, port, error) from None


def _taken(host: str, port: int, error: OSError) -> BadInput:
    return BadInput(f"cannot listen at {host} port {port}: {error.strerror}; choose another with --port")


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


def _connection_limit(settings: Settings) -> int:
    try:
        return connection_limit(settings.connections.limit, settings.limits.concurrency, open_files())
    except TooFewDescriptors as error:
        raise BadInput(str(error)) from None


async def _serve(settings: Settings, listener: socket.socket, limit: int, with_demo: bool) -> None:
    from server import demo
    from server.assembly import open_service
    from server.http.app import create_app
    from server.http.serving import Server

    service = open_service(settings)

    def say_what_to_try() -> None:
        url = address_of(settings.host, listener.getsockname()[1])
        typer.echo(_what_to_try(url, service, settings.token is not None))

    try:
        service.profiles.store.open()
        if with_demo:
            added = await demo.load(service)
            typer.echo(
                f"added {', '.join(added)}" if added else "the store is not empty: no demo users added"
            )
        logging.config.dictConfig(_log_config(settings))
        app = create_app(settings, service)
        server = Server(app, settings, limit, app.state.pr2.stop, say_what_to_try)
        listen(listener)
        try:
            with metrics_served(settings, service.metrics):
                await server.serve(sockets=[listener])
        except SystemExit as stopped:
            await _leave(service, stopped.code)
    finally:
        await service.aclose()


def _log_config(settings: Settings) -> dict[str, Any]:
    from server.access.audit import AuditFile
    from server.logs import log_config

    if settings.audit_log is not None:
        try:
            AuditFile(str(settings.audit_log)).close()
        except OSError as error:
            raise BadInput(f"audit_log: {settings.audit_log} cannot be written: {error.strerror}") from None
    return log_config(settings.log_format, text=settings.log_text, audit=settings.audit_log)


@contextmanager
def metrics_served(settings: Settings, metrics: "Metrics") -> Iterator[int | None]:
    """Serve the metrics at their own port, if they have one. Raises BadInput if it is taken."""
    from prometheus_client import start_http_server

    if settings.metrics_port is None:
        yield None
        return
    host, port = settings.metrics_host, settings.metrics_port
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise BadInput(f"cannot serve the metrics at {host} port {port}: {error.strerror}") from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def _leave(service: "Service", code: object) -> None:
    """Close the service and exit, even if a thread still works: nothing on disk depends on an orderly end.

    The interpreter is not torn down, which takes seconds on a busy machine and has nothing left to do.
    """
    status = code if isinstance(code, int) else 0
    await service.close_engines()
    last_resort = threading.Timer(_CLOSING_S, os._exit, [status])
    last_resort.daemon = True
    last_resort.start()
    await service.aclose()
    os._exit(status)


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
            f"  pr2 profile import USER PATH --server {url}\n"
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
