"""Errors in OpenAI's shape, so that its clients raise them with our message."""

import logging
import re
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from index.errors import InvalidName, UnknownRetriever, UnknownUser
from server.access.gate import IdentityConflict, MissingUser
from server.http.problems import HANDLED, Problem, problem_of
from server.http.wire import JSONBody

_log = logging.getLogger(__name__)


class OpenAIProblem(HTTPException):
    """An HTTPException with OpenAI's `param` and `code`."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(status, message)
        self.param = param
        self.code = code


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    """Parameter at fault, like `messages[0].content`."""
    code: str | None


class ErrorBody(BaseModel):
    """An error as OpenAI's clients expect it."""

    error: ErrorDetail


def serves(path: str) -> bool:
    """Whether errors at this path have OpenAI's shape: below /v1, all but the routes of users."""
    path = f"{path}/"
    return path.startswith("/v1/") and not path.startswith("/v1/users/")


def openai_error(error: Exception) -> Response:
    """`error` as a response. Nothing of an unexpected exception is disclosed."""
    problem = problem_of(error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    return JSONBody({"error": error_detail(error)}, _status(problem), headers)


def broken_off(error: Exception) -> dict[str, Any]:
    """`error` as a part of a stream: the response has begun, so no exception handler can answer any more."""
    if not isinstance(error, HANDLED):
        _log.error("an answer broke off", exc_info=error)
    return error_detail(error)


_PARAMS = {
    InvalidName: "user",
    MissingUser: "user",
    IdentityConflict: "user",
    UnknownUser: "user",
    UnknownRetriever: "retriever",
}
_TYPES = {404: "not_found_error", 429: "rate_limit_error"}


def _status(problem: Problem) -> int:
    return 400 if problem.status in {415, 422} else problem.status


def error_detail(error: Exception) -> dict[str, Any]:
    """The members of ErrorDetail for `error`."""
    problem = problem_of(error)
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
    return {"message": message, "type": kind, "param": param, "code": code}
