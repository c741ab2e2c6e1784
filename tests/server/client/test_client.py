"""The HTTP client against scripted replies: what it sends, what it makes of them, and of broken ones.

The client without an event loop is held against a real server.
"""

import asyncio
import gc
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from agent.episode import Episode
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Chunk
from agent.trajectory import Answer, AnswerDelta, Search, Thought
from index.documents import Document, parse_document
from index.encoding.encoders import SentenceTransformerEncoder
from index.errors import InvalidDocument, InvalidName
from index.profiles import Profiles
from index.storage.store import Store
from server.answers import AnswerRecord
from server.client import ApiError, AsyncClient, Client
from server.http.app import create_app
from server.service import Service
from server.settings import Settings
from tests.server.live import ANA, THINK_ANSWER, THINK_SEARCH, serving

Reply = Callable[[httpx.Request], httpx.Response]

RECORD = {
    "id": "r1",
    "user": "ana",
    "created_at": "2024-05-01T12:00:00Z",
    "method": "pr2",
    "retriever": "hybrid",
    "finish_reason": "invalid",
    "trajectory": {
        "question": "why?",
        "limits": {"top_k": 3},
        "steps": [],
        "segments": [],
        "finish_reason": "invalid",
        "transcript": "",
    },
}


def client(reply: Reply) -> AsyncClient:
    return AsyncClient("http://pr2", transport=httpx.MockTransport(reply), sleep=no_time)


async def no_time(seconds: float) -> None:
    """Instead of waiting for the next attempt."""


def stream(*chunks: bytes) -> Reply:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return lambda request: httpx.Response(200, content=body())


def event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


async def steps(pr2: AsyncClient) -> list[Any]:
    return [event async for event in pr2.answer("ana", "why?")]


async def test_a_stream_becomes_steps_wherever_it_is_split() -> None:
    sent = (
        b": keep-alive\n\n"
        + event("thought", {"text": "Hm\u2028é\x85", "at_ms": 1.5, "kind": "thought"})
        + event("search", {"query": "pears", "at_ms": 2.0}).replace(b"\n", b"\r\n")
        + event("answer.delta", {"text": "P"})
        + event("done", RECORD)
    )
    whole = await steps(client(stream(sent)))
    assert whole[:3] == [Thought("Hm\u2028é\x85", 1.5), Search("pears", 2.0), AnswerDelta("P")]
    assert whole[3].id == "r1"
    assert whole[3].trajectory.limits.top_k == 3
    assert await steps(client(stream(*(sent[i : i + 1] for i in range(len(sent)))))) == whole


async def test_a_record_that_follows_an_error_is_the_answer() -> None:
    problem = {"title": "The policy has failed", "detail": "cut off", "status": 502}
    found = await steps(client(stream(event("error", problem), event("done", RECORD))))
    assert [item.id for item in found] == ["r1"]


async def test_an_error_without_a_record_is_raised() -> None:
    problem = {"type": "urn:x", "title": "No", "detail": "the disk is full", "status": 503}
    with pytest.raises(ApiError, match="the disk is full") as caught:
        await steps(client(stream(event("error", problem), event("done", {"finish_reason": None}))))
    assert (caught.value.status, caught.value.type) == (503, "urn:x")


@pytest.mark.parametrize("sent", [b"", event("thought", {"text": "a"}), event("done", RECORD)[:-1]])
async def test_a_stream_that_ends_early_is_an_error(sent: bytes) -> None:
    with pytest.raises(ApiError, match="ended before the answer was complete"):
        await steps(client(stream(sent)))


async def test_only_what_was_given_is_sent_and_names_are_quoted() -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=event("done", RECORD))

    async for _ in client(reply).answer("å ?#%", "why?", limits={"top_k": 2}):
        pass
    assert seen[0].url.raw_path == b"/v1/users/%C3%A5%20%3F%23%25/answers"
    assert json.loads(seen[0].content) == {"question": "why?", "stream": True, "limits": {"top_k": 2}}


@pytest.mark.parametrize("name", ["..", "a/b", ""])
async def test_a_name_that_a_path_cannot_carry_is_never_sent(name: str) -> None:
    with pytest.raises(InvalidName):
        await client(lambda request: pytest.fail(f"sent {request.url}")).document(name, "d")


async def test_a_problem_is_raised_with_what_it_says() -> None:
    problem = {"type": "urn:pr2:problem:invalid-document", "title": "t", "detail": "text: missing", "line": 7}
    with pytest.raises(ApiError, match="text: missing") as caught:
        await client(lambda request: httpx.Response(422, json=problem)).document("ana", "d")
    assert (caught.value.status, caught.value.line) == (422, 7)


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"[]", b"{}"])
async def test_a_refusal_that_is_no_problem_document_still_has_its_status(body: bytes) -> None:
    with pytest.raises(ApiError, match="status 502") as caught:
        await client(lambda request: httpx.Response(502, content=body)).erase("ana")
    assert caught.value.status == 502


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"{}", b"[1]"])
async def test_a_reply_of_another_shape_is_said_to_be_so(body: bytes) -> None:
    with pytest.raises(ApiError, match="is it a pr2 server"):
        await client(lambda request: httpx.Response(200, content=body)).search("ana", ["x"], 3)


async def test_no_server_is_said_with_its_address() -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ApiError, match="cannot reach the server at http://pr2: refused") as caught:
        await client(reply).document("ana", "d")
    assert caught.value.status is None


@pytest.mark.parametrize("url", ["localhost:8000", "", "http://[::"])
async def test_an_address_that_is_none_is_said_so(url: str) -> None:
    async with AsyncClient(url) as pr2:
        with pytest.raises(ApiError, match="is not the address of a server"):
            await pr2.document("ana", "d")


async def test_documents_are_sent_in_lines_and_counted() -> None:
    sent: list[bytes] = []
    counts: list[int] = []

    async def reply(request: httpx.Request) -> httpx.Response:
        sent.append(await request.aread())
        return httpx.Response(
            200, json={"put": 3, "duplicates": ["2"], "skipped": [{"line": 2, "error": "odd"}]}
        )

    documents = [Document(id=str(i), text="a\u2028b\n" * 9_000) for i in range(3)]
    pr2 = AsyncClient("http://pr2", transport=httpx.MockTransport(reply))
    faulty: list[Document | InvalidDocument] = [documents[0], InvalidDocument("no text", 2), *documents[1:]]
    report = await pr2.put("ana", faulty, on_error="skip", progress=counts.append)
    assert [parse_document(json.loads(line)) for line in sent[0].splitlines()] == documents
    assert sum(counts) == 3
    assert (report.put, report.duplicates) == (3, ["2"])
    assert [str(fault) for fault in report.skipped] == ["no text", "odd"]


async def test_an_upload_breaks_off_at_what_is_no_document() -> None:
    async def reply(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return pytest.fail("the upload was completed")

    pr2 = AsyncClient("http://pr2", transport=httpx.MockTransport(reply))
    faulty: list[Document | InvalidDocument] = [Document(id="1", text="a"), InvalidDocument("no text", 2)]
    with pytest.raises(InvalidDocument, match="no text"):
        await pr2.put("ana", faulty)


Scripted = httpx.Response | Exception


@dataclass
class Server:
    """Gives one reply after the other, the last one again and again; keeps what came and what was waited."""

    replies: Sequence[Scripted]

    def __post_init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []

    def client(self, **options: Any) -> AsyncClient:
        return AsyncClient("http://pr2", transport=self, sleep=self.sleep, **options)  # type: ignore[arg-type]

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def aclose(self) -> None:
        """Holds nothing."""


def problem(status: int, kind: str = "busy", **headers: str) -> httpx.Response:
    body = {"type": f"urn:pr2:problem:{kind}", "title": "No", "detail": f"says the {kind}", "status": status}
    return httpx.Response(status, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def answered() -> httpx.Response:
    return httpx.Response(200, json=RECORD)


async def test_an_answer_is_asked_for_and_comes_as_a_record() -> None:
    server = Server([answered()])
    record = await server.client().ask(
        "ana", "why?", method="rag", retriever="bm25", limits={"top_k": 2}, compare=True
    )
    assert (record.id, record.user, record.trajectory.question) == ("r1", "ana", "why?")
    assert record.without_profile is None
    assert (server.requests[0].method, server.requests[0].url.path) == ("POST", "/v1/users/ana/answers")
    assert json.loads(server.requests[0].content) == {
        "question": "why?",
        "method": "rag",
        "retriever": "bm25",
        "limits": {"top_k": 2},
        "compare": True,
    }
    assert server.requests[0].extensions["timeout"]["read"] > 600


async def test_a_stored_answer_comes_with_its_comparison() -> None:
    other = {"answer": None, "trajectory": RECORD["trajectory"]}
    server = Server([httpx.Response(200, json=RECORD | {"without_profile": other})])
    record = await server.client().stored_answer("ana", "r1")
    assert (server.requests[0].method, server.requests[0].url.path) == ("GET", "/v1/users/ana/answers/r1")
    assert record.without_profile == record.trajectory


async def test_steps_are_asked_for_with_a_method_and_a_comparison() -> None:
    server = Server([httpx.Response(200, content=event("done", RECORD))])
    [record] = [item async for item in server.client().answer("ana", "why?", method="none", compare=True)]
    assert isinstance(record, AnswerRecord)
    asked = {"question": "why?", "method": "none", "compare": True, "stream": True}
    assert json.loads(server.requests[0].content) == asked


async def test_an_answer_that_failed_says_where_it_is_stored() -> None:
    failed = {"title": "t", "detail": "the engine is gone", "status": 502, "answer_id": "r7"}
    with pytest.raises(ApiError, match="the engine is gone") as caught:
        await Server([httpx.Response(502, json=failed)]).client().ask("ana", "why?")
    assert (caught.value.status, caught.value.answer_id) == (502, "r7")


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"<html>", json.dumps(RECORD | {"trajectory": None}).encode(), b'{"id": "r1"}']
)
async def test_an_answer_of_another_shape_is_not_understood(body: bytes) -> None:
    for ask in ("ask", "stored_answer"):
        with pytest.raises(ApiError, match="not understood"):
            await getattr(Server([httpx.Response(200, content=body)]).client(), ask)("ana", "r1")


@pytest.mark.parametrize(
    ("refusal", "shortest", "longest"),
    [
        (problem(429, retry_after="7"), 7, 7),
        (problem(503, "store-unavailable", retry_after="5"), 5, 5),
        (problem(429, retry_after="100000"), 60, 60),
        (problem(429, retry_after="0"), 0.25, 0.5),
        (problem(503, "store-unavailable"), 0.25, 0.5),
        (problem(429, retry_after="Fri, 31 Dec 1999 23:59:59 GMT"), 0.25, 0.5),
        (problem(429, retry_after="-3"), 0.25, 0.5),
        (httpx.Response(503, content=b"<html>starting</html>"), 0.25, 0.5),
        (httpx.ConnectError("refused"), 0.25, 0.5),
        (httpx.ConnectTimeout("too slow"), 0.25, 0.5),
    ],
)
async def test_what_was_refused_for_now_is_sent_again(
    refusal: Scripted, shortest: float, longest: float
) -> None:
    server = Server([refusal, answered()])
    assert (await server.client().ask("ana", "why?", limits={"top_k": 2})).id == "r1"
    [wait] = server.waits
    assert shortest <= wait <= longest
    first, second = server.requests
    assert first.content == second.content
    assert first.url == second.url


async def test_every_request_but_an_upload_is_sent_again() -> None:
    pr2: AsyncClient

    async def every_document() -> None:
        async for _ in pr2.documents("ana"):
            pass

    good: dict[str, tuple[Any, httpx.Response]] = {
        "document": (lambda: pr2.document("ana", "d"), httpx.Response(200, json=ANA[0])),
        "documents": (every_document, httpx.Response(200, content=b"")),
        "delete": (lambda: pr2.delete_document("ana", "d"), httpx.Response(204)),
        "search": (lambda: pr2.search("ana", ["x"], 3), httpx.Response(200, json={"results": [[]]})),
        "stored": (lambda: pr2.stored_answer("ana", "r1"), answered()),
        "answer": (lambda: steps(pr2), httpx.Response(200, content=event("done", RECORD))),
    }
    for name, (call, reply) in good.items():
        server = Server([problem(503), httpx.ConnectError("refused"), problem(429), reply])
        pr2 = server.client()
        await call()
        assert (len(server.requests), len(server.waits)) == (4, 3), name


async def test_the_time_between_attempts_doubles() -> None:
    server = Server([problem(503)] * 7 + [answered()])
    await server.client(retries=7).ask("ana", "why?")
    longest = [0.5, 1, 2, 4, 8, 8, 8]
    assert all(most / 2 <= wait <= most for wait, most in zip(server.waits, longest, strict=True))


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize(
    ("refusal", "status", "words"),
    [
        (problem(429), 429, "says the busy"),
        (problem(503, "store-unavailable"), 503, "says the store-unavailable"),
        (httpx.Response(503, content=b"<html>"), 503, "the server answered with status 503"),
        (httpx.ConnectError("refused"), None, "cannot reach the server at http://pr2: refused"),
    ],
)
async def test_at_last_it_is_an_error(
    refusal: Scripted, status: int | None, words: str, retries: int
) -> None:
    for ask in (lambda pr2: pr2.ask("ana", "why?"), steps):
        server = Server([refusal])
        with pytest.raises(ApiError, match=words) as caught:
            await ask(server.client(retries=retries))
        assert caught.value.status == status
        assert (len(server.requests), len(server.waits)) == (retries + 1, retries)


@pytest.mark.parametrize(
    "refusal",
    [
        *(problem(status, retry_after="1") for status in (400, 404, 422, 500, 502, 504)),
        httpx.ReadError("cut off"),
        httpx.ReadTimeout("silent"),
        httpx.RemoteProtocolError("no HTTP"),
    ],
    ids=str,
)
async def test_what_may_have_had_an_effect_or_will_not_change_is_not_sent_again(refusal: Scripted) -> None:
    for ask in (lambda pr2: pr2.ask("ana", "why?"), steps):
        server = Server([refusal])
        with pytest.raises(ApiError):
            await ask(server.client())
        assert (len(server.requests), server.waits) == (1, [])


@pytest.mark.parametrize(
    "refusal", [problem(429, retry_after="1"), problem(503), httpx.ConnectError("no")], ids=str
)
async def test_an_upload_is_not_sent_again(refusal: Scripted) -> None:
    server = Server([refusal])
    with pytest.raises(ApiError):
        await server.client().put("ana", iter([Document(id="1", text="a")]))
    assert (len(server.requests), server.waits) == (1, [])


@pytest.mark.parametrize("end", [None, httpx.ReadError("cut off"), httpx.ReadTimeout("silent")], ids=str)
async def test_an_answer_that_broke_off_in_the_middle_is_not_asked_for_again(end: Exception | None) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield event("thought", {"text": "Hm"})
        if end:
            raise end

    server = Server([httpx.Response(200, content=body())])
    answer = server.client().answer("ana", "why?")
    assert await anext(answer) == Thought("Hm")
    with pytest.raises(ApiError, match="cannot reach" if end else "ended before the answer was complete"):
        await anext(answer)
    assert (len(server.requests), server.waits) == (1, [])


async def test_a_reply_is_let_go_of_before_the_next_attempt() -> None:
    class Body(httpx.AsyncByteStream):
        closed = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"busy"

        async def aclose(self) -> None:
            self.closed = True

    body = Body()
    server = Server([httpx.Response(429, stream=body), answered()])
    closed: list[bool] = []

    async def sleep(seconds: float) -> None:
        closed.append(body.closed)

    server.sleep = sleep  # type: ignore[method-assign]
    await server.client().ask("ana", "why?")
    assert closed == [True]


LONG = "Tell me more?"


class Talkative(ScriptedPolicy):
    """Ends only where it was not asked for more."""

    def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        if episode.question != LONG:
            return super().generate(episode, max_tokens)
        return self.long.generate(episode, max_tokens)

    long = ScriptedPolicy([["<think>Well.</think>", *["more "] * 10_000]], delay_s=0.01)


@pytest.fixture(scope="module")
def live(
    tmp_path_factory: pytest.TempPathFactory, minilm: SentenceTransformerEncoder
) -> Iterator[tuple[Service, str]]:
    """One server for all that follows. Ana is there; every test brings its own people besides."""
    settings = Settings(data=tmp_path_factory.mktemp("live"))
    profiles = Profiles(Store(settings.url, minilm.manifest), minilm)
    profiles.put("ana", [parse_document(item) for item in ANA])
    service = Service(profiles, Talkative([THINK_SEARCH, THINK_ANSWER]), settings)
    with serving(create_app(settings, service)) as url:
        yield service, url
    asyncio.run(service.aclose())


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def stopped(service: Service) -> bool:
    """Whether the long answer was cancelled, and nothing is left of it."""
    return Talkative.long.cancelled == [LONG] and service.queue.running == 0


@pytest.fixture(autouse=True)
def nothing_cancelled() -> None:
    Talkative.long.cancelled.clear()


def test_everything_works_without_an_event_loop(live: tuple[Service, str]) -> None:
    documents = [Document(id=str(n), text=f"Note {n} about pears.") for n in range(3)]
    counts: list[int] = []
    with Client(live[1]) as pr2:
        report = pr2.put("cleo", iter(documents), progress=counts.append)
        assert (report.put, sum(counts)) == (3, 3)
        assert list(pr2.documents("cleo")) == documents
        assert pr2.document("cleo", "1") == documents[1]
        [found] = pr2.search("cleo", ["pears"], 2, "bm25")
        assert len(found) == 2
        record = pr2.ask("cleo", "What do I like?", method="rag", limits={"top_k": 1})
        assert record.trajectory.finish_reason == "max_searches"
        assert (record.method, record.trajectory.limits.top_k) == ("rag", 1)
        *events, streamed = pr2.answer("cleo", "What do I like?", compare=True)
        assert isinstance(streamed, AnswerRecord)
        assert [event for event in events if not isinstance(event, AnswerDelta)] == list(
            streamed.trajectory.steps
        )
        assert isinstance(events[-1], Answer)
        assert streamed.without_profile
        for given in (record, streamed):
            assert pr2.stored_answer("cleo", given.id) == given
        pr2.delete_document("cleo", "1")
        receipt = pr2.erase("cleo")
        assert (receipt.documents, receipt.answers) == (2, 2)
        with pytest.raises(ApiError, match="cleo") as caught:
            pr2.document("cleo", "2")
        assert (caught.value.status, caught.value.type) == (404, "urn:pr2:problem:unknown-user")


def test_closing_the_iterator_cancels_the_answer(live: tuple[Service, str]) -> None:
    service, url = live
    with Client(url) as pr2:
        events = pr2.answer("ana", LONG)
        assert isinstance(next(events), Thought)
        assert service.queue.running == 1
        events.close()  # type: ignore[attr-defined]
        assert soon(lambda: stopped(service))
        with pytest.raises(StopIteration):
            next(events)
        assert pr2.document("ana", "a1").id == "a1"


def test_leaving_the_loop_cancels_the_answer(live: tuple[Service, str]) -> None:
    with Client(live[1]) as pr2:
        for event in pr2.answer("ana", LONG, compare=True):
            assert isinstance(event, Thought)
            break
        assert soon(lambda: Talkative.long.cancelled == [LONG, LONG])
        assert soon(lambda: live[0].queue.running == 0)


def test_an_iterator_that_was_never_asked_sends_nothing(live: tuple[Service, str]) -> None:
    with Client(live[1]) as pr2:
        pr2.answer("ana", LONG)
        pr2.documents("nobody")
        gc.collect()
    assert not Talkative.long.cancelled


def test_closing_the_client_cancels_what_is_being_read(live: tuple[Service, str]) -> None:
    service, url = live
    pr2 = Client(url)
    events = pr2.answer("ana", LONG)
    next(events)
    pr2.close()
    assert soon(lambda: stopped(service))
    del events
    gc.collect()


def test_closing_the_client_ends_what_another_thread_is_reading(live: tuple[Service, str]) -> None:
    service, url = live
    pr2 = Client(url)
    with ThreadPoolExecutor(2) as threads:
        both: list[Callable[[], Any]] = [
            lambda: list(pr2.answer("ana", LONG)),
            lambda: pr2.ask("ana", LONG),
        ]
        reading = [threads.submit(ask) for ask in both]
        assert soon(lambda: service.queue.running == 2)
        pr2.close()
        for result in reading:
            assert isinstance(result.exception(timeout=5), ApiError)
    assert soon(lambda: Talkative.long.cancelled == [LONG, LONG] and service.queue.running == 0)


def test_several_threads_share_one_client(live: tuple[Service, str]) -> None:
    together = threading.Barrier(8, timeout=10)

    def ask(number: int) -> tuple[str, str, str]:
        together.wait()
        question = f"Question {number}?"
        record = pr2.ask("ana", question)
        *_, last = pr2.answer("ana", question)
        assert isinstance(last, AnswerRecord)
        return record.trajectory.question, last.trajectory.question, pr2.document("ana", "a1").id

    with Client(live[1]) as pr2, ThreadPoolExecutor(8) as threads:
        given = list(threads.map(ask, range(8)))
    assert given == [(f"Question {n}?", f"Question {n}?", "a1") for n in range(8)]


def test_errors_come_through(live: tuple[Service, str]) -> None:
    with Client(live[1]) as pr2:
        calls: dict[int, list[Callable[[], Any]]] = {
            404: [
                lambda: pr2.ask("nobody", "Why?"),
                lambda: next(pr2.answer("nobody", "Why?")),
                lambda: list(pr2.documents("nobody")),
                lambda: pr2.stored_answer("ana", "other"),
                lambda: pr2.erase("nobody"),
            ],
            422: [
                lambda: pr2.ask("ana", "Why?", method="magic"),
                lambda: next(pr2.answer("ana", "Why?", method="magic")),
                lambda: pr2.search("ana", ["x"], 0),
            ],
        }
        for status, some in calls.items():
            for call in some:
                with pytest.raises(ApiError) as caught:
                    call()
                assert caught.value.status == status
        for name in ("..", "a/b", ""):
            with pytest.raises(InvalidName):
                pr2.ask(name, "Why?")
        with pytest.raises(InvalidDocument, match="no text"):
            pr2.put("ana", [InvalidDocument("no text", 2)])

        def unreadable() -> Iterator[Document]:
            yield Document(id="x", text="x")
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            pr2.put("ana", unreadable())
        with pytest.raises(ApiError):
            pr2.document("ana", "x")


def test_a_client_without_a_server_says_so() -> None:
    with Client("http://127.0.0.1:9", retries=0) as pr2, pytest.raises(ApiError, match="cannot reach"):
        pr2.ask("ana", "Why?")


def test_a_client_is_closed_without_with_and_more_than_once(live: tuple[Service, str]) -> None:
    before = threading.active_count()
    pr2 = Client(f"{live[1]}/")
    assert pr2.url == live[1]
    assert pr2.document("ana", "a1").id == "a1"
    pr2.close()
    pr2.close()
    with pr2:
        pass
    assert soon(lambda: threading.active_count() <= before)
    for call in (lambda: pr2.document("ana", "a1"), lambda: next(pr2.answer("ana", "Why?"))):
        with pytest.raises(RuntimeError):
            call()
    gc.collect()
