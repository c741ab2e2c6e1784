"""Talks to a pr2 server over HTTP, with the same typed values that the service itself gives.

    with Client("http://127.0.0.1:8000") as client:
        client.put("ana", [Document(id="n1", text="Went back to green tea.")])
        print(client.ask("ana", "What should I drink?").trajectory.answer)

Whatever goes wrong on the way is one exception, ApiError, that says it in words.
"""

import asyncio
import itertools
import json
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from agent.driver import Event
from agent.engines.retry import wait_s
from agent.engines.sse import EventDecoder
from agent.trajectory import AnswerDelta, Trajectory
from index.documents import Document, Passage, check_name, parse_document
from index.encoding.embedding import Progress
from index.errors import InvalidDocument
from index.profiles import PutReport
from index.storage.store import Receipt
from server.service import AnswerRecord

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
"""A stream is never silent for so long: the server sends a comment every 10 s."""
_ANSWER = httpx.Timeout(660.0, connect=5.0)
"""Longer than any deadline that a question can have."""
_UPLOAD = httpx.Timeout(None, connect=5.0)
"""The reply to an upload comes when everything is encoded and stored."""
_CHUNK = 2**16
_BATCH = 256
_WAITS = {"first": 0.5, "longest": 8.0, "longest_asked": 60.0}
_BUSY = frozenset({429, 503})
"""What comes back with these can be sent again: nothing was given that could be given twice."""

T = TypeVar("T")
Item = TypeVar("Item")


class ApiError(Exception):
    """A request that failed: the problem document's `detail`, or why no server could be reached.

    `status` is None when there was no reply, or none that is understood.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        kind: str = "about:blank",
        line: int | None = None,
        answer_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.type = kind
        self.line = line
        self.answer_id = answer_id
        """Under which an answer that failed is stored."""


class AskOptions(TypedDict, total=False):
    """How a question is to be answered. What is left out, or None, is up to the server."""

    method: str | None
    retriever: str | None
    limits: Mapping[str, int] | None
    plan: str | None
    """With the method `planpers`: what the answer is to cover."""
    compare: bool
    """Also answer without the person's history."""


class AsyncClient:
    """One pr2 server. Use it as an async context manager.

    Every method raises ApiError, and InvalidName before anything is sent. While the server cannot be
    reached or says that it is busy, a request is sent up to `retries` times more, after the time that the
    server asks for or with exponential back-off. Uploads are not, since what is read from an iterator
    cannot be read again.
    """

    def __init__(
        self,
        url: str,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._retries = retries
        self._sleep = sleep
        # Who asks many questions at once bounds them: here none waits for another's connection.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._http = httpx.AsyncClient(transport=transport, timeout=_TIMEOUT, limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
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
            async for document in _read(documents):
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
            retries=0,
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
        self, user: str, question: str, **options: Unpack[AskOptions]
    ) -> AsyncGenerator[Event | AnswerRecord, None]:
        """The steps as they happen, and at last the record. What is not set is left to the server.

        With `compare`, the record also holds the answer without the person's history.
        """
        asked = _question(question, options) | {"stream": True}
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

    async def ask(self, user: str, question: str, **options: Unpack[AskOptions]) -> AnswerRecord:
        """The record alone, when all is done; see `answer`."""
        asked = _question(question, options)
        data = await self._json("POST", f"{_user(user)}/answers", json=asked, timeout=_ANSWER)
        with _understood():
            return _record(data)

    async def stored_answer(self, user: str, answer_id: str) -> AnswerRecord:
        """An answer that was given before."""
        data = await self._json("GET", f"{_user(user)}/answers/{_segment(answer_id)}")
        with _understood():
            return _record(data)

    async def _json(self, method: str, path: str, **request: Any) -> Any:
        async with self._stream(method, path, **request) as response:
            body = await response.aread()
        with _understood():
            return json.loads(body)

    @asynccontextmanager
    async def _stream(
        self, method: str, path: str, *, retries: int | None = None, **request: Any
    ) -> AsyncIterator[httpx.Response]:
        retries = self._retries if retries is None else retries
        try:
            for attempt in itertools.count():
                last = attempt >= retries
                try:
                    async with self._http.stream(method, f"{self.url}/v1/{path}", **request) as response:
                        if response.status_code not in _BUSY or last:
                            if response.status_code >= 300:
                                raise _refusal(response.status_code, await response.aread())
                            yield response
                            return
                    asked = response.headers.get("retry-after", "")
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if last:
                        raise
                    asked = ""
                await self._sleep(wait_s(attempt, asked, **_WAITS))
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise ApiError(
                f"{self.url!r} is not the address of a server: it begins with http:// or https://"
            ) from None
        except httpx.RequestError as error:
            why = str(error) or type(error).__name__
            raise ApiError(f"cannot reach the server at {self.url}: {why}") from error


class Client:
    """The same for code without an event loop: every call returns when it is done.

    It runs an AsyncClient in a thread. Use it as a context manager, or `close` it.
    """

    def __init__(self, url: str, retries: int = 3) -> None:
        self.url = url.rstrip("/")
        self._stack = ExitStack()
        self._portal: BlockingPortal = self._stack.enter_context(start_blocking_portal())
        self._client = AsyncClient(url, retries)
        self._followed: set[AsyncGenerator[Any, None]] = set()
        self._stack.callback(self._portal.call, self._aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what is still being read, close the connections, and end the thread."""
        self._stack.close()

    def put(
        self,
        user: str,
        documents: Iterable[Document | InvalidDocument],
        *,
        on_error: str = "fail",
        progress: Progress | None = None,
    ) -> PutReport:
        """See AsyncClient.put. `documents` is read in the client's thread."""
        put = partial(self._client.put, on_error=on_error, progress=progress)
        return self._portal.call(put, user, documents)

    def documents(self, user: str) -> Iterator[Document]:
        """See AsyncClient.documents."""
        return self._each(self._client.documents(user))

    def document(self, user: str, document_id: str) -> Document:
        return self._portal.call(self._client.document, user, document_id)

    def delete_document(self, user: str, document_id: str) -> None:
        self._portal.call(self._client.delete_document, user, document_id)

    def erase(self, user: str) -> Receipt:
        """Delete everything of a person."""
        return self._portal.call(self._client.erase, user)

    def search(
        self, user: str, queries: Sequence[str], k: int, retriever: str | None = None
    ) -> list[list[Passage]]:
        """See AsyncClient.search."""
        return self._portal.call(self._client.search, user, queries, k, retriever)

    def ask(self, user: str, question: str, **options: Unpack[AskOptions]) -> AnswerRecord:
        """See AsyncClient.ask."""
        return self._portal.call(partial(self._client.ask, user, question, **options))

    def answer(
        self, user: str, question: str, **options: Unpack[AskOptions]
    ) -> Iterator[Event | AnswerRecord]:
        """See AsyncClient.answer. Closing the iterator cancels the answer."""
        return self._each(self._client.answer(user, question, **options))

    def stored_answer(self, user: str, answer_id: str) -> AnswerRecord:
        return self._portal.call(self._client.stored_answer, user, answer_id)

    def _each(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        end = object()

        async def following() -> T | object:
            return await anext(items, end)

        self._followed.add(items)
        try:
            while (item := self._portal.call(following)) is not end:
                yield item  # type: ignore[misc]
        finally:
            if items in self._followed:
                self._followed.remove(items)
                self._portal.call(items.aclose)

    async def _aclose(self) -> None:
        while self._followed:
            with suppress(RuntimeError):  # It is being read in another thread, which the end of all ends.
                await self._followed.pop().aclose()
        await self._client.aclose()


async def _read(documents: Iterable[Item]) -> AsyncGenerator[Item, None]:
    """The same, read in a thread: what they come from may be slow, or this very client."""
    items = iter(documents)
    while batch := await asyncio.to_thread(list, itertools.islice(items, _BATCH)):
        for item in batch:
            yield item


def _question(question: str, options: AskOptions) -> dict[str, Any]:
    return {"question": question} | {name: value for name, value in options.items() if value}


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
    other = data.get("without_profile")
    return AnswerRecord(
        id=data["id"],
        user=data["user"],
        created_at=data["created_at"],
        method=data["method"],
        retriever=data["retriever"],
        trajectory=Trajectory.from_dict(data["trajectory"]),
        without_profile=Trajectory.from_dict(other["trajectory"]) if other else None,
    )


def _problem(data: Any, status: int | None) -> ApiError:
    return ApiError(
        data.get("detail") or data["title"],
        status=data.get("status", status),
        kind=data.get("type", "about:blank"),
        line=data.get("line"),
        answer_id=data.get("answer_id"),
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
