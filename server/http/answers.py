"""Routes for answers: whole, or as a stream of steps. A client that disconnects cancels the generation."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from agent.trajectory import AnswerDelta, plain
from index.documents import check_name
from index.storage.answers import Place
from server.answering import Answering
from server.answers import AnswerRecord, AnswerSummary, Feedback, record_of
from server.http.bodies import AnswerBody, AnswerPage, AnswerRequestBody, FeedbackRequestBody
from server.http.connection import while_connected
from server.http.paths import AnswerPath, UserPath
from server.http.problems import HANDLED, PolicyFailed, problem_of
from server.http.sse import EventStream, encode, in_openapi
from server.http.state import Caller, of
from server.http.wire import JSONBody

_log = logging.getLogger(__name__)

router = APIRouter(tags=["answers"])

_CURSOR = r"^[0-9]{1,12}\.[0-9]{1,9}-.+$"
"""Time of storing, as Python writes a float, and id of the last answer of a page."""
_STEPS = ("Plan", "Thought", "Search", "Information", "Answer", "Invalid")
_EVENTS: dict[str, Any] = {
    **{name.lower(): {"$ref": f"#/components/schemas/{name}"} for name in _STEPS},
    "answer.delta": TypeAdapter(AnswerDelta).json_schema(),
    "error": {"$ref": "#/components/schemas/Problem"},
    "done": {
        "anyOf": [
            {"$ref": "#/components/schemas/AnswerBody"},
            {
                "type": "object",
                "properties": {"finish_reason": {"type": "null"}},
                "required": ["finish_reason"],
            },
        ]
    },
}
_IN_OPENAPI: dict[str, Any] = {
    "description": "The answer; with `stream`, its steps as events as they happen, and last `done` with the "
    'answer\'s body, or with `{"finish_reason": null}` when there is none.',
    "model": AnswerBody,
    "content": in_openapi(_EVENTS),
}


@router.post("/answers", summary="Ask", responses={200: _IN_OPENAPI})
async def ask(request: Request, access: Caller, user: UserPath, body: AnswerRequestBody) -> Response:
    """Answer a question from the person's own history, citing the lines that the answer rests on.

    Check `finish_reason`: an answer that a limit cut off is a 200, too. A policy that fails is a problem
    (502, or 504 if it was silent too long); its steps so far are stored anyway.
    """
    answering = await access.begin(
        user,
        body.question,
        method=body.method,
        retriever=body.retriever,
        limits=body.limits.model_dump(exclude_unset=True) if body.limits else None,
        plan=body.plan,
        compare=body.compare,
        remember=body.remember,
        period=body.period,
        named_by="path",
    )
    if body.stream:
        return EventStream(_events(answering), of(request).keep_alive_s, answering)
    record = await while_connected(request, record_of(answering))
    if record.trajectory.finish_reason == "policy_error":
        raise PolicyFailed(record)
    return JSONBody(record.to_dict())


@router.get("/answers", summary="List past questions", responses={200: {"model": AnswerPage}})
async def list_answers(
    access: Caller,
    user: UserPath,
    cursor: Annotated[
        str | None, Query(pattern=_CURSOR, description="`next_cursor` of the previous page")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> JSONBody:
    """Stored answers in short, newest first. Answers that are stored meanwhile do not shift the pages."""
    # One more than requested shows whether there is a next page.
    found = await access.answers(user, _place(cursor) if cursor else None, limit + 1)
    page = found[:limit]
    last = page[-1][0] if len(found) > limit else None
    return JSONBody(
        {
            "answers": [vars(AnswerSummary.of(body)) for _, body in page],
            "next_cursor": f"{last.stored_at}-{last.id}" if last else None,
        }
    )


def _place(cursor: str) -> Place:
    stored_at, _, answer_id = cursor.partition("-")
    return Place(float(stored_at), check_name(answer_id))


# Before the routes of an answer, whose ids take the rest of the path.
@router.post(
    "/answers/{answer_id:name}/feedback", summary="Rate an answer", responses={200: {"model": Feedback}}
)
async def rate(access: Caller, user: UserPath, answer_id: AnswerPath, body: FeedbackRequestBody) -> JSONBody:
    """Store what the person says of an answer, in place of what they said before, as part of the answer."""
    said = await access.rate(user, answer_id, Feedback(body.rating, body.comment, tuple(body.helped)))
    return JSONBody(said.to_dict())


@router.delete("/answers/{answer_id:last_name}", summary="Delete an answer", status_code=204)
async def delete_answer(access: Caller, user: UserPath, answer_id: AnswerPath) -> Response:
    """Delete a stored answer. Documents stay, also the one that a remembered question became."""
    await access.delete_answer(user, answer_id)
    return Response(status_code=204)


@router.get(
    "/answers/{answer_id:last_name}", summary="Fetch an answer", responses={200: {"model": AnswerBody}}
)
async def get_answer(access: Caller, user: UserPath, answer_id: AnswerPath) -> JSONBody:
    """The answer with its trajectory, as it was first sent."""
    return JSONBody(await access.stored_answer(user, answer_id))


async def _events(answering: Answering) -> AsyncGenerator[bytes, None]:
    record = None
    try:
        async with aclosing(answering) as events:
            async for event in events:
                if isinstance(event, AnswerRecord):
                    record = event
                else:
                    yield encode(event.kind, plain(event))
        if record is not None and record.trajectory.finish_reason == "policy_error":
            raise PolicyFailed(record)
    except Exception as error:
        # The response has begun, so no exception handler can answer any more.
        if not isinstance(error, HANDLED):
            _log.exception("an answer broke off")
        yield encode("error", problem_of(error).to_dict())
    yield encode("done", record.to_dict() if record else {"finish_reason": None})
