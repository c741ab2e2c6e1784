"""The client against scripted replies: its requests, and its handling of good and broken replies."""

import json

import httpx
import pytest

from agent.trajectory import AnswerDelta, Search, Thought
from index.documents import Document, parse_document
from index.errors import InvalidDocument, InvalidName
from server.client import ApiError, AsyncClient
from tests.server.client.replies import RECORD, client, event, steps, stream


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


@pytest.mark.parametrize("name", ["..", "a\nb", ""])
async def test_a_name_that_breaks_the_rule_is_never_sent(name: str) -> None:
    silent = client(lambda request: pytest.fail(f"sent {request.url}"))
    for user, document_id in ((name, "d"), ("ana", name)):
        with pytest.raises(InvalidName):
            await silent.document(user, document_id)
        with pytest.raises(InvalidName):
            await silent.delete_document(user, document_id)


async def test_a_document_is_named_where_no_proxy_decodes_it() -> None:
    seen: list[bytes] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request.method.encode() + b" " + request.url.raw_path)
        return httpx.Response(200, json={"id": "<a+b/c@d>", "text": "x"})

    assert (await client(reply).document("a/b", "<a+b/c@d>")).id == "<a+b/c@d>"
    await client(reply).delete_document("ana", "a&b=c/%2F")
    assert seen == [
        b"GET /v1/users/a%2Fb/documents?id=%3Ca%2Bb%2Fc%40d%3E",
        b"DELETE /v1/users/ana/documents?id=a%26b%3Dc%2F%252F",
    ]


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
async def test_an_invalid_url_is_named(url: str) -> None:
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


async def test_the_token_is_sent_with_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str | None] = []

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("authorization"))
        return httpx.Response(200, json={"id": "d", "text": "a"})

    async def ask(token: str | None = None) -> None:
        async with AsyncClient("http://pr2", transport=httpx.MockTransport(reply), token=token) as pr2:
            await pr2.document("ana", "d")

    monkeypatch.delenv("PR2_TOKEN", raising=False)
    await ask()
    await ask("mine")
    monkeypatch.setenv("PR2_TOKEN", "environment's")
    await ask()
    await ask("mine")
    await ask("")
    assert sent == [None, "Bearer mine", "Bearer environment's", "Bearer mine", None]


@pytest.mark.parametrize("token", ["é", "two\nlines"])
async def test_a_token_that_a_header_cannot_carry_is_named(token: str) -> None:
    with pytest.raises(ApiError, match="the token"):
        AsyncClient("http://pr2", token=token)


async def test_past_questions_are_read_page_by_page() -> None:
    one = {"id": "r1", "created_at": "t", "question": "q", "method": "pr2", "finish_reason": "answered"}
    pages = [
        httpx.Response(200, json={"answers": [one | {"answer": "a", "later": 1}], "next_cursor": "2.5-r1"}),
        httpx.Response(200, json={"answers": [one | {"id": "r0", "answer": None}], "next_cursor": None}),
    ]
    seen: list[httpx.URL] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return pages[len(seen) - 1]

    found = [
        summary
        async for summary in AsyncClient("http://x", transport=httpx.MockTransport(reply)).answers("ana")
    ]
    assert [(summary.id, summary.answer) for summary in found] == [("r1", "a"), ("r0", None)]
    assert [dict(url.params) for url in seen] == [{}, {"cursor": "2.5-r1"}]


@pytest.mark.parametrize("body", [{}, {"answers": [{}], "next_cursor": None}, {"answers": []}])
async def test_a_page_of_another_shape_is_not_understood(body: object) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=body))
    with pytest.raises(ApiError, match="not understood"):
        _ = [summary async for summary in AsyncClient("http://x", transport=transport).answers("ana")]
