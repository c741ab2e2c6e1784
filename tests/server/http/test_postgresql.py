"""A service on PostgreSQL: what callers get while the database is away, and two servers on one database."""

import signal

from agent.policies.scripted import ScriptedPolicy
from index.profiles import Profiles
from index.storage.store import Store
from server.service import Service
from server.settings import Settings
from tests.index.fakes import HashEncoder
from tests.postgresql import Cluster
from tests.server.live import THINK_ANSWER, api_of

TEA = [{"id": "a", "text": "I drink green tea in the morning."}]


def service_at(url: str) -> Service:
    encoder = HashEncoder()
    settings = Settings(database_url=url)
    return Service(
        Profiles(Store(settings.url, encoder.manifest), encoder), ScriptedPolicy([THINK_ANSWER]), settings
    )


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
