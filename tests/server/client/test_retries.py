"""Which requests the client sends again, when, and how often."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from agent.trajectory import Thought
from index.documents import Document
from server.answers import AnswerRecord
from server.client import ApiError, AsyncClient
from tests.server.client.replies import RECORD, event, steps
from tests.server.live import ANA

Scripted = httpx.Response | Exception


@dataclass
class Server:
    """Gives the replies in turn, repeating the last; records requests and waits."""

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
