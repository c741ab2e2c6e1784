"""The service as seen by one principal: every call that names a user is checked by the gate, and noted."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Unpack

from agent.driver import Event
from agent.trajectory import Message
from index.documents import Document
from index.storage.answers import Place
from index.values import ANY_TIME, Passage, Period, PutItems, PutOptions, PutReport, Receipt
from server.access.audit import note
from server.access.gate import Action, Forbidden, Gate, IdentityConflict, Principal
from server.access.identity import Identity, identify
from server.answering import Answering
from server.answers import AnswerRecord, AskOptions, Feedback
from server.service import PAGE, Service
from server.stopping import Stop


class Access:
    """The service behind the gate. Every method raises Forbidden and the errors of the service.

    What may take long raises Stopping, too: putting, searching, and the steps of an answer.
    """

    def __init__(self, service: Service, gate: Gate, principal: Principal, stop: Stop | None = None) -> None:
        self._service = service
        self._stop = stop or Stop()
        self._store = service.profiles.store
        self._gate = gate
        self._principal = principal

    def check(self, action: Action, user: str) -> None:
        """Raise Forbidden unless the principal may do this to the user's data.

        Every method checks; call this to refuse before work that precedes the method.
        """
        try:
            self._gate.check(self._principal, action, user)
        except (Forbidden, IdentityConflict):
            note(self._principal, action, user, allowed=False)
            raise

    def _enter(self, action: Action, user: str, what: str, item: str = "") -> None:
        self.check(action, user)
        note(self._principal, action, user, what, item)

    def identify(self, named: Mapping[str, str | None]) -> Identity:
        """The user of a request that names these users, by where. See `identity.identify`."""
        return identify(self._principal, named)

    async def users(self) -> list[str]:
        """Users with stored data whom the principal may see."""
        note(self._principal, "read", "", "users")
        return [user for user in await self._service.run(self._store.users) if self._may("read", user)]

    def _may(self, action: Action, user: str) -> bool:
        try:
            self._gate.check(self._principal, action, user)
        except (Forbidden, IdentityConflict):
            return False
        return True

    async def put(self, user: str, documents: PutItems, **options: Unpack[PutOptions]) -> PutReport:
        """See Profiles.put. `documents` is read in a thread."""
        self._enter("write", user, "documents")
        return await self._stop.unless(self._service.put, user, documents, **options)

    async def documents(self, user: str) -> AsyncGenerator[Document, None]:
        """All documents, in the order in which they were first put."""
        async with aclosing(self.pages(user)) as pages:
            async for page in pages:
                for document in page:
                    yield document

    async def pages(self, user: str) -> AsyncGenerator[list[Document], None]:
        """All documents, a page at a time."""
        self._enter("read", user, "documents")
        async with aclosing(self._service.pages(user)) as pages:
            async for page in pages:
                yield page

    async def page(self, user: str, after: int, limit: int) -> list[tuple[int, Document]]:
        """At most `limit` documents behind the position `after`, each with its position."""
        self._enter("read", user, "documents")
        return await self._service.run(self._store.documents, user, after, limit)

    async def document(self, user: str, document_id: str) -> Document:
        self._enter("read", user, "document", document_id)
        return await self._service.run(self._store.document, user, document_id)

    async def delete_document(self, user: str, document_id: str) -> None:
        self._enter("write", user, "deletion", document_id)
        await self._service.delete_document(user, document_id)

    async def erase(self, user: str) -> Receipt:
        """See Profiles.erase."""
        self._enter("erase", user, "everything")
        return await self._service.erase(user)

    async def search(
        self,
        user: str,
        queries: Sequence[str],
        k: int,
        retriever: str | None = None,
        period: Period = ANY_TIME,
    ) -> list[list[Passage]]:
        """The best passages for each query, best first. Defaults to the settings' retriever."""
        self._enter("read", user, "search")
        return await self._stop.unless(self._service.search, user, queries, k, retriever, period)

    async def similar(self, user: str, document_ids: Sequence[str], k: int) -> list[list[Passage]]:
        """See Profiles.similar."""
        self._enter("read", user, "similar")
        return await self._stop.unless(self._service.similar, user, document_ids, k)

    async def begin(
        self,
        user: str,
        question: str,
        conversation: Sequence[Message] = (),
        *,
        named_by: str | None = None,
        **options: Unpack[AskOptions],
    ) -> Answering:
        """Validate a question and enter it into the queue. Raises the errors of Service.prepare, and Busy.

        `named_by` says where the request names the user, unless its connection does. To remember a question
        takes the right to write; without it, the setting `remember` has no effect.
        """
        self._enter("ask", user, "question")
        if options.get("remember"):
            self.check("write", user)
        elif options.get("remember") is None:
            options["remember"] = self._service.settings.remember and self._may("write", user)
        if self._principal.user is not None:
            named_by = self._principal.named_by
        request = await self._service.prepare(user, question, conversation, **options)
        return self._service.answer(replace(request, named_by=named_by)).unless(self._stop)

    async def answer(
        self, user: str, question: str, **options: Unpack[AskOptions]
    ) -> AsyncGenerator[Event | AnswerRecord, None]:
        """The steps as they happen and, last, the record."""
        async with aclosing(await self.begin(user, question, **options)) as events:
            async for event in events:
                yield event

    async def stored_answer(self, user: str, answer_id: str) -> Mapping[str, Any]:
        """Body of a stored answer."""
        self._enter("read", user, "answer", answer_id)
        return await self._service.stored_answer(user, answer_id)

    async def answers(
        self, user: str, before: Place | None, limit: int
    ) -> list[tuple[Place, dict[str, Any]]]:
        """At most `limit` stored answers before that place in time, newest first, each with its place."""
        self._enter("read", user, "answers")
        return await self._service.run(self._store.answers, user, before, limit)

    async def stored_answers(self, user: str) -> AsyncGenerator[AnswerRecord, None]:
        """All stored answers, newest first."""
        before: Place | None = None
        while page := await self.answers(user, before, PAGE):
            for _, body in page:
                yield AnswerRecord.from_dict(body)
            before = page[-1][0]

    async def rate(self, user: str, answer_id: str, feedback: Feedback) -> Feedback:
        """See Service.rate."""
        self._enter("ask", user, "feedback", answer_id)
        return await self._service.rate(user, answer_id, feedback)

    async def delete_answer(self, user: str, answer_id: str) -> None:
        """Delete a stored answer. Documents, also a remembered question, stay."""
        self._enter("write", user, "deletion", answer_id)
        await self._service.run(self._store.delete_answer, user, answer_id)
