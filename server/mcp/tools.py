"""The MCP tools: their arguments, their work and the shapes of their results."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from mcp import types
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    WithJsonSchema,
)
from starlette.concurrency import run_in_threadpool

from agent.driver import Event
from agent.trajectory import FinishReason
from index.documents import Document, Passage, Text, parse_document
from index.errors import InvalidDocument, WouldReplace
from index.numbers import Integer
from index.values import NAME_SCHEMA, Period
from server.access.access import Access
from server.access.identity import Identity
from server.answers import record_of
from server.http.bodies import Ids, QueryText
from server.http.problems import PolicyFailed

MOST_PASSAGES = 100
MOST_DOCUMENTS = 1_000
"""Documents of one call. For a whole history, use the API or `pr2 profile import`."""
MOST_FAULTS = 5
"""Faulty documents named in an error: enough for an assistant to see its mistake."""

Report = Callable[[str], Awaitable[None]]
"""Sends a line of progress to the client."""
Result = types.CallToolResult


class Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# Documented only: `identify` checks it, and a blank one names nobody.
_User = Annotated[str, WithJsonSchema(NAME_SCHEMA)]


class OfUser(Arguments):
    user: _User
    """Id of the user whose history is searched or changed."""


class OfNamedUser(Arguments):
    user: _User | None = None
    """Id of the user whose history is searched or changed. Omit it for the user whom the connection names."""


class _SearchArguments(Arguments):
    query: QueryText
    """Text to search for, phrased like the text that you hope to find."""
    k: Integer = Field(5, ge=1, le=MOST_PASSAGES)
    """Number of passages to return."""
    after: date | None = None
    """First day of what is wanted, like 2024-03-01. Omit it unless only a certain time counts."""
    before: date | None = None
    """The day behind the last one."""
    last: str | None = None
    """Length of the time up to today, instead of `after`: a number and d, w, m or y, like 30d."""


def _from_json(value: Any) -> Any:
    # Some assistants send an array as a string that holds one.
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


class _AddArguments(Arguments):
    # The schema shows documents, but parse_document validates them, for its messages.
    documents: Annotated[list[SkipValidation[Document]], BeforeValidator(_from_json)] = Field(
        min_length=1, max_length=MOST_DOCUMENTS
    )
    """Citations will name a document by its `id`, made from its contents if you give none; `created_at` is
    when it was written."""
    replace: bool = False
    """Replace documents that are stored under the same ids. Otherwise such a call stores nothing."""


class _AnswerArguments(Arguments):
    question: Text
    """A question about the user, in full: nothing else of your conversation is known here."""
    method: str | None = None
    """Method of answering. Omit it for the default."""
    as_of: date | None = None
    """Day to ask on instead of today: documents later than it are not seen."""
    time_zone: str | None = None
    """IANA name of the user's time zone, like Europe/Berlin, which says what day it is."""


# Shapes of results, for documentation only: results are built from plain values.
class _Shape(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class FoundPassage(_Shape):
    document_id: str
    text: str
    """Verbatim; for a long document, the passage that matches."""
    created_at: str | None = None
    title: str | None = None
    source: str | None = None
    score: float
    copies: int = 1
    """How often the text stands in the history, of which it is shown once."""


class Found(_Shape):
    passages: list[FoundPassage]
    """Best first."""


class Added(_Shape):
    put: int
    """Documents that are now stored."""
    added: Ids
    unchanged: Ids
    replaced: Ids
    duplicates: list[str]
    """Ids that came more than once; the last one counts."""


class CitedLine(_Shape):
    number: int
    """Number of the mark in the answer, like [1]."""
    document_id: str
    quote: str
    """Verbatim."""


class Answered(_Shape):
    answer: str
    citations: list[CitedLine]
    finish_reason: FinishReason
    """`answered`, or the limit that cut the answer off."""
    answer_id: str
    stored: bool
    """False if the database could not take the answer, which then cannot be fetched again."""


class OfWhom(_Shape):
    """Part of every result; see `for_user`."""

    user: str
    """Id of the user whose history was searched or changed."""
    user_from: str
    """Source of the user: `user` (the argument or pr2 mcp's option), `token`, `header`, or `default`."""


def _result(text: str, values: Mapping[str, Any]) -> Result:
    return Result(content=[types.TextContent(text=text)], structured_content=values)


def error_result(text: str) -> Result:
    return Result(content=[types.TextContent(text=sendable(text))], is_error=True)


def for_user(identity: Identity, result: Result) -> Result:
    """`result`, with the user for whom the tool acted: an assistant may have named nobody."""
    about = types.TextContent(text=f"User: {identity.user} (from {identity.named_by})")
    values = result.structured_content
    if values is not None:
        values = {"user": identity.user, "user_from": identity.named_by, **values}
    return result.model_copy(update={"content": [*result.content, about], "structured_content": values})


def sendable(text: str) -> str:
    # An engine's text may contain a lone surrogate, which UTF-8 cannot encode.
    return text.encode("utf-8", "replace").decode()


async def _search(access: Access, whose: Identity, arguments: _SearchArguments, report: Report) -> Result:
    period = Period(arguments.after, arguments.before, arguments.last)
    [passages] = await access.search(whose.user, [arguments.query], arguments.k, period=period)
    found = [{name: getattr(passage, name) for name in FoundPassage.model_fields} for passage in passages]
    text = "\n\n".join(_shown(number, passage) for number, passage in enumerate(passages, 1))
    return _result(text or "Nothing that is stored fits.", {"passages": found})


def _shown(number: int, passage: Passage) -> str:
    times = f"{passage.copies} times" if passage.copies > 1 else None
    about = (f"document {passage.document_id}", passage.created_at, passage.title, passage.source, times)
    return f"[{number}] {', '.join(filter(None, about))}\n{passage.text}"


async def _add(access: Access, whose: Identity, arguments: _AddArguments, report: Report) -> Result:
    access.check("write", whose.user)  # before the documents are parsed
    documents = await run_in_threadpool(_parsed, arguments.documents)
    try:
        stored = await access.put(whose.user, documents, replace=arguments.replace)
    except WouldReplace as error:
        return error_result(f"Nothing is stored: {error}. Use other ids, or say replace: true.")
    text = f"Documents stored: {stored.put}."
    if stored.changes.replaced.count:
        text += f" Replaced: {stored.changes.replaced.count}."
    if stored.duplicates:
        text += f" Given more than once, of which the last one is kept: {', '.join(stored.duplicates)}."
    values = stored.to_dict()
    return _result(text, {name: values[name] for name in Added.model_fields})


def _parsed(items: Sequence[Any]) -> list[Document]:
    documents: list[Document] = []
    faults: list[str] = []
    for position, item in enumerate(items, 1):
        try:
            documents.append(parse_document(item))
        except InvalidDocument as error:
            faults.append(f"document {position}: {error}")
    if faults:
        more = [f"and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        raise InvalidDocument(f"nothing is stored, because of {'; '.join(faults[:MOST_FAULTS] + more)}")
    return documents


async def _answer(access: Access, whose: Identity, arguments: _AnswerArguments, report: Report) -> Result:
    async def show(event: Event) -> None:
        if step := _step(event):
            await report(step)

    record = await record_of(
        await access.begin(
            whose.user,
            arguments.question,
            method=arguments.method,
            period=Period(as_of=arguments.as_of, time_zone=arguments.time_zone),
            named_by=whose.named_by,
            remember=False,  # It is the assistant's wording, not the person's own message.
        ),
        show,
    )
    trajectory = record.trajectory
    answer, reason = trajectory.answer, trajectory.finish_reason
    if reason == "policy_error":
        raise PolicyFailed(record)
    if answer is None:
        why = ": ".join(filter(None, (reason, trajectory.detail)))
        return error_result(f"No answer was found ({why}). Ask for less at a time, or use search_profile.")
    citations = [
        {name: getattr(cited, name) for name in CitedLine.model_fields} for cited in answer.citations
    ]
    paragraphs = [answer.text]
    if reason != "answered":
        paragraphs.append(f"(The answer was cut off: {reason}.)")
    if citations:
        lines = (
            f"[{cited.number}] document {cited.document_id}: {cited.quote}" for cited in answer.citations
        )
        paragraphs.append("\n".join(("It rests on:", *lines)))
    return _result(
        "\n\n".join(paragraphs),
        {
            "answer": answer.text,
            "citations": citations,
            "finish_reason": reason,
            "answer_id": record.id,
            "stored": record.stored,
        },
    )


def _step(event: Event) -> str | None:
    match event.kind:
        case "plan":
            return "planned what the answer is to cover"
        case "thought":
            return f"thinking: {event.text}"
        case "search":
            return f"searching: {event.described}"
        case "information":
            return f"passages found: {len(event.passages)}"
        case "answer":
            return "answered"
        case "invalid":
            return f"stuck: {event.reason}"
    return None


@dataclass(frozen=True)
class Tool:
    name: str
    title: str
    description: str
    hints: types.ToolAnnotations
    arguments: type[Arguments]
    shape: type[_Shape]
    run: Callable[[Access, Identity, Any, Report], Awaitable[Result]]


TOOLS = (
    Tool(
        "search_profile",
        "Search a person's history",
        "Search the user's stored documents. Gives the passages that fit best, best first, each with the id "
        "of its document.",
        types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
        _SearchArguments,
        Found,
        _search,
    ),
    Tool(
        "add_documents",
        "Add to a person's history",
        "Store documents in the user's history, to be searched and cited from then on. One whose id is "
        f"stored already is replaced only with `replace: true`. At most {MOST_DOCUMENTS:,} a call; all of "
        "them are stored or, when one is faulty or would replace another, none.",
        types.ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
        ),
        _AddArguments,
        Added,
        _add,
    ),
    Tool(
        "answer_question",
        "Answer from a person's history",
        "Answer a question about the user from the user's own documents, searching as often as it takes. "
        "Gives the answer and, for each mark like [1] in it, the exact line that it rests on. It may take a "
        "minute; search_profile is quicker where one passage is enough.",
        # The stored record of an answer changes nothing that a tool shows.
        types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
        _AnswerArguments,
        Answered,
        _answer,
    ),
)
