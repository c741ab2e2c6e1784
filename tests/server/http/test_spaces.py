"""A space of the store over HTTP: refused until it is made, then a retriever like any other."""

from pathlib import Path

import httpx

from agent.policies.scripted import ScriptedPolicy
from index.documents import parse_document
from index.encoding.embedding import reembed
from index.profiles import Profiles
from index.storage.store import Store
from server.service import Service
from server.settings import Settings
from tests.index.fakes import HashEncoder
from tests.server.live import ANA, BEN, THINK_ANSWER, THINK_SEARCH, api_of

MAIN, OTHER = HashEncoder("main"), HashEncoder("other", 8)


def service_in(folder: Path, **spaces: HashEncoder) -> Service:
    settings = Settings(data=folder)
    store = Store(settings.url, MAIN.manifest, {name: other.manifest for name, other in spaces.items()})
    policy = ScriptedPolicy([THINK_SEARCH, THINK_ANSWER])
    return Service(Profiles(store, MAIN, spaces=spaces), policy, settings)


async def test_searches_and_answers_in_a_space(tmp_path: Path) -> None:
    without = service_in(tmp_path)
    without.profiles.put("ana", [parse_document(item) for item in ANA])
    async with api_of(service_in(tmp_path, ropg=OTHER)) as api:

        async def asked() -> list[httpx.Response]:
            search = {"queries": ["pears"], "retriever": "ropg"}
            question = {"question": "What fruit?", "retriever": "ropg"}
            return [
                await api.client.post("/v1/users/ana/search", json=search),
                await api.client.post("/v1/users/ana/answers", json=question),
                await api.client.post("/v1/users/ana/answers", json=question | {"stream": True}),
            ]

        for refused in await asked():
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:pr2:problem:space-unavailable")
            assert "pr2 profile reembed --space ropg=ENCODER" in refused.json()["detail"]
        reembed(without.profiles.store, OTHER, space="ropg")
        search, answer, stream = await asked()
        assert len(search.json()["results"][0]) == len(ANA)
        assert (answer.status_code, answer.json()["retriever"]) == (200, "ropg")
        assert stream.status_code == 200
        unknown = await api.client.post(
            "/v1/users/ana/search", json={"queries": ["pears"], "retriever": "rpog"}
        )
        assert unknown.status_code == 422
        assert unknown.json()["detail"].endswith("none, ropg")
        await api.put("ben", BEN)
        assert without.profiles.store.count("ben") == len(BEN)
        await api.service.aclose()
    without.profiles.store.close()


async def test_a_server_that_was_started_without_the_space_refuses_documents(tmp_path: Path) -> None:
    owner = service_in(tmp_path, ropg=OTHER)
    owner.profiles.put("ana", [parse_document(item) for item in ANA])
    async with api_of(service_in(tmp_path)) as api:
        response = await api.client.put("/v1/users/ana/documents", json=BEN)
        assert (response.status_code, response.json()["type"]) == (503, "urn:pr2:problem:encoder-mismatch")
        assert "--space ropg=ENCODER" in response.json()["detail"]
        found = await api.client.post(
            "/v1/users/ana/search", json={"queries": ["pears"], "retriever": "dense"}
        )
        assert found.status_code == 200
        await api.service.aclose()
    assert owner.profiles.store.count("ana") == len(ANA)
    await owner.aclose()
