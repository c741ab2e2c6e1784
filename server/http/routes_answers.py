"""Answers over HTTP: at once or as a stream of steps. A client that leaves cancels the generation."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from index.documents import check_name
from server.http.bodies import AnswerBody, AnswerRequestBody
from server.http.problems import HANDLED, PolicyFailed, problem_of
from server.http.sse import EventStream, encode
from server.http.state import of
from server.http.wire import JSONBody
from server.service import Answering, AnswerRecord

T = TypeVar("T")

_log = logging.getLogger(__name__)

router = APIRouter(tags=["answers"])

_STREAM_IN_OPENAPI: dict[str, Any] = {
    "description": "The answer; with `stream`, its steps as events: `plan`, `thought`, `search`, "
    "`information`, `answer.delta`, `answer`, `invalid`, `error` (a problem), and at last `done` with the "
    'answer\'s body, or with `{"finish_reason": null}` when nothing could be stored.',
    "model": AnswerBody,
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


@router.post("/answers", summary="Ask", responses={200: _STREAM_IN_OPENAPI})
async def ask(request: Request, user: str, body: AnswerRequestBody) -> Response:
    """Answer a question from the person's own history, citing the lines that the answer rests on.

    Look at `finish_reason`: an answer that a limit cut off is a 200, too. A policy that fails is a
    problem (502, or 504 when it was silent too long); what it had done by then is stored all the same.
    """
    state = of(request)
    service = state.service
    limits = service.settings.limits
    if body.limits is not None:
        limits = limits.model_copy(update=body.limits.model_dump(exclude_unset=True))
    prepared = await service.prepare(
        user,
        body.question,
        method=body.method,
        retriever_name=body.retriever,
        limits=limits.limits(),
        plan=body.plan,
        compare=body.compare,
    )
    answering = service.answer(prepared)
    if body.stream:
        return EventStream(_events(answering), state.keep_alive_s, answering)
    record = await while_connected(request, record_of(answering))
    if record.trajectory.finish_reason == "policy_error":
        raise PolicyFailed(record)
    return JSONBody(record.to_dict())


@router.get("/answers/{answer_id}", summary="Fetch an answer", responses={200: {"model": AnswerBody}})
async def get_answer(request: Request, user: str, answer_id: str) -> JSONBody:
    """With its trajectory, as it was sent."""
    return JSONBody(await of(request).service.stored_answer(user, check_name(answer_id)))


async def record_of(answering: Answering) -> AnswerRecord:
    """The record, with which an answer ends."""
    async with aclosing(answering) as events:
        async for event in events:
            if isinstance(event, AnswerRecord):
                return event
    raise RuntimeError("the service gave no record of its answer")


async def _events(answering: Answering) -> AsyncGenerator[bytes, None]:
    record = None
    try:
        async with aclosing(answering) as events:
            async for event in events:
                if isinstance(event, AnswerRecord):
                    record = event
                else:
                    yield encode(event.kind, asdict(event))
        if record is not None and record.trajectory.finish_reason == "policy_error":
            raise PolicyFailed(record)
    except Exception as error:
        # The response has begun, so that no handler can answer this any more.
        if not isinstance(error, HANDLED):
            _log.exception("an answer broke off")
        yield encode("error", problem_of(error).to_dict())
    yield encode("done", record.to_dict() if record else {"finish_reason": None})


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client leaves. Raises ClientDisconnect then."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    # Not is_disconnected(), which would have to be asked again and again.
    while (await request.receive())["type"] != "http.disconnect":
        pass
