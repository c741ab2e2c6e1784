"""Searches and answers over a service with an expander."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.expanders import ModelExpander
from agent.policies.scripted import ScriptedPolicy
from index.profiles import Profiles
from index.storage.store import Store
from server.assembly import open_service
from server.http.bodies import Readiness
from server.service import THREADS, Service
from server.settings import Settings
from tests.index.fakes import HashEncoder
from tests.server.live import THINK_ANSWER, Api, api_of

NOTES = [
    {"id": "tall", "text": "five foot eight tall"},
    {"id": "look", "text": "what a look into the garden"},
]
QUESTION = "what look"
SEARCH = f"<think>?</think><search>{QUESTION}</search>"


class Scripted:
    """An expander that waits for an event, if there is one. It records whether it was closed."""

    name = "scripted"

    def __init__(self, write: Callable[[str], Sequence[str]], until: asyncio.Event | None = None) -> None:
        self._write = write
        self._until = until
        self.asked = asyncio.Semaphore(0)
        self.closed = False

    async def expand(self, question: str) -> Sequence[str]:
        self.asked.release()
        if self._until:
            await self._until.wait()
        return self._write(question)

    async def aclose(self) -> None:
        self.closed = True


@asynccontextmanager
async def served(folder: Path, expander: Scripted, **fields: Any) -> AsyncGenerator[Api, None]:
    """The API over Ana's notes and Bo's."""
    settings = Settings(data=folder, **fields)
    encoder = HashEncoder(dimension=256)
    profiles = Profiles(Store(settings.url, encoder.manifest), encoder)
    service = Service(profiles, ScriptedPolicy([SEARCH, THINK_ANSWER]), settings, expander=expander)
    try:
        async with api_of(service) as api:
            for user in ("ana", "bo"):
                await api.put(user, NOTES)
            yield api
    finally:
        await service.aclose()
    assert expander.closed


async def first(api: Api, user: str = "ana", retriever: str = "dense") -> str:
    body = {"queries": [QUESTION], "retriever": retriever}
    response = await api.client.post(f"/v1/users/{user}/search", json=body)
    assert response.status_code == 200, response.text
    document_id: str = response.json()["results"][0][0]["document_id"]
    return document_id


async def counts(api: Api) -> Any:
    ready = (await api.client.get("/readyz")).json()
    Readiness.model_validate(ready)
    assert ready["expander"] == "scripted"
    return ready["expanding"]


async def test_searches_and_answers_look_for_the_sentences(tmp_path: Path) -> None:
    async with served(tmp_path, Scripted(lambda question: ["five foot", "eight tall", "five tall"])) as api:
        assert await first(api) == "tall"
        record = (await api.ask("ana", retriever="dense", limits={"top_k": 1})).json()
        [information] = [step for step in record["trajectory"]["steps"] if step["kind"] == "information"]
        assert [read["passage"]["document_id"] for read in information["passages"]] == ["tall"]
        assert await counts(api) == {"expanded": 2, "late": 0, "failed": 0}


async def test_others_search_while_many_wait_for_the_expander(tmp_path: Path) -> None:
    released = asyncio.Event()
    expander = Scripted(lambda question: ["five foot", "eight tall", "five tall"], released)
    async with served(tmp_path, expander, expand_ms=600_000) as api:
        waiting = [asyncio.create_task(first(api)) for _ in range(3 * THREADS)]
        await expander.asked.acquire()
        assert await first(api, "bo", "bm25") == "look"
        released.set()
        assert set(await asyncio.gather(*waiting)) == {"tall"}


async def test_one_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    async with served(tmp_path, Scripted(lambda question: (), asyncio.Event()), expand_ms=1) as api:
        assert await first(api) == "look"
        assert await counts(api) == {"expanded": 0, "late": 1, "failed": 0}


def test_the_expander_has_the_policys_engine_where_it_names_no_other(tmp_path: Path) -> None:
    policy = {"engine": "openai", "model": "large", "api_key": "secret", "retries": 1}
    found = Settings(data=tmp_path, policy=policy, expander={"model": "small"}).expansion
    assert found is not None
    assert (found.engine, found.model, found.retries) == ("openai", "small", 1)
    assert found.api_key is not None
    elsewhere = Settings(
        data=tmp_path, policy=policy, expander={"model": "small", "base_url": "http://127.0.0.1:9/v1"}
    ).expansion
    # One server's key is never sent to another.
    assert elsewhere is not None
    assert elsewhere.api_key is None
    assert Settings(data=tmp_path, policy=policy).expansion is None


def test_an_expander_without_a_model_is_refused(tmp_path: Path) -> None:
    for wrong in ({"model": "small"}, {"engine": "extractive"}):
        with pytest.raises(ValidationError, match="engine with a model"):
            Settings(data=tmp_path, expander=wrong)
    with pytest.raises(ValidationError, match="expand_ms"):
        Settings(data=tmp_path, expand_ms=0)


async def test_the_settings_make_the_expander(tmp_path: Path, minilm: object) -> None:
    service = open_service(
        Settings(data=tmp_path, expander={"engine": "openai", "model": "small"}, expand_ms=5)
    )
    try:
        assert service.expanding is not None
        assert isinstance(service.expanding.expander, ModelExpander)
        assert service.expanding.expander.name == "small"
    finally:
        await service.aclose()
