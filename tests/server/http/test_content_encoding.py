"""Compressed bodies: decoded whatever their pieces, refused when they are not what they say, never large."""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncGenerator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from server.http.content_encoding import PIECE, ContentEncoding
from tests.server.conftest import MakeService
from tests.server.live import ANA, Api, api_of

Encode = Callable[[bytes], bytes]


def raw_deflate(data: bytes, level: int = -1) -> bytes:
    """Without zlib's header and checksum, as some clients send it."""
    compressor = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


ENCODERS: list[tuple[str, Encode]] = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("deflate", lambda data: raw_deflate(data, level=0)),
]
NDJSON = {"content-type": "application/x-ndjson"}


class Sink:
    """Reads the whole body and keeps what it got."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.headers: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.headers = dict(request.headers)
        self.pieces = [piece async for piece in request.stream()]
        await PlainTextResponse("ok")(scope, receive, send)


def refuse(scope: Scope, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(error.detail, error.status_code, error.headers)


async def sent(pieces: list[bytes], encoding: str) -> tuple[Sink, list[Message]]:
    app, replies = Sink(), []
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        replies.append(message)

    encodings = [(b"content-encoding", line.encode()) for line in encoding.split("\n")]
    headers = [*encodings, (b"content-length", b"7"), (b"x-more", b"1")]
    scope: Scope = {"type": "http", "method": "PUT", "path": "/", "headers": headers}
    await ContentEncoding(app, refuse)(scope, receive, send)
    return app, replies


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


bodies = st.binary(max_size=2_000) | st.builds(bytes.__mul__, st.binary(max_size=40), st.integers(0, 20_000))


@given(st.sampled_from(ENCODERS), bodies, st.lists(st.integers(0, 2**20), max_size=5))
async def test_a_body_is_decoded_wherever_it_is_split(
    encoder: tuple[str, Encode], body: bytes, cuts: list[int]
) -> None:
    encoding, encode = encoder
    app, _ = await sent(split(encode(body), cuts), encoding)
    assert b"".join(app.pieces) == body
    assert max(map(len, app.pieces)) <= PIECE
    # Whatever reads them would take the encoded length for that of the body.
    assert app.headers == {"x-more": "1"}


@given(st.lists(bodies, min_size=1, max_size=3), st.lists(st.integers(0, 2**20), max_size=5))
async def test_a_body_may_have_several_members(members: list[bytes], cuts: list[int]) -> None:
    app, _ = await sent(split(b"".join(map(gzip.compress, members)), cuts), "GZip ")
    assert b"".join(app.pieces) == b"".join(members)


@given(st.sampled_from(ENCODERS), st.binary(max_size=300), st.data())
async def test_a_body_that_ends_early_or_is_something_else_is_a_400(
    encoder: tuple[str, Encode], body: bytes, data: st.DataObject
) -> None:
    encoding, encode = encoder
    whole = encode(body)
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    # Anything may happen to be deflate without a header, but nothing else has a gzip file's first bytes.
    for bad in (cut, whole + b"{}", *([b"{" + whole] if encoding == "gzip" else [])):
        with pytest.raises(HTTPException, match=f"the body is not {encoding}: ") as caught:
            await sent([bad], encoding)
        assert caught.value.status_code == 400


async def test_behind_the_body_comes_that_the_client_has_left() -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not seen or seen[-1]["type"] == "http.request":
            seen.append(await receive())

    messages: list[Message] = [
        {"type": "http.request", "body": gzip.compress(b"a" * PIECE + b"b"), "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"content-encoding", b"gzip")],
    }
    await ContentEncoding(app, refuse)(scope, receive, send)
    assert [message.get("body") for message in seen] == [b"a" * PIECE, b"b", None]


async def test_no_body_is_no_fault() -> None:
    app, _ = await sent([b""], "gzip")
    assert b"".join(app.pieces) == b""


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "gzip, gzip", "gzip\ngzip", "gzip\nbr", "compress", "x" * 1_000]
)
async def test_an_unknown_encoding_is_refused_with_the_known_ones(encoding: str) -> None:
    app, replies = await sent([b"..."], encoding)
    assert (replies[0]["status"], dict(replies[0]["headers"])[b"accept-encoding"]) == (415, b"gzip, deflate")
    assert app.headers == {}


@pytest.mark.parametrize(("encoding", "compress"), ENCODERS)
async def test_documents_and_questions_may_be_compressed(api: Api, encoding: str, compress: Encode) -> None:
    headers = {"content-encoding": encoding}
    lines = b"".join(json.dumps(document).encode() + b"\n" for document in ANA)
    url = "/v1/users/ana/documents"
    response = await api.client.put(url, content=compress(lines), headers=headers | NDJSON)
    assert (response.status_code, response.json()["put"]) == (200, 3), response.text
    body, headers = (
        json.dumps({"queries": ["ripe pears"], "k": 1}).encode(),
        headers | {"content-type": "application/json"},
    )
    response = await api.client.post("/v1/users/ana/search", content=compress(body), headers=headers)
    assert response.json()["results"][0][0]["document_id"] == "a1"
    # An answer waits for the client to leave while it is written.
    body = json.dumps({"question": "Which fruit do I like?"}).encode()
    async with asyncio.timeout(30):
        response = await api.client.post("/v1/users/ana/answers", content=compress(body), headers=headers)
    assert response.json()["finish_reason"] == "answered"


PATHS = ["/v1/users/ana/search", "/v1/chat/completions", "/mcp"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", b"{}", 400),
        ("gzip", gzip.compress(b"{}")[:-1], 400),
        ("br", b"{}", 415),
        ("gzip", gzip.compress(b" " * 5 * 2**20), 413),
    ],
    ids=["no gzip", "cut off", "unknown encoding", "bomb"],
)
async def test_what_cannot_be_decoded_is_a_typed_refusal(
    make_service: MakeService, path: str, encoding: str, body: bytes, status: int
) -> None:
    headers = {
        "content-encoding": encoding,
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
    }
    async with api_of(make_service()) as api, api.app.router.lifespan_context(api.app):
        response = await api.client.post(path, content=body, headers=headers)
    # OpenAI has no 415.
    assert response.status_code == (400 if (path, status) == (PATHS[1], 415) else status), response.text
    assert ("error" if path == PATHS[1] else "type") in response.json()
    if status == 415:
        assert response.headers["accept-encoding"] == "gzip, deflate"


async def test_a_bomb_is_refused_in_constant_memory(api: Api) -> None:
    """A kilobyte for a megabyte, 64 times the limit of this server."""
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(b" " * 2**20) for _ in range(128)) + packer.flush()
    assert len(bomb) < 2**18
    tracemalloc.start()
    response = await api.client.put(
        "/v1/users/ana/documents", content=once(bomb), headers=NDJSON | {"content-encoding": "gzip"}
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (response.status_code, response.json()["type"]) == (413, "urn:pr2:problem:body-too-large")
    assert peak < 16 * 2**20


async def once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
