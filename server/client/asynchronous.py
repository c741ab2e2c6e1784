"""The client for asyncio; the blocking client wraps it."""

import asyncio
import itertools
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack
from urllib.parse import quote

import httpx

from index.errors import InvalidDocument
from index.retry import wait_s
from index.values import (
    ANY_TIME,
    Passage,
    Period,
    PutItems,
    PutOptions,
    PutReport,
    Receipt,
    Tally,
    check_name,
)
from server.answers import AnswerRecord, AnswerSummary, AskOptions, Feedback, Rating
from server.client import replies
from server.client.errors import ApiError, problem, refusal, understood

if TYPE_CHECKING:
    from agent.driver import Event
    from index.documents import Document

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
"""No stream is silent for so long: the server sends a comment every 10 s."""
_ANSWER = httpx.Timeout(660.0, connect=5.0)
"""Longer than the longest deadline of a question."""
_UPLOAD = httpx.Timeout(None, connect=5.0)
"""The reply to an upload comes once everything is encoded and stored."""
_CHUNK = 2**16
_BATCH = 256
_WAITS = {"first": 0.5, "longest": 8.0, "longest_asked": 60.0}
_BUSY = frozenset({429, 503})
"""Statuses after which a request can be sent again, because it had no effect."""

Item = TypeVar("Item")


class AsyncClient:
    """One pr2 server. Use it as an async context manager.

    Every method raises ApiError, and InvalidName before anything is sent. If the server is busy or cannot be
    reached, a request is retried up to `retries` times, after the server's Retry-After or with exponential
    back-off. Uploads are not retried, because an iterator cannot be read twice.

    `token` is the server's, if it has one; it defaults to the environment's PR2_TOKEN.
    """

    def __init__(
        self,
        url: str,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        token: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._retries = retries
        self._sleep = sleep
        # No limit on connections: the caller bounds how many questions it asks at once.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._http = httpx.AsyncClient(
            transport=transport, timeout=_TIMEOUT, limits=limits, headers=_authorization(token)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def put(self, user: str, documents: PutItems, **options: Unpack[PutOptions]) -> PutReport:
        """Insert or replace documents: all of them or, when this raises, none.

        They are sent as they are read. An invalid document is never sent: it raises InvalidDocument or,
        with `on_error="skip"`, is reported. `progress` gets the number of documents sent since its last call.
        """
        on_error, progress = options.get("on_error", "fail"), options.get("progress")
        skipped: Tally[InvalidDocument] = Tally()

        async def body() -> AsyncIterator[bytes]:
            chunk, count = bytearray(), 0
            async for document in _read(documents):
                if isinstance(document, InvalidDocument):
                    if on_error != "skip":
                        raise document
                    skipped.add(document)
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
            params={"on_error": on_error, "replace": str(options.get("replace", True)).lower()},
            headers={"content-type": "application/x-ndjson"},
            content=body(),
            timeout=_UPLOAD,
            retries=0,
        )
        with understood():
            report = PutReport.from_dict(data)
            skipped.extend(Tally(report.skipped_count, report.skipped))
            return replace(report, skipped=skipped.first, skipped_count=skipped.count)

    async def documents(self, user: str) -> "AsyncGenerator[Document, None]":
        """All documents, in the order in which they were first put."""
        async with self._stream("GET", f"{_user(user)}/export") as response:
            async for line in replies.lines(response):
                if line:
                    with understood():
                        document = replies.document(json.loads(line))
                    yield document

    async def document(self, user: str, document_id: str) -> "Document":
        data = await self._json("GET", f"{_user(user)}/documents", params=_queried(document_id))
        with understood():
            return replies.document(data)

    async def delete_document(self, user: str, document_id: str) -> None:
        async with self._stream("DELETE", f"{_user(user)}/documents", params=_queried(document_id)):
            pass

    async def erase(self, user: str) -> Receipt:
        """Delete everything that is stored for a person."""
        data = await self._json("DELETE", _user(user))
        with understood():
            return Receipt(**data | {"remains": tuple(data.get("remains", ()))})

    async def search(
        self,
        user: str,
        queries: Sequence[str],
        k: int,
        retriever: str | None = None,
        period: Period = ANY_TIME,
    ) -> list[list[Passage]]:
        """The best passages for each query, best first. Defaults to the server's retriever."""
        asked = {"queries": list(queries), "k": k} | ({"retriever": retriever} if retriever else {})
        asked |= period.to_dict()
        data = await self._json("POST", f"{_user(user)}/search", json=asked)
        with understood():
            return [[Passage(**passage) for passage in found] for found in data["results"]]

    async def answer(
        self, user: str, question: str, **options: Unpack[AskOptions]
    ) -> "AsyncGenerator[Event | AnswerRecord, None]":
        """The steps as they happen and, last, the record.

        With `compare`, the record also holds the answer without the person's history.
        """
        asked = _question(question, options) | {"stream": True}
        failure = ApiError("the connection ended before the answer was complete")
        async with (
            self._stream("POST", f"{_user(user)}/answers", json=asked) as response,
            aclosing(replies.events(response)) as events,
        ):
            async for name, text in events:
                with understood():
                    data = json.loads(text)
                    event: Event | AnswerRecord | None = None
                    if name == "error":
                        failure = problem(data)
                    elif name != "done":
                        event = replies.step(name, data)
                    elif data["finish_reason"]:
                        event = AnswerRecord.from_dict(data)
                if event is not None:
                    yield event
                if isinstance(event, AnswerRecord):
                    return
        raise failure

    async def ask(self, user: str, question: str, **options: Unpack[AskOptions]) -> AnswerRecord:
        """The record alone, once the answer is complete; see `answer`."""
        asked = _question(question, options)
        data = await self._json("POST", f"{_user(user)}/answers", json=asked, timeout=_ANSWER)
        with understood():
            return AnswerRecord.from_dict(data)

    async def stored_answer(self, user: str, answer_id: str) -> AnswerRecord:
        """A stored answer."""
        data = await self._json("GET", f"{_user(user)}/answers/{_segment(answer_id)}")
        with understood():
            return AnswerRecord.from_dict(data)

    async def answers(self, user: str) -> AsyncGenerator[AnswerSummary, None]:
        """Past questions in short, newest first, read a page at a time."""
        query: dict[str, str] = {}
        while True:
            data = await self._json("GET", f"{_user(user)}/answers", params=query)
            with understood():
                page = [AnswerSummary.of(item) for item in data["answers"]]
                cursor = data["next_cursor"]
            for summary in page:
                yield summary
            if cursor is None:
                return
            query = {"cursor": cursor}

    async def stored_answers(self, user: str) -> AsyncGenerator[AnswerRecord, None]:
        """All stored answers, newest first. One that is deleted meanwhile is left out."""
        async with aclosing(self.answers(user)) as summaries:
            async for summary in summaries:
                try:
                    yield await self.stored_answer(user, summary.id)
                except ApiError as error:
                    if error.status != 404:
                        raise

    async def rate(
        self, user: str, answer_id: str, rating: Rating, comment: str = "", helped: Sequence[int] = ()
    ) -> Feedback:
        """Say what the person thinks of an answer, in place of what they said before.

        `helped` are the numbers of the citations that helped.
        """
        said = {"rating": rating, "comment": comment, "helped": [*helped]}
        data = await self._json("POST", f"{_user(user)}/answers/{_segment(answer_id)}/feedback", json=said)
        with understood():
            return Feedback.from_dict(data)

    async def delete_answer(self, user: str, answer_id: str) -> None:
        """Delete a stored answer; documents stay."""
        async with self._stream("DELETE", f"{_user(user)}/answers/{_segment(answer_id)}"):
            pass

    async def _json(self, method: str, path: str, **request: Any) -> Any:
        async with self._stream(method, path, **request) as response:
            body = await response.aread()
        with understood():
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
                                raise refusal(response.status_code, await response.aread())
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
                f"{self.url!r} is not the address of a server: it must begin with http:// or https://"
            ) from None
        except httpx.RequestError as error:
            why = str(error) or type(error).__name__
            raise ApiError(f"cannot reach the server at {self.url}: {why}") from error


async def _read(documents: Iterable[Item]) -> AsyncGenerator[Item, None]:
    """`documents`, read in a thread, because their source may be slow, or this very client."""
    items = iter(documents)
    while batch := await asyncio.to_thread(list, itertools.islice(items, _BATCH)):
        for item in batch:
            yield item


def _authorization(token: str | None) -> dict[str, str]:
    token = os.environ.get("PR2_TOKEN", "") if token is None else token
    if not (token.isascii() and token.isprintable()):
        raise ApiError("the token must be printable ASCII; it is an argument of the client, or PR2_TOKEN")
    return {"authorization": f"Bearer {token}"} if token else {}


def _question(question: str, options: AskOptions) -> dict[str, Any]:
    period = options.get("period") or ANY_TIME
    given = {name: value for name, value in options.items() if (value or value is False) and name != "period"}
    return {"question": question} | given | period.to_dict()


def _user(user: str) -> str:
    return f"users/{_segment(user)}"


def _queried(document_id: str) -> dict[str, str]:
    # Not in the path: there, some proxies decode %2F.
    return {"id": check_name(document_id)}


def _segment(name: str) -> str:
    # Checked here as well, because `..` would be resolved before it is sent.
    return quote(check_name(name), safe="")
