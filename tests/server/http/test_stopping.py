"""A server that stops ends every request in the form of its interface."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from mcp import Client

from agent.policies.scripted import ScriptedPolicy
from index.documents import Document
from index.profiles import Profiles
from index.storage.store import Store
from server.http.app import create_app
from server.service import Service
from server.settings import Settings
from server.stopping import Stop
from tests.index.fakes import HashEncoder
from tests.server.conftest import MakeService
from tests.server.http.test_streams import events_of
from tests.server.live import ANA, THINK_SEARCH, Api, api_of, serving_here
from tests.server.mcp.served import refused
from tests.waiting import soon

ENDLESS = [THINK_SEARCH, ["<think>Hm.</think><answer>", *["more "] * 10_000]]
STOPPING = "urn:pr2:problem:stopping"
QUESTION = {"model": "pr2", "user": "ana", "messages": [{"role": "user", "content": "What?"}]}


def stop_of(api: Api) -> Stop:
    stop: Stop = api.app.state.pr2.stop
    return stop


@asynccontextmanager
async def answering(make_service: MakeService) -> AsyncGenerator[tuple[Api, ScriptedPolicy], None]:
    """An API whose answers do not end by themselves."""
    policy = ScriptedPolicy(ENDLESS, delay_s=0.01)
    async with api_of(make_service(policy)) as api:
        await api.put("ana", ANA)
        yield api, policy


async def test_in_the_grace_new_requests_are_refused_and_old_ones_end_well(make_service: MakeService) -> None:
    policy = ScriptedPolicy(["<think>Hm.</think><answer>Pears.</answer>"], delay_s=0.3)
    async with api_of(make_service(policy)) as api:
        await api.put("ana", ANA)
        asking = asyncio.create_task(api.ask("ana"))
        assert await soon(policy.started.is_set)
        draining = asyncio.create_task(stop_of(api).drain(30))
        await asyncio.sleep(0)
        for path in ("/v1/users/ana/documents", "/readyz"):
            refused = await api.client.get(path)
            assert (refused.status_code, refused.json()["type"]) == (503, STOPPING)
            assert refused.headers["connection"] == "close"
            assert int(refused.headers["retry-after"]) > 0
        of_openai = await api.client.post("/v1/chat/completions", json=QUESTION)
        assert (of_openai.status_code, of_openai.json()["error"]["code"]) == (503, "stopping")
        assert (await api.client.get("/healthz")).status_code == 200
        assert (await asking).json()["finish_reason"] == "answered"
        await draining
        assert not stop_of(api).is_now


@pytest.mark.parametrize("path", ["/v1/users/ana/answers", "/v1/chat/completions"])
async def test_a_plain_answer_past_the_grace_is_an_error_of_its_api(
    make_service: MakeService, path: str
) -> None:
    body = {"question": "What?"} if "users" in path else QUESTION
    async with answering(make_service) as (api, policy):
        asking = asyncio.create_task(api.client.post(path, json=body))
        assert await soon(policy.started.is_set)
        stop_of(api).now()
        response = await asking
        assert await soon(lambda: api.service.queue.running == 0)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    if "users" in path:
        assert (response.headers["content-type"], response.json()["type"]) == (
            "application/problem+json",
            STOPPING,
        )
    else:
        assert response.json()["error"]["code"] == "stopping"
    assert policy.cancelled == ["What?"]


async def test_a_stream_past_the_grace_ends_with_error_and_done(make_service: MakeService) -> None:
    async with answering(make_service) as (api, policy):
        asking = asyncio.create_task(api.ask("ana", "What?", stream=True))
        assert await soon(policy.started.is_set)
        stop_of(api).now()
        events = events_of((await asking).text)
    assert [name for name, _ in events[-2:]] == ["error", "done"]
    assert (events[-2][1]["type"], events[-1][1]) == (STOPPING, {"finish_reason": None})
    assert policy.cancelled == ["What?"]


async def test_an_openai_stream_past_the_grace_ends_with_an_error_and_the_last_word(
    make_service: MakeService,
) -> None:
    async with answering(make_service) as (api, policy):
        asking = asyncio.create_task(
            api.client.post("/v1/chat/completions", json=QUESTION | {"stream": True})
        )
        assert await soon(policy.started.is_set)
        stop_of(api).now()
        *_, error, done = (await asking).text.strip().split("\n\n")
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "stopping"
    assert done == "data: [DONE]"


async def test_an_answer_over_mcp_past_the_grace_is_an_error(make_service: MakeService) -> None:
    policy = ScriptedPolicy(ENDLESS, delay_s=0.01)
    service = make_service(policy)
    app = create_app(service.settings, service)
    stop = app.state.pr2.stop
    async with serving_here(app, service.settings, stop) as (url, _):
        async with httpx.AsyncClient(base_url=url) as http:
            await http.put("/v1/users/ana/documents", json=ANA)
        async with Client(f"{url}/mcp") as client:
            asking = asyncio.create_task(refused(client, "answer_question", user="ana", question="What?"))
            assert await soon(policy.started.is_set)
            stop.now()
            assert (await asking).startswith("The server is stopping: ")


async def test_an_import_past_the_grace_is_answered_though_the_encoder_is_busy(tmp_path: Path) -> None:
    encoder = HashEncoder()
    encoder.hold = threading.Event()
    settings = Settings(data=tmp_path)
    profiles = Profiles(Store(settings.url, encoder.manifest), encoder)
    service = Service(profiles, ScriptedPolicy([""]), settings)
    async with api_of(service) as api:
        putting = asyncio.create_task(api.client.put("/v1/users/ana/documents", json=ANA))
        assert await asyncio.to_thread(encoder.entered.wait, 60)
        stop_of(api).now()
        response = await putting
    encoder.hold.set()
    await service.aclose()
    assert (response.status_code, response.json()["type"]) == (503, STOPPING)
    assert int(response.headers["retry-after"]) > 0


async def read_slowly(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        await asyncio.sleep(0.01)


async def test_an_export_past_the_grace_breaks_off_and_is_never_taken_for_whole(tmp_path: Path) -> None:
    """Its client reads slowly: more is on the way than the sockets hold."""
    encoder = HashEncoder()
    settings = Settings(data=tmp_path, grace_s=0)
    service = Service(Profiles(Store(settings.url, encoder.manifest), encoder), ScriptedPolicy([]), settings)
    big = {"note": "x" * 100_000}
    documents = [Document(id=str(n), text=f"Note {n}.", metadata=big) for n in range(400)]
    await service.put("ana", documents)
    app = create_app(settings, service)
    async with (
        serving_here(app, settings, app.state.pr2.stop) as (url, server),
        httpx.AsyncClient(base_url=url) as http,
        http.stream("GET", "/v1/users/ana/export") as response,
    ):
        pieces = response.aiter_bytes()
        await anext(pieces)
        server.should_exit = True
        with pytest.raises(httpx.RemoteProtocolError):
            await read_slowly(pieces)
    await service.aclose()


async def test_an_upload_that_is_still_coming_is_answered(make_service: MakeService) -> None:
    async with api_of(make_service()) as api:
        begun = asyncio.Event()

        async def lines() -> AsyncIterator[bytes]:
            yield json.dumps(ANA[0]).encode() + b"\n"
            begun.set()
            await asyncio.Event().wait()

        put = api.client.put(
            "/v1/users/ana/documents", content=lines(), headers={"content-type": "application/x-ndjson"}
        )
        putting = asyncio.create_task(put)
        await begun.wait()
        await asyncio.sleep(0)
        stop_of(api).now()
        response = await putting
        assert (response.status_code, response.json()["type"]) == (503, STOPPING)
        assert api.service.profiles.store.users() == []


async def test_what_does_not_end_by_itself_is_cancelled_with_an_error(make_service: MakeService) -> None:
    """The last resort of the web server."""
    async with api_of(make_service()) as api:
        begun = asyncio.Event()

        @api.app.get("/stuck")
        async def stuck() -> None:
            begun.set()
            await asyncio.Event().wait()

        getting = asyncio.create_task(api.client.get("/stuck"))
        await begun.wait()
        stop_of(api).now()
        getting.cancel()
        response = await getting
        assert (response.status_code, response.json()["type"]) == (503, STOPPING)
