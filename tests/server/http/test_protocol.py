"""Connections over real sockets: slow clients are ended, silent ones yield, honest ones are served."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from server.http.serving import Server
from server.http.settings import ConnectionSettings
from server.settings import Settings
from server.stopping import Stop
from tests.server.live import serving_here
from tests.waiting import soon

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@dataclass
class Site:
    """A server, and what its application saw."""

    port: int
    server: Server
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to let the requests to /held go on."""
    waiting: int = 0
    left: int = 0
    sizes: list[int] = field(default_factory=list)

    clients: list["Client"] = field(default_factory=list)

    async def connect(self) -> "Client":
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.clients[-1]


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next response."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(status.split()[1]), headers, body

    async def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def trickle(self, data: bytes, pause_s: float) -> None:
        """Send one byte at a time until the server closes the connection."""
        for byte in data:
            self.writer.write(bytes([byte]))
            if self.reader.at_eof() or self.writer.is_closing():
                return
            await asyncio.sleep(pause_s)


@asynccontextmanager
async def site(limit: int = 100, **limits: Any) -> AsyncGenerator[Site, None]:
    async def root(request: Request) -> Response:
        try:
            found.sizes.append(len(await request.body()))
        except ClientDisconnect:
            found.left += 1
            raise
        return PlainTextResponse("ok")

    async def held(request: Request) -> Response:
        found.waiting += 1
        await found.held.wait()
        return PlainTextResponse("ok")

    async def long(request: Request) -> Response:
        return Response(bytes(32 * 2**20))

    settings = Settings(connections=ConnectionSettings(**limits), grace_s=0)
    routes = [Route("/", root, methods=["GET", "PUT"]), Route("/held", held), Route("/long", long)]
    async with serving_here(Starlette(routes=routes), settings, Stop(), limit) as (url, server):
        found = Site(int(url.rpartition(":")[2]), server)
        try:
            yield found
        finally:
            found.held.set()
            for client in found.clients:
                client.writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHo"])
@pytest.mark.parametrize("after", [b"", GET])
async def test_a_head_that_does_not_come_in_time_ends_the_connection(sent: bytes, after: bytes) -> None:
    async with site(header_timeout_s=0.5) as server:
        client = await server.connect()
        if after:  # a request before, on the same connection
            client.send(after)
            assert (await client.response())[0] == 200
        client.send(sent)
        rest = await client.rest()
    if sent:
        assert rest.startswith(b"HTTP/1.1 408 ")
        assert json.loads(rest.partition(b"\r\n\r\n")[2])["type"] == "urn:pr2:problem:request-timeout"
        assert b"connections.header_timeout_s" in rest
    else:
        assert rest == b""


async def test_a_head_of_one_byte_at_a_time_is_ended() -> None:
    async with site(header_timeout_s=0.5) as server:
        client = await server.connect()
        trickling = asyncio.create_task(client.trickle(b"GET / HTTP/1.1\r\nHost: " + b"x" * 1_000, 0.02))
        status, headers, _ = await client.response()
        await trickling
    assert (status, headers["connection"]) == (408, "close")


async def test_a_body_of_one_byte_at_a_time_is_ended_and_its_reader_stops() -> None:
    async with site(body_timeout_s=0.5, body_bytes_per_s=100) as server:
        client = await server.connect()
        client.send(PUT % 10_000)
        trickling = asyncio.create_task(client.trickle(bytes(10_000), 0.05))
        status, headers, body = await client.response()
        await trickling
        assert await soon(lambda: server.left == 1)
    assert (status, headers["connection"]) == (408, "close")
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert problem["type"] == "urn:pr2:problem:request-timeout"
    assert "100 bytes/s (connections.body_bytes_per_s)" in problem["detail"]
    assert server.sizes == []


async def test_a_body_that_comes_slowly_but_surely_is_taken() -> None:
    async with site(body_timeout_s=0.5, header_timeout_s=0.5, body_bytes_per_s=100) as server:
        client = await server.connect()
        client.send(PUT % 4_000)
        for _ in range(40):  # three seconds: longer than both timeouts, six times over
            client.send(bytes(100))
            await asyncio.sleep(0.075)
        assert (await client.response())[0] == 200
    assert server.sizes == [4_000]


async def test_a_response_that_is_not_read_is_given_up() -> None:
    async with site(body_timeout_s=0.5) as server:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", server.port))
            await asyncio.get_running_loop().sock_sendall(client, b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await soon(lambda: len(server.server.server_state.connections) == 1)
            assert await soon(lambda: not server.server.server_state.connections)


async def test_beyond_the_limit_the_longest_silent_connection_yields() -> None:
    async with site(limit=3) as server:
        first, second, third = [await server.connect() for _ in range(3)]
        assert await soon(lambda: len(server.server.server_state.connections) == 3)
        first.send(GET)
        assert (await first.response())[0] == 200
        fourth = await server.connect()
        assert await second.rest() == b""
        for client in (fourth, third, first):
            client.send(GET)
            assert (await client.response())[0] == 200


async def test_a_request_that_is_half_sent_yields_with_a_response() -> None:
    async with site(limit=1) as server:
        half = await server.connect()
        half.send(PUT % 100 + b"half")
        assert await soon(lambda: len(server.server.server_state.tasks) == 1)
        client = await server.connect()
        client.send(GET)
        status, headers, body = await half.response()
        assert (status, json.loads(body)["type"]) == (503, "urn:pr2:problem:too-many-connections")
        assert int(headers["retry-after"]) > 0
        assert (await client.response())[0] == 200
        assert await soon(lambda: server.left == 1)


async def test_when_all_connections_work_another_request_is_refused_at_once() -> None:
    async with site(limit=2) as server:
        busy = [await server.connect() for _ in range(2)]
        for client in busy:
            client.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await soon(lambda: server.waiting == 2)
        late = await server.connect()
        late.send(GET)
        status, headers, body = await late.response()
        assert (status, headers["connection"]) == (503, "close")
        assert json.loads(body)["type"] == "urn:pr2:problem:too-many-connections"
        assert await late.rest() == b""
        server.held.set()
        for client in busy:
            assert (await client.response())[0] == 200


async def test_a_crowd_of_silent_connections_keeps_nobody_out() -> None:
    async with site(limit=20) as server:
        silent = [await server.connect() for _ in range(200)]
        client = await server.connect()
        client.send(GET)
        assert (await client.response())[0] == 200
        assert len(server.server.server_state.connections) <= 21
        for other in silent[:150]:
            assert await other.rest() == b""
