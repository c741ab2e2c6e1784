"""Streams and clients that disconnect, over a real socket."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import anyio
import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.engines.errors import EngineError
from agent.episode import Episode
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Chunk
from server.http.app import create_app
from server.http.sse import with_keep_alive
from tests.server.conftest import MakeService
from tests.server.live import ANA, THINK_ANSWER, THINK_SEARCH, Api, api_of, full_disk, serving
from tests.waiting import soon

PIECES = ["<think>Now I know.</think><answer>She ", "likes ", "pears [1].", "</answer>"]


def events_of(text: str) -> list[tuple[str, Any]]:
    """(event, data) of a whole stream, without comments."""
    events = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            events.append((lines["event"], json.loads(lines["data"])))
    return events


async def test_the_steps_come_in_order_and_done_is_last(make_service: MakeService) -> None:
    async with api_of(make_service(ScriptedPolicy([THINK_SEARCH, PIECES]))) as api:
        await api.put("ana", ANA)
        response = await api.ask("ana", stream=True)
        events = events_of(response.text)
        stored = (await api.client.get(f"/v1/users/ana/answers/{events[-1][1]['id']}")).json()
    assert response.headers["content-type"].startswith("text/event-stream")
    names = [name for name, _ in events]
    assert names[:4] == ["thought", "search", "information", "thought"]
    assert names[-2:] == ["answer", "done"]
    assert set(names[4:-2]) == {"answer.delta"}
    assert len(names[4:-2]) > 1
    written = "".join(data["text"] for name, data in events if name == "answer.delta")
    assert written == "She likes pears [1]."
    done = events[-1][1]
    assert done == stored
    assert [data for name, data in events if name not in {"answer.delta", "done"}] == (
        done["trajectory"]["steps"]
    )


async def test_a_step_arrives_while_the_next_is_being_written(make_service: MakeService) -> None:
    policy = ScriptedPolicy([THINK_SEARCH, ["<think>Hm.</think>", *["<answer>", "pears", "</answer>"]]], 0.2)
    service = make_service(policy)
    with serving(create_app(service.settings, service)) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            await client.put("/v1/users/ana/documents", json=ANA)
            arrived: dict[str, float] = {}
            clock = asyncio.get_running_loop().time
            body = {"question": "What?", "stream": True}
            async with client.stream("POST", "/v1/users/ana/answers", json=body) as response:
                async for line in response.aiter_lines():
                    if line.startswith("event: "):
                        arrived.setdefault(line.removeprefix("event: "), clock())
    assert arrived["done"] - arrived["search"] > 0.5


@pytest.mark.parametrize(("fault", "status"), [("timeout", 504), ("broken_stream", 502)])
async def test_a_policy_that_fails_is_an_error_event_before_done(
    make_service: MakeService, fault: Any, status: int
) -> None:
    policy = ScriptedPolicy([THINK_SEARCH, ["<think>Well</think>", EngineError(fault, "gone")]])
    async with api_of(make_service(policy)) as api:
        await api.put("ana", ANA)
        events = events_of((await api.ask("ana", stream=True)).text)
    assert [name for name, _ in events[-2:]] == ["error", "done"]
    problem, done = events[-2][1], events[-1][1]
    assert (problem["status"], problem["fault"], problem["answer_id"]) == (status, fault, done["id"])
    assert done["finish_reason"] == "policy_error"


async def test_an_invalid_turn_is_an_event(make_service: MakeService) -> None:
    async with api_of(make_service(ScriptedPolicy(["<think>Well.</think>"]))) as api:
        await api.put("ana", ANA)
        events = events_of((await api.ask("ana", stream=True)).text)
    assert [name for name, _ in events] == ["thought", "invalid", "done"]
    assert events[1][1]["reason"] == "no_action"


async def test_an_answer_that_cannot_be_stored_is_delivered_and_says_so(make_service: MakeService) -> None:
    turn = ["<think>" + "long " * 5_000 + "</think>", "<answer>Pears.</answer>"]
    service = make_service(ScriptedPolicy([turn]))
    async with api_of(service) as api:
        await api.put("ana", ANA)
        with full_disk(service):
            at_once = await api.ask("ana")
            events = events_of((await api.ask("ana", stream=True)).text)
        fetched = await api.client.get(f"/v1/users/ana/answers/{at_once.json()['id']}")
        stored = await api.ask("ana")
    assert (at_once.status_code, stored.json()["stored"]) == (200, True)
    assert [name for name, _ in events[-2:]] == ["answer", "done"]
    for body in (at_once.json(), events[-1][1]):
        assert (body["answer"], body["stored"], body["finish_reason"]) == ("Pears.", False, "answered")
    assert fetched.status_code == 404


async def test_an_unexpected_error_in_the_middle_gives_nothing_away(make_service: MakeService) -> None:
    policy = ScriptedPolicy([["<think>Hm.</think>", RuntimeError("password=hunter2")]])
    async with api_of(make_service(policy)) as api:
        await api.put("ana", ANA)
        response = await api.ask("ana", stream=True)
    events = events_of(response.text)
    assert [name for name, _ in events] == ["thought", "error", "done"]
    assert events[1][1]["type"] == "urn:pr2:problem:internal"
    assert "hunter2" not in response.text


async def test_an_unknown_user_is_a_404_before_the_stream_starts(api: Api) -> None:
    response = await api.ask("nobody", stream=True)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


async def test_silence_is_filled_with_comments(make_service: MakeService) -> None:
    service = make_service(ScriptedPolicy([THINK_ANSWER], delay_s=1.0))
    with serving(create_app(service.settings, service, keep_alive_s=0.1)) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            await client.put("/v1/users/ana/documents", json=ANA)
            body = {"question": "What?", "stream": True}
            text = (await client.post("/v1/users/ana/answers", json=body)).text
    name, done = events_of(text)[-1]
    assert name == "done"
    # One each tenth of a second, however long it took.
    assert 2 <= text.count(": keep-alive\n\n") <= done["usage"]["total_ms"] / 100 + 1


@pytest.mark.parametrize("how", ["closed", "cancelled as a web server does", "cancelled"])
async def test_a_stream_that_is_left_is_over_however_long_its_end_takes(how: str) -> None:
    """Otherwise a task would still read from the source that is closed next."""
    ended = []

    async def events(leave: Callable[[], object]) -> AsyncGenerator[bytes, None]:
        try:
            yield b"one"
            leave()
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0.001)
            ended.append(how)

    async def read(leave: Callable[[], object]) -> None:
        async with aclosing(with_keep_alive(events(leave), 10)) as stream:
            async for _ in stream:
                if how == "closed":
                    break

    if how == "closed":
        await read(bool)
    elif how == "cancelled":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit:
                await read(lambda: limit.reschedule(0))
    else:
        with anyio.CancelScope() as scope:
            await read(scope.cancel)
        assert scope.cancelled_caught
    assert ended == [how]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cancels_the_generation(make_service: MakeService, stream: bool) -> None:
    turns = []

    class Slow(ScriptedPolicy):
        def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
            turns.append(episode.question)
            return super().generate(episode, max_tokens)

    policy = Slow([THINK_SEARCH, ["<think>", *["more "] * 2_000]], delay_s=0.05)
    service = make_service(policy)
    with serving(create_app(service.settings, service)) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            await client.put("/v1/users/ana/documents", json=ANA)
            body = {"question": "What?", "stream": stream}
            if stream:
                async with client.stream("POST", "/v1/users/ana/answers", json=body) as response:
                    async for line in response.aiter_lines():
                        if line == "event: information":
                            break
            else:
                asking = asyncio.create_task(client.post("/v1/users/ana/answers", json=body))
                assert await soon(lambda: len(turns) == 2)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        assert await soon(lambda: policy.cancelled == ["What?"])
        assert await soon(lambda: service.queue.running == 0)
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/healthz")).status_code == 200


async def test_a_client_that_leaves_in_the_middle_of_an_upload_stores_nothing(
    make_service: MakeService,
) -> None:
    service = make_service()
    reading, done = threading.Event(), threading.Event()

    class Watched:
        """Notes when a request's body is read, and when the request is done with."""

        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def noted() -> Message:
                message = await receive()
                if scope["type"] == "http":
                    reading.set()
                return message

            await self._app(scope, noted, send)
            done.set()

    app = create_app(service.settings, service)
    app.add_middleware(Watched)
    with serving(app) as url:
        lines = b"".join(json.dumps(document).encode() + b"\n" for document in ANA)
        head = (
            "PUT /v1/users/ana/documents HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/x-ndjson\r\n"
            f"Content-Length: {len(lines) + 100}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)) as connection:
            connection.sendall(head.encode() + lines)
            assert await asyncio.to_thread(reading.wait, 5)
        assert await asyncio.to_thread(done.wait, 5)
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/v1/users/ana/documents")).status_code == 404
            await client.put("/v1/users/ana/documents", json=ANA)
            exported = await client.get("/v1/users/ana/export")
            assert len(exported.text.splitlines()) == 3
