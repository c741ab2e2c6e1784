"""A service on PostgreSQL: what callers get while the database is away, and two servers on one database."""

import asyncio
import itertools
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager

import httpx

from tests.postgresql import Cluster
from tests.server.http.serving_process import service_at
from tests.server.live import api_of

TEA = [{"id": "a", "text": "I drink green tea in the morning."}]


async def test_a_database_that_restarts_costs_a_503_and_no_document(postgresql: Cluster) -> None:
    service = service_at(postgresql.create("restarted"))
    async with api_of(service) as api:
        await api.put("ana", TEA)
        postgresql.stop(signal.SIGKILL)
        for response in (
            await api.client.get("/v1/users/ana/documents"),
            await api.client.put("/v1/users/ana/documents", json=[{"id": "b", "text": "Lost."}]),
            await api.client.post("/v1/users/ana/search", json={"queries": ["tea"]}),
        ):
            assert response.status_code == 503
            assert response.json()["type"] == "urn:pr2:problem:store-unavailable"
            assert int(response.headers["retry-after"]) > 0
        postgresql.start()
        listed = await api.client.get("/v1/users/ana/documents")
        assert [item["id"] for item in listed.json()["documents"]] == ["a"]
        await api.put("ana", [{"id": "b", "text": "Stored."}])
    await service.aclose()


async def test_each_of_two_servers_sees_the_writes_of_the_other_at_once(postgresql: Cluster) -> None:
    url = postgresql.create("shared")
    services = [service_at(url), service_at(url)]
    async with api_of(services[0]) as one, api_of(services[1]) as other:
        for number in range(4):
            writer, reader = (one, other) if number % 2 else (other, one)
            await writer.put("ana", [{"id": f"d{number}", "text": f"tea {number}"}])
            found = await reader.client.post("/v1/users/ana/search", json={"queries": ["tea"], "k": 10})
            ids = sorted(passage["document_id"] for passage in found.json()["results"][0])
            assert ids == [f"d{i}" for i in range(number + 1)]
    for service in services:
        await service.aclose()


class RoundRobin:
    """Hands each connection to the next one of some servers on loopback."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._next = itertools.cycle(ports)
        self.connections = dict.fromkeys(ports, 0)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[str, None]:
        """Yields the URL."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = next(self._next)
        self.connections[port] += 1
        theirs, to_them = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(reader, to_them), _copy(theirs, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_two_server_processes_behind_a_round_robin_answer_like_one(postgresql: Cluster) -> None:
    url = postgresql.create("robin")
    command = [sys.executable, "-m", "tests.server.http.serving_process", url]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        # At the same time: both make the tables of the new database, or find them.
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))  # noqa: ASYNC220
            for _ in range(2)
        ]
        ports = [int(process.stdout.readline()) for process in processes if process.stdout]
        robin = RoundRobin(ports)
        headers = {"connection": "close"}
        async with robin.listening() as address, httpx.AsyncClient(base_url=address, headers=headers) as api:
            texts: dict[str, str] = {}
            for number in range(6):
                # Three requests each time, so that the two take turns at the writes, too.
                name = f"d{number % 4}"
                texts[name] = f"The tea of day {number}."
                put = await api.put("/v1/users/ana/documents", json=[{"id": name, "text": texts[name]}])
                assert put.status_code == 200, put.text
                for _ in range(2):
                    found = await api.post("/v1/users/ana/search", json={"queries": ["tea"], "k": 10})
                    passages = found.json()["results"][0]
                    assert {each["document_id"]: each["text"] for each in passages} == texts
            deleted = await api.delete("/v1/users/ana/documents/d0")
            assert deleted.status_code == 204
            for _ in range(2):
                found = await api.post("/v1/users/ana/search", json={"queries": ["tea"], "k": 10})
                assert "d0" not in {each["document_id"] for each in found.json()["results"][0]}
        assert min(robin.connections.values()) >= 10
        for process in processes:
            process.communicate("")
            assert process.returncode == 0
