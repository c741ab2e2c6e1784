"""Searches and answers over a service with a reranker."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.policies.scripted import ScriptedPolicy
from agent.rerankers import RerankerUnavailable
from agent.trajectory import Information, Trajectory
from index.profiles import Profiles
from index.ranking.reranking import Reranker
from index.storage.store import Store
from server.assembly import open_service
from server.cli.errors import explain
from server.http.bodies import Readiness, SearchResults
from server.service import THREADS, Service
from server.settings import Settings
from tests.engine import Script, fails
from tests.index.fakes import HashEncoder
from tests.model_server import ModelServer, cohere, embeds, shared_words
from tests.server.live import THINK_ANSWER, Api, api_of

NOTES = [{"id": str(number), "text": f"note {number} of tea"} for number in range(6)]
SEARCH = "<think>?</think><search>tea</search>"


class Scripted:
    name = "scripted"
    calls = 2

    def __init__(self, score: Callable[[str, Sequence[str]], Sequence[float]]) -> None:
        self._score = score

    def scores(self, query: str, texts: Sequence[str], deadline: float) -> Sequence[float]:
        return self._score(query, texts)


def prefers(word: str) -> Scripted:
    return Scripted(lambda query, texts: [float(word in text) for text in texts])


def held() -> tuple[Scripted, threading.Semaphore, threading.Event]:
    """A reranker that waits for the event, and releases the semaphore when it is called."""
    began, released = threading.Semaphore(0), threading.Event()

    def score(query: str, texts: Sequence[str]) -> list[float]:
        began.release()
        assert released.wait(60)
        return [0.0] * len(texts)

    return Scripted(score), began, released


@asynccontextmanager
async def served(folder: Path, reranker: Reranker, **fields: Any) -> AsyncGenerator[Api, None]:
    """The API over Ana's notes and Bo's."""
    settings = Settings(data=folder, **fields)
    encoder = HashEncoder()
    profiles = Profiles(Store(settings.url, encoder.manifest), encoder)
    service = Service(profiles, ScriptedPolicy([SEARCH, THINK_ANSWER]), settings, reranker=reranker)
    try:
        async with api_of(service) as api:
            for user in ("ana", "bo"):
                await api.put(user, NOTES)
            yield api
    finally:
        await service.aclose()


async def found(api: Api, user: str = "ana", **body: Any) -> list[dict[str, Any]]:
    response = await api.client.post(f"/v1/users/{user}/search", json={"queries": ["tea"], **body})
    assert response.status_code == 200, response.text
    SearchResults.model_validate(response.json())
    passages: list[dict[str, Any]] = response.json()["results"][0]
    return passages


async def counts(api: Api) -> Any:
    ready = (await api.client.get("/readyz")).json()
    Readiness.model_validate(ready)
    return ready["reranking"]


async def test_searches_and_answers_read_the_rerankers_order(tmp_path: Path) -> None:
    async with served(tmp_path, prefers("note 4")) as api:
        first, *_ = await found(api, k=2)
        assert (first["document_id"], first["score"], first["unreranked"]) == ("4", 1.0, False)
        record = (await api.ask("ana", limits={"top_k": 1})).json()
        trajectory = Trajectory.from_dict(record["trajectory"])
        [information] = [step for step in trajectory.steps if isinstance(step, Information)]
        assert [read.passage.document_id for read in information.passages] == ["4"]
        assert "unreranked" not in str(record)
        assert await counts(api) == {"reranked": 2, "late": 0, "failed": 0}
        ready = (await api.client.get("/readyz")).json()
        assert ready["reranker"] == "scripted"


async def test_a_failure_is_told_by_the_reply_the_trajectory_and_the_counts(tmp_path: Path) -> None:
    nan = Scripted(lambda query, texts: [float("nan")] * len(texts))
    async with served(tmp_path, nan) as api:
        assert {passage["unreranked"] for passage in await found(api, k=3)} == {True}
        record = (await api.ask("ana")).json()
        [information] = [step for step in record["trajectory"]["steps"] if step["kind"] == "information"]
        assert all(read["passage"]["unreranked"] for read in information["passages"])
        assert Trajectory.from_dict(record["trajectory"]).to_dict() == record["trajectory"]
        assert await counts(api) == {"reranked": 0, "late": 0, "failed": 2}


async def test_others_search_while_many_wait_for_the_reranker(tmp_path: Path) -> None:
    reranker, began, released = held()
    async with served(tmp_path, reranker, rerank_ms=600_000) as api:
        try:
            waiting = [asyncio.create_task(found(api)) for _ in range(3 * THREADS)]
            await asyncio.to_thread(began.acquire)
            plain = await found(api, "bo", retriever="recency")
            assert not any(passage["unreranked"] for passage in plain)
        finally:
            released.set()
        for passages in await asyncio.gather(*waiting):
            assert not any(passage["unreranked"] for passage in passages)
        assert (await counts(api))["reranked"] == 3 * THREADS


async def test_nobody_waits_longer_than_the_limit_for_a_reranker_that_hangs(tmp_path: Path) -> None:
    reranker, began, released = held()
    async with served(tmp_path, reranker, rerank_ms=200) as api:
        try:
            # More than there are threads for the reranker.
            waiting = [asyncio.create_task(found(api)) for _ in range(6)]
            await asyncio.to_thread(began.acquire)
            assert {passage["unreranked"] for passage in await found(api, "bo")} == {True}
            for passages in await asyncio.gather(*waiting):
                assert {passage["unreranked"] for passage in passages} == {True}
            assert await counts(api) == {"reranked": 0, "late": 7, "failed": 0}
        finally:
            released.set()


async def test_without_a_reranker_readiness_names_none(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    encoder = HashEncoder()
    service = Service(
        Profiles(Store(settings.url, encoder.manifest), encoder), ScriptedPolicy([THINK_ANSWER]), settings
    )
    async with api_of(service) as api:
        ready = (await api.client.get("/readyz")).json()
    await service.aclose()
    assert "reranker" not in ready
    assert "reranking" not in ready


def test_a_reranker_that_cannot_be_used_is_named_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(RerankerUnavailable, match="neither a folder nor") as failure:
        open_service(Settings(data=tmp_path, reranker=str(tmp_path / "nothing")))
    assert explain(failure.value) == str(failure.value)


def service_at(folder: Path, vectors: ModelServer, ranks: ModelServer) -> Service:
    """A service as `pr2 serve` opens it, whose encoder and reranker are servers."""
    fields: dict[str, Any] = {
        "encoder": "openai",
        "encoding": {"base_url": vectors.base_url, "model": "tiny", "query_prompt": "query: ", "retries": 0},
        "reranker": f"cohere:{ranks.base_url}",
        "rerank_model": "tiny",
        "rerank_api_key": "secret",
    }
    return open_service(Settings(data=folder, **fields))


@pytest.mark.parametrize(
    ("script", "unreranked"), [(cohere(shared_words), False), (lambda request: fails(500), True)]
)
async def test_vectors_and_scores_of_servers_end_to_end(
    tmp_path: Path, script: Script, unreranked: bool
) -> None:
    with ModelServer(embeds) as vectors, ModelServer(script) as ranks:
        service = service_at(tmp_path, vectors, ranks)
        try:
            async with api_of(service) as api:
                await api.put("ana", [*NOTES, {"id": "walk", "text": "a walk by the river at dawn"}])
                first, *_ = await found(api, queries=["river walk at dawn"], retriever="dense")
                assert first["document_id"] == "walk"
                assert first["unreranked"] is unreranked
        finally:
            await service.aclose()
        assert vectors.requests[-1].json["input"] == ["query: river walk at dawn"]
        assert ranks.requests[-1].headers["authorization"] == "Bearer secret"
        assert ranks.requests[-1].json["model"] == "tiny"
