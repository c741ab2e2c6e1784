"""Concurrent questions: which run, wait or are refused; and no slot of the queue is ever lost."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.engines.errors import EngineError
from agent.episode import Episode
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Chunk, Policy
from index.documents import Passage
from index.encoding.encoders import Encoder, Vectors
from index.profiles import Profiles
from index.ranking.retrievers import DEFAULT
from index.storage.store import Store
from index.when.scope import Scope
from server.answers import AnswerRecord
from server.http.bodies import AnswerBody
from server.http.sse import EventStream
from server.service import Service
from server.settings import LimitSettings, Settings
from tests.server.conftest import MakeService
from tests.server.http.test_streams import events_of
from tests.server.live import THINK_ANSWER, THINK_SEARCH, Api, Call, api_of
from tests.waiting import soon

pytestmark = pytest.mark.usefixtures("history")
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["at once", "stream"])


class Desk:
    """A policy that answers a question on command and records the order of arrival."""

    name = "desk"

    def __init__(self) -> None:
        self.came: list[str] = []
        self.here: list[str] = []
        self.most = 0
        self._released: dict[str, asyncio.Event] = {}
        self._open = False

    def answer(self, *questions: str) -> None:
        for question in questions:
            self._event(question).set()

    def answer_all(self) -> None:
        """Answer all waiting questions, and every later one at once."""
        self._open = True
        self.answer(*self._released)

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        question = episode.question
        self.came.append(question)
        self.here.append(question)
        self.most = max(self.most, len(self.here))
        try:
            if not self._open:
                await self._event(question).wait()
            await asyncio.sleep(0)
            yield Chunk(f"<think>Easy.</think><answer>To {question}</answer>", tokens=1, finish="stop")
        finally:
            self.here.remove(question)

    def _event(self, question: str) -> asyncio.Event:
        return self._released.setdefault(question, asyncio.Event())

    async def check(self) -> str:
        return "a desk"

    async def aclose(self) -> None:
        """Holds nothing."""


class Visit(Call):
    """One question."""

    def __init__(
        self, api: Api, question: str, user: str = "ana", *, gone: bool = False, **more: Any
    ) -> None:
        body = json.dumps({"question": question, **more})
        super().__init__(api, "POST", f"/v1/users/{user}/answers", body, gone=gone)

    async def end(self) -> dict[str, Any]:
        """Body of the answer; of a stream, the data of `done`."""
        await self.serving
        assert self.status == 200, self.answer
        if self.answer.startswith((b"event:", b":")):
            name, done = events_of(self.answer.decode())[-1]
            assert name == "done"
            return dict(done)
        return dict(json.loads(self.answer))


@asynccontextmanager
async def desk_of(
    make_service: MakeService, concurrency: int, queue: int
) -> AsyncGenerator[tuple[Api, Desk], None]:
    """An API in front of a desk. At the end, desk and queue are empty."""
    desk = Desk()
    async with api_of(make_service(desk, limits={"concurrency": concurrency, "queue": queue})) as api:
        yield api, desk
        assert counts(api) == (0, 0)
        assert desk.here == []


def counts(api: Api) -> tuple[int, int]:
    """Numbers of running and of waiting questions."""
    return api.service.queue.running, api.service.queue.waiting


async def until(api: Api, running: int, waiting: int) -> None:
    assert await soon(lambda: counts(api) == (running, waiting)), counts(api)


def is_busy(response: httpx.Response) -> bool:
    """Whether this is a 429 with all that belongs to it."""
    if response.status_code != 429:
        return False
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (problem["type"], problem["status"]) == ("urn:pr2:problem:busy", 429)
    assert int(response.headers["retry-after"]) == problem["retry_after_s"] > 0
    assert str(problem["retry_after_s"]) in problem["detail"]
    assert "answer_id" not in problem
    return True


@pytest.mark.parametrize(
    "streams",
    [
        (False, False, False, False),
        (True, True, True, True),
        (True, False, True, False),
        (False, True, False, True),
    ],
    ids=["at once", "streams", "a stream waits", "a stream is refused"],
)
async def test_two_run_one_waits_and_the_fourth_gets_a_retry_after(
    make_service: MakeService, streams: Sequence[bool]
) -> None:
    async with desk_of(make_service, concurrency=2, queue=1) as (api, desk):
        visits = []
        for number, stream in enumerate(streams[:3], 1):
            visits.append(Visit(api, f"{number}?", stream=stream))
            await until(api, min(number, 2), max(number - 2, 0))
        assert await soon(lambda: desk.came == ["1?", "2?"])
        assert is_busy(await api.ask("ana", "4?", stream=streams[3]))
        assert counts(api) == (2, 1)
        assert desk.came == ["1?", "2?"]
        desk.answer("1?")
        assert (await visits[0].end())["answer"] == "To 1?"
        assert await soon(lambda: desk.came == ["1?", "2?", "3?"])
        fourth = Visit(api, "4?", stream=streams[3])
        await until(api, 2, 1)
        desk.answer_all()
        bodies = [await visit.end() for visit in (*visits, fourth)]
        assert [body["answer"] for body in bodies] == ["To 1?", "To 2?", "To 3?", "To 4?"]
        assert (await api.service.erase("ana")).answers == 4


async def test_a_burst_is_taken_as_far_as_there_is_room_and_never_more_at_once(
    make_service: MakeService,
) -> None:
    async with desk_of(make_service, concurrency=4, queue=6) as (api, desk):
        refused = 0

        async def ask(number: int) -> httpx.Response:
            nonlocal refused
            response = await api.ask(("ana", "ben")[number % 2], f"{number}?", stream=number % 3 == 0)
            refused += is_busy(response)
            return response

        asking = asyncio.gather(*(ask(number) for number in range(50)))
        assert await soon(lambda: refused == 40), refused
        assert counts(api) == (4, 6)
        assert await soon(lambda: len(desk.here) == 4)
        desk.answer_all()
        assert Counter(response.status_code for response in await asking) == {200: 10, 429: 40}
        assert (len(desk.came), desk.most) == (10, 4)
        assert sum([(await api.service.erase(user)).answers for user in ("ana", "ben")]) == 10


async def test_an_answer_has_a_place_for_the_time_it_is_written_only(make_service: MakeService) -> None:
    """Questions one after the other, to a service that admits one and lets none wait."""
    async with desk_of(make_service, concurrency=1, queue=0) as (api, desk):
        desk.answer_all()
        for number in range(20):
            response = await api.ask("ana", f"{number}?", stream=number % 2 == 0)
            assert response.status_code == 200, response.text
        assert desk.most == 1


async def test_who_asks_much_does_not_hold_up_who_asks_once(make_service: MakeService) -> None:
    async with desk_of(make_service, concurrency=2, queue=20) as (api, desk):
        flood = []
        for number in range(10):
            flood.append(Visit(api, f"ana {number}", stream=number % 2 == 0))
            await until(api, min(number + 1, 2), max(number - 1, 0))
        ben = Visit(api, "ben", "ben")
        await until(api, 2, 9)
        desk.answer("ana 0", "ben")
        assert (await ben.end())["user"] == "ben"
        assert desk.came[:3] == ["ana 0", "ana 1", "ben"]
        desk.answer_all()
        assert [(await visit.end())["question"] for visit in flood] == [f"ana {n}" for n in range(10)]
        assert desk.came[3:] == [f"ana {number}" for number in range(2, 10)]


@WAYS
async def test_a_user_who_fills_their_part_of_the_queue_leaves_room_for_others(
    make_service: MakeService, stream: bool
) -> None:
    limits = {"concurrency": 1, "queue": 4, "queue_per_user": 2}
    desk = Desk()
    async with api_of(make_service(desk, limits=limits)) as api:
        flood = [Visit(api, f"ana {number}", stream=stream) for number in range(3)]
        await until(api, 1, 2)
        refused = await api.ask("ana", "ana 3", stream=stream)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:pr2:problem:busy")
        assert "questions of this user are waiting" in refused.json()["detail"]
        ben = Visit(api, "ben", "ben", stream=stream)
        await until(api, 1, 3)
        desk.answer_all()
        assert (await ben.end())["answer"] == "To ben"
        assert [(await visit.end())["answer"] for visit in flood] == [f"To ana {n}" for n in range(3)]
        assert counts(api) == (0, 0)


@WAYS
async def test_a_client_that_leaves_while_it_waits_gives_up_its_place(
    make_service: MakeService, stream: bool
) -> None:
    async with desk_of(make_service, concurrency=1, queue=2) as (api, desk):
        first = Visit(api, "first")
        await until(api, 1, 0)
        second = Visit(api, "second", stream=stream)
        await until(api, 1, 1)
        third = Visit(api, "third", stream=stream)
        await until(api, 1, 2)
        await second.leave()
        assert counts(api) == (1, 1)
        desk.answer_all()
        assert [(await visit.end())["answer"] for visit in (first, third)] == ["To first", "To third"]
        assert desk.came == ["first", "third"]
        assert (await api.service.erase("ana")).answers == 2


@pytest.mark.parametrize("compare", [False, True], ids=["alone", "compared"])
@WAYS
async def test_a_client_that_leaves_while_it_is_answered_makes_room(
    make_service: MakeService, stream: bool, compare: bool
) -> None:
    async with desk_of(make_service, concurrency=2, queue=1) as (api, desk):
        leaving = Visit(api, "leaving", stream=stream, compare=compare)
        assert await soon(lambda: desk.here == ["leaving"] * (1 + compare))
        await leaving.leave()
        assert desk.here == []
        assert counts(api) == (0, 0)
        desk.answer_all()
        assert (await Visit(api, "staying", compare=True).end())["answer"] == "To staying"
        assert (await api.service.erase("ana")).answers == 1


@pytest.mark.parametrize("compare", [False, True], ids=["alone", "compared"])
@WAYS
async def test_a_client_that_has_left_before_anything_begins_has_no_place(
    make_service: MakeService, stream: bool, compare: bool
) -> None:
    async with desk_of(make_service, concurrency=2, queue=1) as (api, desk):
        await Visit(api, "gone", stream=stream, compare=compare, gone=True).leave()
        assert counts(api) == (0, 0)
        assert desk.here == []


async def test_a_stream_that_is_never_started_gives_its_places_back(make_service: MakeService) -> None:
    async with desk_of(make_service, concurrency=2, queue=0) as (api, desk):
        answering = api.service.answer(await api.service.prepare("ana", "Why?", compare=True))
        assert counts(api) == (2, 0)

        async def no_events() -> AsyncGenerator[bytes, None]:
            yield b""

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            raise OSError("the connection is gone")

        events = no_events()
        with pytest.raises(OSError, match="gone"):
            await EventStream(events, 1.0, answering)({"type": "http"}, receive, send)
        await events.aclose()
        assert counts(api) == (0, 0)
        assert desk.came == []


async def test_closing_an_answer_twice_or_at_its_end_does_nothing(make_service: MakeService) -> None:
    async with desk_of(make_service, concurrency=1, queue=0) as (api, desk):
        desk.answer_all()
        request = await api.service.prepare("ana", "Why?")
        answering = api.service.answer(request)
        await answering.aclose()
        await answering.aclose()
        answering = api.service.answer(request)
        [record] = [event async for event in answering if isinstance(event, AnswerRecord)]
        assert record.id == answering.id
        assert counts(api) == (0, 0)
        await answering.aclose()
        assert (await api.service.stored_answer("ana", answering.id))["id"] == answering.id


async def test_a_request_that_is_cancelled_from_outside_gives_its_place_back(
    make_service: MakeService,
) -> None:
    """Cancel at any moment, as a server does when its graceful shutdown times out."""
    async with desk_of(make_service, concurrency=2, queue=2) as (api, desk):
        for stream in (False, True):
            for steps in range(24):
                visit = Visit(api, "Why?", stream=stream, compare=True)
                for _ in range(steps):
                    await asyncio.sleep(0.0005 * (steps > 4))
                visit.serving.cancel()
                await asyncio.gather(visit.serving, return_exceptions=True)
                assert await soon(lambda: counts(api) == (0, 0) and not desk.here), (stream, steps)
        assert desk.came


FAILURES: dict[str, list[Any]] = {
    "the policy fails": [THINK_SEARCH, ["<think>Well", EngineError("broken_stream", "gone")]],
    "the policy has a bug": [THINK_SEARCH, ["<think>Well", RuntimeError("password=hunter2")]],
}


@pytest.mark.parametrize("compare", [False, True], ids=["alone", "compared"])
@WAYS
@pytest.mark.parametrize("turns", FAILURES.values(), ids=FAILURES)
async def test_an_answer_that_fails_gives_its_places_back(
    make_service: MakeService, turns: list[Any], stream: bool, compare: bool
) -> None:
    limits = {"concurrency": 2, "queue": 0}
    async with api_of(make_service(ScriptedPolicy(turns), limits=limits)) as api:
        for _ in range(2):
            response = await api.ask("ana", stream=stream, compare=compare)
            assert response.status_code != 429
            assert "hunter2" not in response.text
            assert counts(api) == (0, 0)


class Stuck(Profiles):
    """Searches that hang or fail, except for the query `quick`."""

    def __init__(self, store: Store, encoder: Encoder, error: Exception | None = None) -> None:
        super().__init__(store, encoder)
        self.error = error
        self.searching = threading.Event()
        self.released = threading.Event()

    def search(
        self,
        user: str,
        queries: Sequence[str],
        k: int,
        name: str = DEFAULT,
        exclude: Collection[tuple[str, int]] = (),
        vectors: Vectors | None = None,
        scope: Scope | None = None,
    ) -> list[list[Passage]]:
        if queries != ["quick"]:
            self.searching.set()
            if self.error:
                raise self.error
            self.released.wait()
        return super().search(user, queries, k, name, exclude, vectors, scope)


@asynccontextmanager
async def stuck(
    folder: Path, encoder: Encoder, policy: Policy, error: Exception | None = None, **limits: int
) -> AsyncGenerator[tuple[Api, Stuck], None]:
    """An API whose searches are stuck until the end of the block, except for the query `quick`."""
    settings = Settings(data=folder, limits=LimitSettings(**limits))
    profiles = Stuck(Store(settings.url, encoder.manifest), encoder, error)
    service = Service(profiles, policy, settings)
    try:
        async with api_of(service) as api:
            yield api, profiles
            assert counts(api) == (0, 0)
    finally:
        profiles.released.set()
        await service.aclose()


@pytest.mark.parametrize("compare", [False, True], ids=["alone", "compared"])
@WAYS
async def test_a_search_that_fails_unexpectedly_gives_the_places_back(
    tmp_path: Path, encoder: Encoder, stream: bool, compare: bool
) -> None:
    policy = ScriptedPolicy([THINK_SEARCH, THINK_ANSWER], delay_s=0.01)
    bug = RuntimeError("password=hunter2")
    async with stuck(tmp_path, encoder, policy, bug, concurrency=2, queue=0) as (api, _):
        for method in ("pr2", "rag"):
            response = await api.ask("ana", stream=stream, compare=compare, method=method)
            assert response.status_code == (200 if stream else 500)
            problem = events_of(response.text)[-2][1] if stream else response.json()
            assert problem["type"] == "urn:pr2:problem:internal"
            assert "hunter2" not in response.text
            assert counts(api) == (0, 0)
        assert (await api.service.erase("ana")).answers == 0


def now() -> float:
    return asyncio.get_running_loop().time()


async def asked_in_every_way(api: Api, deadline_ms: int, ways: Sequence[dict[str, Any]]) -> list[Any]:
    """Bodies of the same question, asked in all these ways at once, where only the deadline ends it."""
    limits = {"deadline_ms": deadline_ms}
    visits = [Visit(api, "Why?", limits=limits, **way) for way in ways]
    _, late = await asyncio.wait([visit.serving for visit in visits], timeout=60)
    assert not late
    bodies = [await visit.end() for visit in visits]
    for body in bodies:
        AnswerBody.model_validate(body)
        assert (await api.client.get(f"/v1/users/ana/answers/{body['id']}")).json() == body
    return bodies


BOTH = ({"stream": False}, {"stream": True})
COMPARED = ({"stream": False, "compare": True}, {"stream": True, "compare": True})


async def test_a_deadline_that_passes_in_the_queue_ends_the_question_unasked(
    make_service: MakeService,
) -> None:
    async with desk_of(make_service, concurrency=1, queue=4) as (api, desk):
        first = Visit(api, "first")
        assert await soon(lambda: desk.came == ["first"])
        for body in await asked_in_every_way(api, 100, BOTH):
            assert (body["finish_reason"], body["answer"]) == ("deadline", None)
            assert body["trajectory"]["steps"] == []
            assert "turn" in body["trajectory"]["detail"]
            assert body["usage"]["policy_ms"] == 0
            assert body["usage"]["total_ms"] >= 100
        assert counts(api) == (1, 0)
        assert desk.came == ["first"]
        desk.answer_all()
        assert (await first.end())["answer"] == "To first"


async def test_what_is_waited_in_the_queue_counts_for_the_deadline(make_service: MakeService) -> None:
    async with desk_of(make_service, concurrency=1, queue=1) as (api, desk):
        first = Visit(api, "first")
        await until(api, 1, 0)
        second = Visit(api, "second", limits={"deadline_ms": 3_000})
        await until(api, 1, 1)
        began = now()
        await asyncio.sleep(0.2)
        waited_ms = (now() - began) * 1000
        desk.answer("first")
        body = await second.end()
        assert (body["finish_reason"], desk.came) == ("deadline", ["first", "second"])
        assert body["usage"]["total_ms"] >= 3_000
        assert 0 < body["usage"]["policy_ms"] <= body["usage"]["total_ms"] - waited_ms
        assert body["usage"]["policy_ms"] < 3_000
        await first.end()


class Silent:
    """A policy that never writes, or never after `begins`."""

    name = "silent"

    def __init__(self, begins: str = "") -> None:
        self.begins = begins
        self.writing = 0

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        self.writing += 1
        try:
            if self.begins:
                yield Chunk(self.begins, tokens=1)
            await asyncio.Event().wait()
        finally:
            self.writing -= 1

    async def check(self) -> str:
        return "silent"

    async def aclose(self) -> None:
        """Holds nothing."""


@pytest.mark.parametrize("begins", ["", "<think>Well.</think><answer>It is"], ids=["silent", "in the middle"])
async def test_a_policy_that_hangs_ends_at_the_deadline(make_service: MakeService, begins: str) -> None:
    policy = Silent(begins)
    async with api_of(make_service(policy)) as api:
        bodies = await asked_in_every_way(api, 300, BOTH + COMPARED)
        assert policy.writing == 0
        assert counts(api) == (0, 0)
    assert [body["without_profile"] is not None for body in bodies] == [False, False, True, True]
    for body in bodies:
        for outcome in filter(None, (body, body["without_profile"])):
            assert outcome["finish_reason"] == "deadline"
            assert outcome["answer"] == ("It is" if begins else None)


async def test_a_search_that_hangs_ends_at_the_deadline(tmp_path: Path, encoder: Encoder) -> None:
    policy = ScriptedPolicy([THINK_SEARCH, THINK_ANSWER])
    async with stuck(tmp_path, encoder, policy) as (api, profiles):
        # More than there are threads: the answers are stored in time, too.
        bodies = await asked_in_every_way(api, 1_500, (BOTH + COMPARED) * 5)
        assert profiles.searching.is_set()
    for body in bodies:
        assert (body["finish_reason"], body["answer"]) == ("deadline", None)
        assert [step["kind"] for step in body["trajectory"]["steps"]] == ["thought", "search"]
        assert body["usage"]["search_ms"] > 0


async def test_a_comparison_that_hangs_leaves_the_answer_as_it_is(make_service: MakeService) -> None:
    class OnlyWithHistory(ScriptedPolicy):
        async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
            if not episode.limits.max_searches:
                await asyncio.Event().wait()
            async with aclosing(super().generate(episode, max_tokens)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async with api_of(make_service(OnlyWithHistory([THINK_ANSWER]))) as api:
        for body in await asked_in_every_way(api, 300, COMPARED):
            reasons = (body["finish_reason"], body["without_profile"]["finish_reason"])
            assert reasons == ("answered", "deadline")
        assert counts(api) == (0, 0)


async def test_nobody_waits_for_an_answer_that_takes_long(tmp_path: Path, encoder: Encoder) -> None:
    """One hangs in its search, one in its generation, and the others finish."""
    turns = [["<think>Quick.</think>", "<search>quick</search>"], THINK_ANSWER]

    class Uneven(ScriptedPolicy):
        async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
            if episode.question == "Slow to write?":
                await asyncio.Event().wait()
            async with aclosing(super().generate(episode, max_tokens)) as chunks:
                async for chunk in chunks:
                    text = chunk.text
                    if episode.question == "Slow to search?":
                        text = text.replace("quick<", "slow<")
                    yield replace(chunk, text=text)

    async with stuck(tmp_path, encoder, Uneven(turns)) as (api, profiles):
        slow = [
            Visit(api, f"Slow to {what}?", limits={"deadline_ms": 600_000}) for what in ("search", "write")
        ]
        assert await soon(profiles.searching.is_set)
        quick = await asyncio.gather(*(Visit(api, f"Quick {n}?", stream=n % 2 == 0).end() for n in range(8)))
        assert [body["finish_reason"] for body in quick] == ["answered"] * 8
        assert all(body["usage"]["searches"] == 1 for body in quick)
        assert not any(visit.serving.done() for visit in slow)
        for visit in slow:
            await visit.leave()
