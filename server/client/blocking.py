"""The client for code without an event loop."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from index.values import ANY_TIME, Passage, Period, PutItems, PutOptions, PutReport, Receipt
from server.answers import AnswerRecord, AnswerSummary, AskOptions, Feedback, Rating
from server.client.asynchronous import AsyncClient
from server.client.errors import ApiError

if TYPE_CHECKING:
    from agent.driver import Event
    from index.documents import Document

T = TypeVar("T")

_CLOSED = "the client was closed before this was read to its end"


class Client:
    """AsyncClient for code without an event loop: every call blocks until it is done.

    It runs an AsyncClient in a thread. Use it as a context manager, or `close` it.
    """

    def __init__(self, url: str, retries: int = 3, *, token: str | None = None) -> None:
        from anyio.from_thread import start_blocking_portal

        self.url = url.rstrip("/")
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal())
        self._client = AsyncClient(url, retries, token=token)
        self._followed: set[AsyncGenerator[Any, None]] = set()
        self._stack.callback(self._portal.call, self._aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel open iterators, close the connections and end the thread."""
        self._stack.close()

    def put(self, user: str, documents: PutItems, **options: Unpack[PutOptions]) -> PutReport:
        """See AsyncClient.put. `documents` is read in the client's thread."""
        return self._portal.call(partial(self._client.put, **options), user, documents)

    def documents(self, user: str) -> "Iterator[Document]":
        """See AsyncClient.documents."""
        return self._each(self._client.documents(user))

    def document(self, user: str, document_id: str) -> "Document":
        return self._portal.call(self._client.document, user, document_id)

    def delete_document(self, user: str, document_id: str) -> None:
        self._portal.call(self._client.delete_document, user, document_id)

    def erase(self, user: str) -> Receipt:
        """Delete everything that is stored for a person."""
        return self._portal.call(self._client.erase, user)

    def search(
        self,
        user: str,
        queries: Sequence[str],
        k: int,
        retriever: str | None = None,
        period: Period = ANY_TIME,
    ) -> list[list[Passage]]:
        """See AsyncClient.search."""
        return self._portal.call(self._client.search, user, queries, k, retriever, period)

    def ask(self, user: str, question: str, **options: Unpack[AskOptions]) -> AnswerRecord:
        """See AsyncClient.ask."""
        return self._portal.call(partial(self._client.ask, user, question, **options))

    def answer(
        self, user: str, question: str, **options: Unpack[AskOptions]
    ) -> "Iterator[Event | AnswerRecord]":
        """See AsyncClient.answer. Closing the iterator cancels the answer."""
        return self._each(self._client.answer(user, question, **options))

    def stored_answer(self, user: str, answer_id: str) -> AnswerRecord:
        return self._portal.call(self._client.stored_answer, user, answer_id)

    def answers(self, user: str) -> Iterator[AnswerSummary]:
        """See AsyncClient.answers."""
        return self._each(self._client.answers(user))

    def stored_answers(self, user: str) -> Iterator[AnswerRecord]:
        """See AsyncClient.stored_answers."""
        return self._each(self._client.stored_answers(user))

    def rate(
        self, user: str, answer_id: str, rating: Rating, comment: str = "", helped: Sequence[int] = ()
    ) -> Feedback:
        """See AsyncClient.rate."""
        return self._portal.call(self._client.rate, user, answer_id, rating, comment, helped)

    def delete_answer(self, user: str, answer_id: str) -> None:
        """Delete a stored answer; documents stay."""
        self._portal.call(self._client.delete_answer, user, answer_id)

    def _each(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        end = object()

        async def following() -> T | object:
            if items not in self._followed:
                raise ApiError(_CLOSED)
            return await anext(items, end)

        self._followed.add(items)
        try:
            while (item := self._portal.call(following)) is not end:
                yield item  # type: ignore[misc]
        except RuntimeError as error:
            if items in self._followed:
                raise
            raise ApiError(_CLOSED) from error  # The thread ended, or is just closing this generator.
        finally:
            if items in self._followed:
                self._followed.remove(items)
                self._portal.call(items.aclose)

    async def _aclose(self) -> None:
        while self._followed:
            with suppress(RuntimeError):  # Another thread is reading it; closing the client ends that.
                await self._followed.pop().aclose()
        await self._client.aclose()
