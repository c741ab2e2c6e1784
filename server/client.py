"""Talks to a pr2 server over HTTP, with the same typed values that the service itself gives.

Whatever goes wrong on the way is one exception, ApiError, that says it in words.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, Self
from urllib.parse import quote

import httpx

from agent.driver import Event
from agent.sse import EventDecoder
from agent.trajectory import AnswerDelta, Trajectory
from index.documents import Document, Passage, check_name, parse_document
from index.embedding import Progress
from index.errors import InvalidDocument
from index.profiles import PutReport
from index.store import Receipt
from server.service import AnswerRecord

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
"""A stream is never silent for so long: the server sends a comment every 10 s."""
_UPLOAD = httpx.Timeout(None, connect=5.0)
"""The reply to an upload comes when everything is encoded and stored."""
_CHUNK = 2**16


class ApiError(Exception):
    """A request that failed: the problem document's `detail`, or why no server could be reached.

    `status` is None when there was no reply, or none that is understood.
    """

    def __init__(
        self, detail: str, *, status: int | None = None, kind: str = "about:blank", line: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.type = kind
        self.line = line


class AsyncClient:
    """One pr2 server. Use it as an async context manager.

    Every method raises ApiError, and InvalidName before anything is sent.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(transport=transport, timeout=_TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def put(
        self,
        user: str,
        documents: Iterable[Document | InvalidDocument],
        *,
        on_error: str = "fail",
        progress: Progress | None = None,
    ) -> PutReport:
        """Insert or replace documents: all of them or, when this raises, none.

        They are sent as they are read. What is no document never leaves: it raises InvalidDocument or,
        with `on_error="skip"`, is reported. `progress` is told how many more documents are sent.
        """
        skipped: list[InvalidDocument] = []

        async def body() -> AsyncIterator[bytes]:
            chunk, count = bytearray(), 0
            for document in documents:
                if isinstance(document, InvalidDocument):
                    if on_error != "skip":
                        raise document
                    skipped.append(document)
                    continue
                chunk += json.dumps(document.to_dict()).encode() + b"\n"
                count += 1
                if len(chunk) >= _CHUNK:
                    yield bytes(chunk)
                    if progress:
                        progress(count)
                    chunk.clear()
                    count = 0
            yield bytes(chunk)
            if progress:
                progress(count)

        data = await self._json(
            "PUT",
            f"{_user(user)}/documents",
            params={"on_error": on_error},
            headers={"content-type": "application/x-ndjson"},
            content=body(),
            timeout=_UPLOAD,
        )
        with _understood():
            refused = [InvalidDocument(item["error"], item["line"]) for item in data["skipped"]]
            return PutReport(data["put"], list(data["duplicates"]), skipped + refused)

    async def documents(self, user: str) -> AsyncGenerator[Document, None]:
        """All documents, in the order in which they were first put."""
        async with self._stream("GET", f"{_user(user)}/export") as response:
            async for line in _lines(response):
                if line:
                    with _understood():
                        document = parse_document(json.loads(line))
                    yield document

    async def document(self, user: str, document_id: str) -> Document:
        data = await self._json("GET", f"{_user(user)}/documents/{_segment(document_id)}")
        with _understood():
            return parse_document(data)

    async def delete_document(self, user: str, document_id: str) -> None:
        async with self._stream("DELETE", f"{_user(user)}/documents/{_segment(document_id)}"):
            pass

    async def erase(self, user: str) -> Receipt:
        """Delete everything of a person."""
        data = await self._json("DELETE", _user(user))
        with _understood():
            return Receipt(**data)

    async def search(
        self, user: str, queries: Sequence[str], k: int, retriever: str | None = None
    ) -> list[list[Passage]]:
        """The best documents for each query, best first. Without a retriever, by the server's own."""
        asked = {"queries": list(queries), "k": k} | ({"retriever": retriever} if retriever else {})
        data = await self._json("POST", f"{_user(user)}/search", json=asked)
        with _understood():
            return [[Passage(**passage) for passage in found] for found in data["results"]]

    async def answer(
        self,
        user: str,
        question: str,
        *,
        retriever: str | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> AsyncGenerator[Event | AnswerRecord, None]:
        """The steps as they happen, and at last the record. What is not set is left to the server."""
        asked: dict[str, Any] = {"question": question, "stream": True}
        asked |= {"retriever": retriever} if retriever else {}
        asked |= {"limits": dict(limits)} if limits else {}
        problem = ApiError("the connection ended before the answer was complete")
        async with (
            self._stream("POST", f"{_user(user)}/answers", json=asked) as response,
            aclosing(_events(response)) as events,
        ):
            async for name, text in events:
                with _understood():
                    data = json.loads(text)
                    event: Event | AnswerRecord | None = None
                    if name == "error":
                        problem = _problem(data, None)
                    elif name != "done":
                        event = _step(name, data)
                    elif data["finish_reason"]:
                        event = _record(data)
                if event is not None:
                    yield event
                if isinstance(event, AnswerRecord):
                    return
        raise problem

    async def _json(self, method: str, path: str, **request: Any) -> Any:
        async with self._stream(method, path, **request) as response:
            body = await response.aread()
        with _understood():
            return json.loads(body)

    @asynccontextmanager
    async def _stream(self, method: str, path: str, **request: Any) -> AsyncIterator[httpx.Response]:
        try:
            async with self._http.stream(method, f"{self.url}/v1/{path}", **request) as response:
                if response.status_code >= 300:
                    raise _refusal(response.status_code, await response.aread())
                yield response
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise ApiError(
                f"{self.url!r} is not the address of a server: it begins with http:// or https://"
            ) from None
        except httpx.RequestError as error:
            why = str(error) or type(error).__name__
            raise ApiError(f"cannot reach the server at {self.url}: {why}") from error


def _user(user: str) -> str:
    return f"users/{_segment(user)}"


def _segment(name: str) -> str:
    # Checked here, too, because `..` would be resolved before it is sent.
    return quote(check_name(name), safe="")


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Lines that end in a line feed. httpx's own would also break at the other separators of Unicode."""
    rest = b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
    if rest:
        yield rest


async def _events(response: httpx.Response) -> AsyncGenerator[tuple[str, str], None]:
    """Server-sent events, as (name, data). An event that the connection cut off is left out."""
    # A record holds all that was read, so it may be as long as that.
    decoder = EventDecoder(limit=None)
    async for piece in response.aiter_bytes():
        with _understood():
            events = decoder.decode_named(piece)
        for event in events:
            yield event


def _step(name: str, data: Mapping[str, Any]) -> Event:
    if name == "answer.delta":
        return AnswerDelta(data["text"])
    one = {"question": "", "limits": {}, "segments": [], "steps": [{"kind": name, **data}]}
    return Trajectory.from_dict(one).steps[0]


def _record(data: Mapping[str, Any]) -> AnswerRecord:
    return AnswerRecord(
        id=data["id"],
        user=data["user"],
        created_at=data["created_at"],
        method=data["method"],
        retriever=data["retriever"],
        trajectory=Trajectory.from_dict(data["trajectory"]),
    )


def _problem(data: Any, status: int | None) -> ApiError:
    return ApiError(
        data.get("detail") or data["title"],
        status=data.get("status", status),
        kind=data.get("type", "about:blank"),
        line=data.get("line"),
    )


def _refusal(status: int, body: bytes) -> ApiError:
    try:
        return _problem(json.loads(body), status)
    except (ValueError, KeyError, AttributeError):
        return ApiError(f"the server answered with status {status}", status=status)


@contextmanager
def _understood() -> Iterator[None]:
    """A reply of another shape than ours is the other side's fault, and is said so."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ApiError(
            f"the server's reply is not understood ({type(error).__name__}: {error}); is it a pr2 server?"
        ) from error
