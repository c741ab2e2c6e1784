"""Routes of OpenAI's chat completions, for any of its clients. A model is a method."""

import logging
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agent.trajectory import AnswerDelta, Information
from index.errors import InvalidName, UnknownRetriever, UnknownUser
from server.access.gate import IdentityConflict, MissingUser
from server.answers import AnswerRecord, record_of
from server.http.connection import while_connected
from server.http.problems import HANDLED, Problem, problem_of
from server.http.sse import EventStream
from server.http.state import Caller, of
from server.http.wire import JSONBody, encode
from server.openai.bodies import (
    IGNORED,
    MODELS,
    REFUSED,
    ChatRequest,
    Marks,
    OpenAIProblem,
    annotations,
    extras,
    reasoning,
    text_and_end,
    usage,
)
from server.openai.identity import named_users, split_model
from server.service import Answering, InvalidQuestion

_log = logging.getLogger(__name__)


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    """Parameter at fault, like `messages[0].content`."""
    code: str | None


class ErrorBody(BaseModel):
    """An error as OpenAI's clients expect it."""

    error: ErrorDetail


router = APIRouter(
    prefix="/v1", tags=["openai"], responses={"default": {"model": ErrorBody, "description": "An error."}}
)

DESCRIPTION = f"""\
Answer the last message from the history of one person: named by `user`, `safety_identifier`, \
`metadata.user_id` or the model `pr2:USER`, else by the server's identity settings. The response headers \
PR2-User and PR2-User-From say who it was, and what named them.

Thoughts and searches come as `reasoning_content`, citations as `annotations`, and the answer is stored like \
any other, under `pr2.answer_id`. The key is the server's token; without one, any key is accepted.

Ignored: {", ".join(sorted(IGNORED))}.
Refused, unless set to a value that asks for nothing: {", ".join(REFUSED)}. All other parameters are refused.
"""
_COMPLETION_IN_OPENAPI: dict[str, Any] = {
    "description": "OpenAI's `chat.completion`, with the extra member `pr2`; with `stream`, its chunks.",
    "content": {
        "application/json": {"schema": {"type": "object"}},
        "text/event-stream": {"schema": {"type": "string"}},
    },
}


@router.post(
    "/chat/completions",
    summary="Ask, as OpenAI's clients do",
    description=DESCRIPTION,
    responses={200: _COMPLETION_IN_OPENAPI},
)
async def complete(request: Request, access: Caller, body: ChatRequest) -> Response:
    body.check()
    model = _model(split_model(body.model)[0])
    question, conversation = body.question()
    named = named_users(body.model, body.user, body.safety_identifier, body.model_extra or {})
    identity = access.identify(named)
    answering = await access.begin(
        identity.user,
        question,
        conversation,
        method=MODELS[model].name,
        retriever=body.retriever,
        limits=body.given_limits(),
    )
    head = {"model": body.model, "created": int(time.time())}
    base_url = str(request.base_url)
    if body.stream:
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        chunks = _chunks(answering, head, base_url, with_usage)
        stream = EventStream(chunks, of(request).keep_alive_s, answering)
        stream.headers.update(identity.headers())
        return stream
    record = await while_connected(request, record_of(answering))
    text, end = text_and_end(record)
    thoughts = (reasoning(step) for step in record.trajectory.steps)
    message = {
        "role": "assistant",
        "content": text,
        "refusal": None,
        "annotations": annotations(record, base_url),
        "reasoning_content": "\n\n".join(filter(None, thoughts)) or None,
    }
    return JSONBody(
        {
            "id": f"chatcmpl-{record.id}",
            "object": "chat.completion",
            **head,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": end}],
            "usage": usage(record),
            "pr2": extras(record),
        },
        headers=identity.headers(),
    )


@router.get("/models", summary="List the models")
async def list_models(request: Request, access: Caller) -> JSONBody:
    """One model for each method and, with the setting `identity.list_users`, `pr2:USER` for each user."""
    users = await access.users() if of(request).lists_users else []
    data = [_model_body(model) for model in MODELS] + [_model_body("pr2", user) for user in users]
    return JSONBody({"object": "list", "data": data})


@router.get("/models/{model}", summary="Look up a model")
async def get_model(access: Caller, model: str) -> JSONBody:
    name, user = split_model(model)
    if user is not None:
        access.check("read", access.identify({"model": user}).user)
    return JSONBody(_model_body(_model(name), user))


def _model(model: str) -> str:
    if model not in MODELS:
        there_is = f"there is no model {model!r}; there are {', '.join(MODELS)}"
        raise OpenAIProblem(404, there_is, "model", "model_not_found")
    return model


def _model_body(model: str, user: str | None = None) -> dict[str, Any]:
    return {
        "id": model if user is None else f"{model}:{user}",
        "object": "model",
        "created": 0,
        "owned_by": "pr2",
        "description": MODELS[model].title,
    }


async def _chunks(
    answering: Answering, head: dict[str, Any], base_url: str, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    head = {"id": f"chatcmpl-{answering.id}", "object": "chat.completion.chunk", **head}
    no_usage = {"usage": None} if with_usage else {}

    def chunk(delta: dict[str, Any], end: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}
        return _data({**head, "choices": [choice], **no_usage, **more})

    marks = Marks()
    written = separator = ""
    try:
        yield chunk({"role": "assistant", "content": ""})
        async with aclosing(answering) as events:
            async for event in events:
                match event:
                    case AnswerRecord():
                        record = event
                    case Information(passages=passages):
                        marks.know(passages)
                    case AnswerDelta(text=raw):
                        if text := marks.feed(raw):
                            written += text
                            yield chunk({"content": text})
                    case _:
                        if text := reasoning(event):
                            yield chunk({"reasoning_content": separator + text})
                            separator = "\n\n"
        text, end = text_and_end(record)
        if rest := text[len(written) :]:
            yield chunk({"content": rest})
        if cited := annotations(record, base_url):
            yield chunk({"annotations": cited})
        yield chunk({}, end, pr2=extras(record))
        if with_usage:
            yield _data({**head, "choices": [], "usage": usage(record)})
    except Exception as error:
        # The response has begun, so no exception handler can answer any more.
        if not isinstance(error, HANDLED):
            _log.exception("an answer broke off")
        yield _data(_error_body(error, problem_of(error)))
    yield b"data: [DONE]\n\n"


def _data(value: Any) -> bytes:
    return b"data: %s\n\n" % encode(value)


def serves(path: str) -> bool:
    """Whether errors at this path have OpenAI's shape."""
    return path == "/v1/models" or path.startswith(("/v1/models/", "/v1/chat/"))


def openai_error(error: Exception) -> Response:
    """`error` in OpenAI's shape. Nothing of an unexpected exception is disclosed."""
    problem = problem_of(error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    return JSONBody(_error_body(error, problem), _status(problem), headers)


_PARAMS = {
    InvalidName: "user",
    MissingUser: "user",
    IdentityConflict: "user",
    UnknownUser: "user",
    InvalidQuestion: "messages",
    UnknownRetriever: "retriever",
}
_TYPES = {404: "not_found_error", 429: "rate_limit_error"}


def _status(problem: Problem) -> int:
    return 400 if problem.status in {415, 422} else problem.status


def _error_body(error: Exception, problem: Problem) -> dict[str, Any]:
    status = _status(problem)
    message, param = problem.detail, _PARAMS.get(type(error))
    code: str | None = problem.type.rpartition(":")[2]
    if isinstance(error, OpenAIProblem):
        param, code = error.param, error.code or "invalid-request"
    elif isinstance(error, RequestValidationError) and problem.errors:
        fault = problem.errors[0]
        param = re.sub(r"\.(\d+)", r"[\1]", fault.field.removeprefix("body").removeprefix(".")) or None
        message = f"{param}: {fault.detail}" if param else fault.detail
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
