"""One way to reach the profiles, whether they lie in a folder here or behind a server."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict
from typing import Any, Protocol, Unpack

from agent.driver import Event
from index.documents import Document, Passage
from index.encoding.embedding import Progress
from index.errors import InvalidDocument
from index.profiles import PutReport
from index.storage.store import Receipt
from server.cli.errors import BadInput
from server.client import AskOptions, AsyncClient
from server.service import AnswerRecord, Service, open_service, open_to_look
from server.settings import QuestionLimits, Settings


class Backend(Protocol):
    """What the commands need. `server.client.AsyncClient` is one, `LocalBackend` the other."""

    async def put(
        self,
        user: str,
        documents: Iterable[Document | InvalidDocument],
        *,
        on_error: str = "fail",
        progress: Progress | None = None,
    ) -> PutReport: ...

    def documents(self, user: str) -> AsyncGenerator[Document, None]:
        """All of them, in the order in which they were first put."""
        ...

    async def document(self, user: str, document_id: str) -> Document: ...

    async def delete_document(self, user: str, document_id: str) -> None: ...

    async def erase(self, user: str) -> Receipt: ...

    async def search(
        self, user: str, queries: Sequence[str], k: int, retriever: str | None = None
    ) -> list[list[Passage]]: ...

    def answer(
        self, user: str, question: str, **options: Unpack[AskOptions]
    ) -> AsyncGenerator[Event | AnswerRecord, None]:
        """The steps as they happen, and at last the record."""
        ...


class LocalBackend:
    """The service in this process. Raises what the service raises."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._store = service.profiles.store

    async def put(
        self,
        user: str,
        documents: Iterable[Document | InvalidDocument],
        *,
        on_error: str = "fail",
        progress: Progress | None = None,
    ) -> PutReport:
        return await self.service.put(user, documents, on_error=on_error, progress=progress)

    async def documents(self, user: str) -> AsyncGenerator[Document, None]:
        async with aclosing(self.service.pages(user)) as pages:
            async for page in pages:
                for document in page:
                    yield document

    async def document(self, user: str, document_id: str) -> Document:
        return await self.service.run(self._store.document, user, document_id)

    async def delete_document(self, user: str, document_id: str) -> None:
        await self.service.run(self._store.delete_document, user, document_id)

    async def erase(self, user: str) -> Receipt:
        return await self.service.erase(user)

    async def search(
        self, user: str, queries: Sequence[str], k: int, retriever: str | None = None
    ) -> list[list[Passage]]:
        return await self.service.search(user, queries, k, retriever or self.service.settings.retriever)

    async def answer(
        self, user: str, question: str, **options: Unpack[AskOptions]
    ) -> AsyncGenerator[Event | AnswerRecord, None]:
        defaults = asdict(self.service.settings.limits.limits())
        request = await self.service.prepare(
            user,
            question,
            method=options.get("method"),
            retriever_name=options.get("retriever"),
            limits=QuestionLimits(**defaults | dict(options.get("limits") or {})).limits(),
            plan=options.get("plan"),
            compare=options.get("compare", False),
        )
        async with aclosing(self.service.answer(request)) as events:
            async for event in events:
                yield event


@asynccontextmanager
async def open_backend(
    server: str | None, flags: Mapping[str, Any], *, to_look: bool = False
) -> AsyncIterator[Backend]:
    """The server at this address or, without one, the local store that the settings and `flags` name.

    With `to_look`, a local store is opened without its encoder, so it can neither encode nor search.
    Raises BadInput when flags that speak of the local store come together with a server.
    """
    if server is None:
        async with open_local(flags, to_look=to_look) as local:
            yield local
        return
    if flags:
        raise BadInput(f"with --server, these are for the server to set: {', '.join(flags)}")
    # A person sits before this: what does not work now is said now.
    async with AsyncClient(server, retries=0) as client:
        yield client


@asynccontextmanager
async def open_local(flags: Mapping[str, Any], *, to_look: bool = False) -> AsyncIterator[LocalBackend]:
    settings = Settings(**flags)
    service = open_to_look(settings) if to_look else open_service(settings)
    try:
        yield LocalBackend(service)
    finally:
        await service.aclose()
