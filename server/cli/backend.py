"""The profiles behind one Protocol, whether in a local store or on a server."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, Unpack

from agent.driver import Event
from index.documents import Document
from index.values import ANY_TIME, Passage, Period, PutItems, PutOptions, PutReport, Receipt
from server.access.access import Access
from server.access.gate import OpenGate
from server.answers import AnswerRecord, AskOptions
from server.assembly import open_service, open_to_look
from server.cli.errors import BadInput
from server.cli.options import settings_of
from server.client import AsyncClient
from server.service import Service


class Backend(Protocol):
    """The operations that commands need. Implemented by server.client.AsyncClient and LocalBackend."""

    async def put(self, user: str, documents: PutItems, **options: Unpack[PutOptions]) -> PutReport: ...

    def documents(self, user: str) -> AsyncGenerator[Document, None]:
        """All documents, in the order in which they were first put."""
        ...

    def stored_answers(self, user: str) -> AsyncGenerator[AnswerRecord, None]:
        """All stored answers, newest first."""
        ...

    async def document(self, user: str, document_id: str) -> Document: ...

    async def delete_document(self, user: str, document_id: str) -> None: ...

    async def erase(self, user: str) -> Receipt: ...

    async def search(
        self,
        user: str,
        queries: Sequence[str],
        k: int,
        retriever: str | None = None,
        period: Period = ANY_TIME,
    ) -> list[list[Passage]]: ...

    def answer(
        self, user: str, question: str, **options: Unpack[AskOptions]
    ) -> AsyncGenerator[Event | AnswerRecord, None]:
        """The steps as they happen and, last, the record."""
        ...


class LocalBackend(Access):
    """The service in this process, with this machine's principal. Raises the errors of the service."""

    def __init__(self, service: Service) -> None:
        gate = OpenGate()
        super().__init__(service, gate, gate.principal(None))
        self.service = service


@asynccontextmanager
async def open_backend(
    server: str | None, flags: Mapping[str, Any], *, to_look: bool = False
) -> AsyncIterator[Backend]:
    """The server at this URL or, if None, the local store that the settings and `flags` name.

    With `to_look`, a local store is opened without its encoder, so it can neither encode nor search.
    Raises BadInput if flags of the local store are given together with a server.
    """
    if server is None:
        async with open_local(flags, to_look=to_look) as local:
            yield local
        return
    if flags:
        raise BadInput(f"with --server, these are for the server to set: {', '.join(flags)}")
    # No retries: a person is waiting, so report errors at once.
    async with AsyncClient(server, retries=0) as client:
        yield client


@asynccontextmanager
async def open_local(flags: Mapping[str, Any], *, to_look: bool = False) -> AsyncIterator[LocalBackend]:
    settings = settings_of(flags)
    service = open_to_look(settings) if to_look else open_service(settings)
    try:
        yield LocalBackend(service)
    finally:
        await service.aclose()
