"""The API with everything behind it: in this event loop, or behind a real socket."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import event
from starlette.types import ASGIApp

from server.http.app import create_app
from server.http.serving import Server
from server.service import Service
from server.settings import Settings
from server.stopping import Stop

THINK_SEARCH = "<think>What does she like?</think><search>favourite food</search>"
THINK_ANSWER = "<think>Now I know.</think><answer>She likes pears [1].</answer>"

ANA: list[dict[str, Any]] = [
    {"id": "a1", "text": "I love ripe pears from our garden.", "created_at": "2024-05-01T12:00:00Z"},
    {"id": "a2", "text": "The dentist moved my appointment to Friday.", "title": "Dentist"},
    {"id": "a3", "text": "We walked along the river until dark.", "metadata": {"mood": "calm", "km": 7}},
]
BEN: list[dict[str, Any]] = [{"id": "b1", "text": "My favourite food is grilled octopus."}]


@dataclass
class Api:
    """A client, with the application and service behind it."""

    client: httpx.AsyncClient
    app: FastAPI
    service: Service

    async def put(self, user: str, documents: list[dict[str, Any]]) -> None:
        response = await self.client.put(f"/v1/users/{user}/documents", json=documents)
        assert response.status_code == 200, response.text

    async def ask(self, user: str, question: str = "What do I like?", **more: Any) -> httpx.Response:
        return await self.client.post(f"/v1/users/{user}/answers", json={"question": question, **more})


class Call:
    """One request, made to the application directly: its client disconnects on command.

    As with a web server, what is sent to a client that has left goes nowhere.
    """

    def __init__(
        self,
        api: Api,
        method: str,
        path: str,
        body: str,
        media_type: str = "application/json",
        *,
        gone: bool = False,
    ) -> None:
        self.status = 0
        self.answer = bytearray()
        self._sent = [body.encode()]
        self._left = asyncio.Event()
        if gone:
            self._left.set()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "headers": [(b"host", b"localhost"), (b"content-type", media_type.encode())],
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "server": ("api", 80),
            "client": ("127.0.0.1", 1),
            "root_path": "",
        }
        self.serving = asyncio.create_task(self._serve(api, scope))

    async def leave(self) -> None:
        """Disconnect, and wait until the application is done with the request; raises its exception."""
        self._left.set()
        await self.serving

    async def _serve(self, api: Api, scope: dict[str, Any]) -> None:
        await api.app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._sent:
            return {"type": "http.request", "body": self._sent.pop(), "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if not self._left.is_set():
            self.status = message.get("status", self.status)
            self.answer += message.get("body", b"")


@asynccontextmanager
async def api_of(service: Service, **options: Any) -> AsyncGenerator[Api, None]:
    """The API in this event loop, without a socket."""
    settings = service.settings
    known = settings.model_copy(update={"allowed_hosts": (*settings.allowed_hosts, "api")})
    app = create_app(known, service, **options)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield Api(client, app, service)


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve the API on a real socket, in a thread. Yields its URL."""
    config = uvicorn.Config(
        app, port=0, log_level="warning", lifespan="on", timeout_graceful_shutdown=5, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server takes too long to start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(60)


@asynccontextmanager
async def serving_here(
    app: ASGIApp, settings: Settings, stop: Stop, limit: int = 100
) -> AsyncGenerator[tuple[str, Server], None]:
    """Serve as `pr2 serve` does, in this event loop. Yields the URL and the server."""
    started = asyncio.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(app, settings, limit, stop, started.set)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        await started.wait()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
        finally:
            server.should_exit = True
            await running


@contextmanager
def full_disk(service: Service) -> Iterator[None]:
    """The database can be read, but not grow."""
    engine = service.profiles.store.database.engine

    def limit(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count=1")  # SQLite raises it to what is in use already.

    event.listen(engine, "connect", limit)
    engine.dispose()
    try:
        yield
    finally:
        event.remove(engine, "connect", limit)
        engine.dispose()
