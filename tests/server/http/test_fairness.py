"""Searches and writes of several users at once: who goes first, who is refused, what ends with its client."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Sequence

import pytest

from index.ranking.profile import Profile
from index.ranking.retrievers import Query, Ranking
from server.queue import Allowance
from server.service import THREADS
from tests.index.fakes import Counting
from tests.server.conftest import MakeService
from tests.server.live import Api, Call, api_of
from tests.waiting import soon

QUERY = "where did we go last summer"
LONG = "long " * 1_600
USERS = ("ana", "ben", "cleo")


@pytest.fixture
def encoder() -> Counting:
    return Counting()


@pytest.fixture
async def api(make_service: MakeService) -> AsyncGenerator[Api, None]:
    async with api_of(make_service(limits={"requests": 3})) as api:
        for user in USERS:
            await api.put(user, [{"id": "1", "text": "We went to the sea."}])
        yield api
        assert not api.service.allowance._running


def searching(api: Api, user: str, queries: Sequence[str]) -> Call:
    body = json.dumps({"queries": list(queries), "k": 1})
    return Call(api, "POST", f"/v1/users/{user}/search", body)


def putting(api: Api, user: str, texts: Sequence[str]) -> Call:
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    return Call(api, "PUT", f"/v1/users/{user}/documents", lines, "application/x-ndjson")


def notes(count: int) -> list[str]:
    """Texts of 100 tokens, of which five fit into a batch."""
    return [f"{number} ".ljust(400, "x") for number in range(count)]


async def until_waiting(api: Api, *lines: tuple[str, str]) -> None:
    """Wait until these users have texts in line, by lane."""
    shared = api.service.profiles.shared
    assert await soon(lambda: set(lines) <= set(shared._lines))


async def busy(api: Api, encoder: Counting) -> Call:
    """A search that is being encoded, behind a closed door."""
    encoder.batches.clear()
    encoder.entered.clear()
    encoder.door.clear()
    first = searching(api, "ana", ["busy"])
    assert await asyncio.to_thread(encoder.entered.wait, 60)
    return first


async def test_a_search_passes_another_users_bulky_ones(api: Api, encoder: Counting) -> None:
    first = await busy(api, encoder)
    bulky = [searching(api, "ben", [LONG] * 64) for _ in range(3)]
    await until_waiting(api, ("searches", "ben"))
    small = searching(api, "cleo", [QUERY])
    await until_waiting(api, ("searches", "cleo"))
    encoder.door.set()
    await asyncio.gather(*(call.serving for call in (first, small, *bulky)))
    assert {call.status for call in (first, small, *bulky)} == {200}
    assert [QUERY] in encoder.batches[:3]
    assert len(encoder.batches) == 2 + 3 * 32


async def test_a_crowd_of_short_searches_has_few_in_progress_and_long_ones_take_none_of_their_places(
    api: Api, encoder: Counting
) -> None:
    api.service.allowance = Allowance(100)
    first = await busy(api, encoder)
    long = [searching(api, "ben", [LONG]) for _ in range(THREADS)]
    crowd = [searching(api, user, [f"{QUERY} {n}"]) for n in range(20) for user in ("ana", "cleo")]
    queue = api.service._short_searches
    assert await soon(lambda: (queue.running, queue.waiting) == (THREADS, 1 + 40 - THREADS))
    await until_waiting(api, ("searches", "ben"))
    encoder.door.set()
    await asyncio.gather(*(call.serving for call in (first, *long, *crowd)))
    assert {call.status for call in (first, *long, *crowd)} == {200}
    assert (queue.running, queue.waiting) == (0, 0)
    assert max(map(len, encoder.batches)) <= THREADS


async def test_a_third_users_document_is_stored_while_two_long_imports_go_on(
    api: Api, encoder: Counting
) -> None:
    texts = notes(400)
    encoder.stops_at = {texts[-1]}
    encoder.door.clear()
    long = [putting(api, user, texts) for user in ("ana", "ben")]
    small = putting(api, "cleo", ["tea"])
    await asyncio.wait_for(small.serving, 60)
    assert small.status == 200
    assert not any(call.serving.done() for call in long)
    assert api.service.profiles.store.count("cleo") == 2
    encoder.door.set()
    await asyncio.gather(*(call.serving for call in long))
    assert [api.service.profiles.store.count(user) for user in ("ana", "ben")] == [401, 401]


async def test_an_answer_searches_while_clients_use_all_threads_of_searches(api: Api) -> None:
    used, may_go_on = threading.Semaphore(0), threading.Event()

    class Stuck:
        name = "stuck"
        needs_vectors = False

        def rank(self, profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
            used.release()
            assert may_go_on.wait(60)
            return [[] for _ in queries]

    api.service.profiles.retrievers.register(Stuck())
    clients = [
        asyncio.create_task(
            api.client.post(f"/v1/users/{user}/search", json={"queries": ["x"], "retriever": "stuck"})
        )
        for user in USERS * 3
    ]
    for _ in range(THREADS):
        assert await asyncio.to_thread(used.acquire, timeout=60)
    response = await api.ask("ana")
    assert (response.status_code, response.json()["usage"]["searches"]) == (200, 1)
    may_go_on.set()
    assert {(await client).status_code for client in clients} == {200}


async def test_a_user_with_too_much_in_progress_gets_a_retry_after_and_others_are_served(
    api: Api, encoder: Counting
) -> None:
    calls = [await busy(api, encoder), searching(api, "ana", ["tea"]), putting(api, "ana", ["tea"])]
    await until_waiting(api, ("searches", "ana"), ("imports", "ana"))
    refused = [searching(api, "ana", ["more"]), putting(api, "ana", ["more"])]
    for call in refused:
        await call.serving
        problem = json.loads(call.answer)
        assert (call.status, problem["type"]) == (429, "urn:pr2:problem:busy")
        assert problem["retry_after_s"] == 1
        assert "searches and writes of this user" in problem["detail"]
    like = await api.client.post("/v1/users/ana/search", json={"like": ["1"]})
    assert (like.status_code, like.headers["retry-after"]) == (429, "1")
    calls += [searching(api, "ben", ["tea"]), putting(api, "ben", ["tea"])]
    encoder.door.set()
    await asyncio.gather(*(call.serving for call in calls))
    assert [call.status for call in calls] == [200] * 5
    assert (await api.client.post("/v1/users/ana/search", json={"like": ["1"]})).status_code == 200


async def test_an_import_ends_when_its_client_leaves(api: Api, encoder: Counting) -> None:
    encoder.batches.clear()
    encoder.entered.clear()
    encoder.door.clear()
    leaving = putting(api, "dan", notes(1_000))
    assert await asyncio.to_thread(encoder.entered.wait, 60)
    await leaving.leave()
    encoder.door.set()
    await api.put("ana", [{"id": "2", "text": "afterwards"}])
    assert [len(batch) for batch in encoder.batches] == [5, 1]
    assert (await api.client.get("/v1/users/dan/documents")).status_code == 404


async def test_a_search_ends_when_its_client_leaves(api: Api, encoder: Counting) -> None:
    first = await busy(api, encoder)
    leaving = searching(api, "ben", [LONG] * 64)
    await until_waiting(api, ("searches", "ben"))
    await leaving.leave()
    encoder.door.set()
    await first.serving
    assert (await api.client.post("/v1/users/ana/search", json={"queries": ["tea"]})).status_code == 200
    assert encoder.batches == [["busy"], ["tea"]]
