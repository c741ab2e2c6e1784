"""`pr2 serve` starts and stops: when its port listens, and what a signal does to work in progress."""

import asyncio
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from index.storage.store import Store
from server.cli import app
from server.cli.serve import bound
from server.settings import Settings
from tests.index.fakes import HashEncoder
from tests.server.cli.process import PR2, Served, environment, served
from tests.server.live import ANA
from tests.waiting import soon

STOPPING = "urn:pr2:problem:stopping"
LINES = b"".join(
    json.dumps({"id": f"n{number}", "text": f"Note {number}. " + f"word{number} " * 90}).encode() + b"\n"
    for number in range(4_000)
)
"""An import of minutes: a process that ends within one has not waited for it."""


@contextmanager
def importing(server: Served) -> Iterator[Future[httpx.Response]]:
    """An import that is being encoded. Ana's first document was acknowledged before."""
    documents = f"{server.url}/v1/users/eve/documents"
    ndjson = {"content-type": "application/x-ndjson"}
    assert httpx.put(f"{server.url}/v1/users/ana/documents", json=ANA[:1], timeout=60).status_code == 200
    used = server.cpu_s
    with ThreadPoolExecutor(1) as threads:
        putting = threads.submit(httpx.put, documents, content=LINES, headers=ndjson, timeout=120)
        assert asyncio.run(soon(lambda: server.cpu_s > used + 1.5))
        assert not putting.done()
        yield putting


def stop(server: Served, *signals: signal.Signals) -> None:
    """Send the signals one after the other, and wait for the process to end in order."""
    for number, sent in enumerate(signals):
        if number:
            assert asyncio.run(soon(lambda: refuses(server)))
            assert httpx.get(f"{server.url}/healthz").status_code == 200
        server.process.send_signal(sent)
    assert server.process.wait(60) == 0, server.log()


def refuses(server: Served) -> bool:
    """Whether new requests are refused because the server is to stop."""
    response = httpx.get(f"{server.url}/v1/users/ana/documents")
    if response.status_code == 200:
        return False
    assert (response.status_code, response.json()["type"]) == (503, STOPPING)
    assert response.headers["connection"] == "close"
    return True


def users(folder: Path) -> set[str]:
    store = Store(Settings(data=folder / "data").url, None)
    try:
        return set(store.users())
    finally:
        store.close()


@pytest.mark.parametrize(
    ("grace_s", "signals"), [(1, [signal.SIGTERM]), (600, [signal.SIGINT, signal.SIGTERM])]
)
def test_an_import_ends_with_the_grace_or_the_second_signal(
    tmp_path: Path, grace_s: int, signals: list[signal.Signals]
) -> None:
    with served(tmp_path, PR2_GRACE_S=str(grace_s)) as server, importing(server) as putting:
        stop(server, *signals)
        response = putting.result()
        assert "Traceback" not in server.log()
    assert (response.status_code, response.json()["type"]) == (503, STOPPING)
    assert int(response.headers["retry-after"]) > 0
    assert users(tmp_path) == {"ana"}


def test_the_port_refuses_until_it_can_answer_and_an_idle_server_ends_at_once(tmp_path: Path) -> None:
    """A connection that is only accepted would leave a probe to wait for the encoder."""
    with bound("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [*PR2, "serve", "--port", str(port), "--data", str(tmp_path)],
        cwd=tmp_path,
        env=environment(PR2_GRACE_S="600"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        refusals = 0
        try:
            while True:
                try:
                    response = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5)
                    break
                except httpx.ConnectError:
                    refusals += 1
                    time.sleep(0.05)
            assert response.status_code == 200
            assert refusals > 0
            assert server.stdout.readline().startswith("PR² at")
            with socket.create_connection(("127.0.0.1", port)) as silent:
                server.terminate()
                assert server.wait(60) == 0  # a tenth of the grace
                assert silent.recv(1) == b""
        finally:
            server.kill()


def test_a_command_names_the_configuration_that_it_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(data=tmp_path / "data")
    settings.data.mkdir()
    store = Store(settings.url, HashEncoder().manifest)
    store.open()
    store.close()
    command = ["profile", "list"]
    without = CliRunner().invoke(app, command).stderr
    assert "settings from" not in without
    Path("pr2.toml").write_text("grace_s = 0\n")
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stderr) == (0, f"settings from {tmp_path / 'pr2.toml'}\n{without}")
