"""Asks a question for either of OpenAI's APIs: the identity, the answer's pieces, and its end.

Both share identity, admission, the episode, citations and errors; they differ in their shapes alone.
"""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any, Literal

from starlette.requests import Request

from agent.trajectory import AnswerDelta, Information, Plan, Search, Thought
from server.access.access import Access
from server.answering import Answering
from server.answers import AnswerRecord, record_of
from server.http.connection import while_connected
from server.http.sse import EventStream
from server.http.state import of, public_url
from server.openai.conversation import Conversation
from server.openai.errors import OpenAIProblem
from server.openai.marks import Marks, url_citations
from server.openai.models import method_of
from server.openai.requests import AskBody
from server.openai.stops import Stops, cut
from server.service import InvalidQuestion


@dataclass(frozen=True)
class Finished:
    """The end of an answer."""

    record: AnswerRecord
    text: str
    end: Literal["stop", "length"]
    thoughts: Sequence[str]
    citations: Sequence[Mapping[str, Any]]
    """See url_citations."""


@dataclass(frozen=True)
class Reasoning:
    """A thought, a plan or a search."""

    text: str


@dataclass(frozen=True)
class Written:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True)
class Asked:
    """A question that was admitted."""

    answering: Answering
    headers: Mapping[str, str]
    """Response headers: who asks, and what was ignored or clamped."""
    created: int
    """Seconds since the epoch."""
    _body: AskBody
    _base_url: str

    async def finished(self, request: Request) -> Finished:
        """The whole answer. Raises OpenAIProblem, and ClientDisconnect if the client leaves."""
        return self._finish(await while_connected(request, record_of(self.answering)))

    def stream(self, request: Request, events: AsyncGenerator[bytes, None]) -> EventStream:
        """The response that sends `events`; a client that leaves ends the answer."""
        stream = EventStream(events, of(request).keep_alive_s, self.answering)
        stream.headers.update(self.headers)
        return stream

    async def pieces(self) -> AsyncGenerator[Reasoning | Written | Finished, None]:
        """The answer's pieces as they come and, last, its end. Raises OpenAIProblem."""
        marks, stops, written = Marks(), Stops(self._body.stop), 0
        async with aclosing(self.answering) as events:
            async for event in events:
                match event:
                    case AnswerRecord():
                        record = event
                    case Information(passages=passages):
                        marks.know(passages)
                    case AnswerDelta(text=raw):
                        if text := stops.feed(marks.feed(raw)):
                            written += len(text)
                            yield Written(text)
                    case _:
                        if text := _reasoning(event):
                            yield Reasoning(text)
        finished = self._finish(record)
        if rest := finished.text[written:]:
            yield Written(rest)
        yield finished

    def _finish(self, record: AnswerRecord) -> Finished:
        text, end = _text_and_end(record, self._body.TOKENS[-1])
        shown = cut(text, self._body.stop)
        if shown is not None:
            text, end = shown, "stop"
        citations = url_citations(record, self._base_url)
        return Finished(
            record,
            text,
            end,
            thoughts=[thought for step in record.trajectory.steps if (thought := _reasoning(step))],
            citations=[citation for citation in citations if citation["end_index"] <= len(text)],
        )


async def ask(
    request: Request, access: Access, body: AskBody, conversation: Conversation, field: str
) -> Asked:
    """Admit the question that stands in the body's `field`.

    Raises OpenAIProblem and the errors of Access.begin.
    """
    headers = body.headers(conversation, field)
    method = method_of(body.model)
    identity = access.identify(body.named_users())
    try:
        answering = await access.begin(
            identity.user,
            conversation.question,
            conversation.earlier,
            method=method.name,
            retriever=body.retriever,
            limits=body.given_limits(),
            remember=body.remember,
            named_by=identity.named_by,
        )
    except InvalidQuestion as error:
        raise OpenAIProblem(400, str(error), field, "invalid-question") from None
    return Asked(answering, identity.headers() | headers, int(time.time()), body, public_url(request))


def in_openapi(description: str) -> dict[str, Any]:
    """The response of either API for the OpenAPI document: a JSON object or, with `stream`, events."""
    event = {"type": "object", "properties": {"data": {"type": "string"}}}
    return {
        "description": description,
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/event-stream": {"itemSchema": event},
        },
    }


def extras(record: AnswerRecord) -> dict[str, Any]:
    """Fields for which OpenAI's shapes have no place."""
    answer, selection = record.trajectory.answer, record.trajectory.selection
    return {
        "answer_id": record.id,
        "stored": record.stored,
        "finish_reason": record.trajectory.finish_reason,
        "method": record.method,
        "citations": [vars(citation) for citation in answer.citations] if answer else [],
        **({"remembered": record.remembered} if record.remembered else {}),
        **({"not_remembered": record.not_remembered} if record.not_remembered else {}),
        **({"selection": asdict(selection)} if selection else {}),
    }


def _reasoning(step: object) -> str:
    """The part of the reasoning that `step` adds; empty for most steps."""
    match step:
        case Plan(text=text) | Thought(text=text):
            return text
        case Search(query=query):
            return f'Searched: "{query}"'
    return ""


def _text_and_end(record: AnswerRecord, tokens: str) -> tuple[str, Literal["stop", "length"]]:
    """The answer and OpenAI's finish reason. Raises OpenAIProblem if there is no answer.

    `tokens` is the request's field for their limit. A missing answer is never an empty success, which clients
    would show as the answer.
    """
    trajectory = record.trajectory
    if trajectory.answer and trajectory.answer.text:
        return trajectory.answer.text, "stop" if trajectory.finish_reason == "answered" else "length"
    reason, param = trajectory.finish_reason or "invalid", None
    match reason:
        case "policy_error":
            status, what = 504 if trajectory.fault == "timeout" else 502, trajectory.detail
        case "deadline":
            status, what = 504, f"no answer came within {trajectory.limits.deadline_ms} ms"
        case "max_tokens":
            # A 400, as OpenAI sends: a retry, as clients do after a 5xx, would end in the same way.
            status, param = 400, tokens
            what = f"no answer was begun within {trajectory.limits.max_tokens} tokens; allow more"
        case "max_searches":
            status, what = 502, "the policy kept searching with no searches left"
        case _:
            status, what = 502, f"the policy wrote no answer: {trajectory.detail or 'it has no text'}"
            reason = "invalid"
    kept = f"stored as answer {record.id}" if record.stored else "not stored"
    raise OpenAIProblem(status, f"{what} ({kept})", param, reason)
