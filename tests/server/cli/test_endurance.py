"""`pr2 serve` under clients that hold its connections, with the descriptors of an ordinary process."""

import asyncio
import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from server.http.descriptors import connection_limit
from tests.server.cli.process import PR2, Served, environment, limited, served
from tests.server.live import ANA
from tests.waiting import soon

DESCRIPTORS = 1_024
CROWD = 1_100
IN_TIME_S = 15.0
"""For a health check and a question each; alone they take some 20 ms. The crowd is sent off later."""


@pytest.fixture(autouse=True, scope="module")
def room_for_the_crowd() -> Iterator[None]:
    """The sockets of the crowd are descriptors of this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], CROWD + 500), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def in_time(server: Served) -> None:
    """A client is served, with a new connection for each request."""
    assert httpx.get(f"{server.url}/healthz", timeout=IN_TIME_S).status_code == 200
    asked = httpx.post(
        f"{server.url}/v1/users/ana/answers", json={"question": "What do I love?"}, timeout=IN_TIME_S
    )
    assert asked.json()["finish_reason"] == "answered", asked.text


def introduce(server: Served) -> None:
    assert httpx.put(f"{server.url}/v1/users/ana/documents", json=ANA, timeout=60).status_code == 200


def test_a_crowd_of_silent_connections_keeps_nobody_out_and_the_log_stays_short(tmp_path: Path) -> None:
    with served(tmp_path, descriptors=DESCRIPTORS) as server, ExitStack() as stack:
        introduce(server)
        in_time(server)
        for _ in range(CROWD):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), IN_TIME_S))
        in_time(server)
        assert server.descriptors < DESCRIPTORS
        assert server.descriptors > DESCRIPTORS // 2
        for _ in range(60):
            with socket.create_connection(("127.0.0.1", server.port), IN_TIME_S) as connection:
                connection.sendall(b"no request\r\n\r\n")
                assert connection.recv(1_000).startswith(b"HTTP/1.1 400")
        assert server.log().count("Invalid HTTP request received") == 20
        assert len(server.log().splitlines()) < 40


async def test_a_crowd_that_sends_a_byte_a_second_keeps_nobody_out_and_is_sent_off(tmp_path: Path) -> None:
    heads = b"GET /healthz HTTP/1.1\r\nHost: " + b"x" * 1_000
    body = b"PUT /v1/users/eve/documents HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/x-ndjson\r\n"
    body += b"Content-Length: 100000\r\n\r\n"
    gone = 0

    async def trickle(port: int, at_once: bytes, slowly: bytes) -> None:
        nonlocal gone
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(OSError):
            writer.write(at_once)
            for byte in slowly:
                writer.write(bytes([byte]))
                with suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await reader.read()
                        break  # the server has closed the connection
        gone += 1
        writer.close()

    timeouts = {"PR2_CONNECTIONS__HEADER_TIMEOUT_S": "16", "PR2_CONNECTIONS__BODY_TIMEOUT_S": "16"}
    with served(tmp_path, descriptors=DESCRIPTORS, **timeouts) as server:
        await asyncio.to_thread(introduce, server)
        async with asyncio.TaskGroup() as group:
            for number in range(CROWD):
                parts = (b"", heads) if number % 2 else (body, b" " * 1_000)
                group.create_task(trickle(server.port, *parts))
            await soon(lambda: server.descriptors > DESCRIPTORS // 2, 3)
            await asyncio.to_thread(in_time, server)
            assert server.descriptors < DESCRIPTORS
            assert await soon(lambda: gone == CROWD)
        assert await soon(lambda: server.descriptors < 100)
        assert len(server.log().splitlines()) < 100


@pytest.mark.parametrize(
    ("descriptors", "wanted", "limit"),
    [
        (1_024, None, 768),
        (1_024, 100, 100),
        (256, None, 64),
        (1_048_576, None, 10_000),
        (resource.RLIM_INFINITY, None, 10_000),
        (resource.RLIM_INFINITY, 50_000, 50_000),
    ],
)
def test_the_descriptors_bound_the_connections(descriptors: int, wanted: int | None, limit: int) -> None:
    assert connection_limit(wanted, 64, descriptors) == limit


def test_a_limit_beyond_the_descriptors_is_refused_in_one_line(tmp_path: Path) -> None:
    result = subprocess.run(
        limited([*PR2, "serve", "--port", "0", "--data", str(tmp_path)], DESCRIPTORS),
        cwd=tmp_path,
        env=environment(PR2_CONNECTIONS__LIMIT="1000000"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "connections.limit is 1000000, and 1024 file descriptors leave 768" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
