"""Errors as RFC 9457 problems: the single table from exception to type and status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException

from agent.engines.errors import EngineError
from index.documents import faults
from index.errors import (
    EncoderMismatch,
    EncoderUnavailable,
    InvalidDocument,
    InvalidName,
    InvalidPeriod,
    SchemaMismatch,
    SpaceUnavailable,
    StoreDamaged,
    StoreFull,
    StoreUnavailable,
    UnknownDocument,
    UnknownRetriever,
    UnknownUser,
    WouldReplace,
)
from server.access.gate import (
    Forbidden,
    ForeignHost,
    ForeignOrigin,
    IdentityConflict,
    MissingUser,
    Unauthorized,
)
from server.answers import AnswerRecord, InvalidFeedback
from server.http.wire import JSONBody
from server.queue import Busy
from server.service import InvalidQuestion, UnknownMethod
from server.stopping import Stopping

RETRY_AFTER_S = 5
"""Seconds after which to retry a 503."""


@dataclass(frozen=True)
class Fault:
    """Fault in one field of a request."""

    field: str
    """Path of the field, like `body.queries.0`."""
    detail: str


@dataclass(frozen=True)
class Problem:
    """Reason why a request was not served. Programs should rely on `type` alone: it never changes."""

    type: str
    title: str
    status: int
    detail: str
    line: int | None = None
    """Line of an upload (item of an array) that is at fault, from 1."""
    errors: Sequence[Fault] | None = None
    finish_reason: str | None = None
    """Finish reason of an answer that failed; the answer is stored under `answer_id`, if there is one."""
    answer_id: str | None = None
    fault: str | None = None
    """Kind of the policy's failure: unavailable, timeout, broken_stream, bad_reply or refused."""
    retry_after_s: int | None = None
    """Seconds after which to retry; also in the header Retry-After."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without members that do not apply."""
        members = {name: value for name, value in vars(self).items() if value is not None}
        if self.errors is not None:
            members["errors"] = [vars(error) for error in self.errors]
        return members


class TooManyConnections(Exception):
    """The server has as many connections as it may."""

    def __init__(self) -> None:
        super().__init__("as many connections as connections.limit allows are open")


class TooSlow(Exception):
    """The client sends its request too slowly; the message names the setting."""


class PolicyFailed(Exception):
    """The policy did not write an answer. The record, which is stored, holds its steps."""

    def __init__(self, record: AnswerRecord) -> None:
        super().__init__(record.trajectory.detail)
        self.record = record


@dataclass(frozen=True)
class _Kind:
    slug: str
    title: str
    status: int

    def problem(self, detail: str) -> Problem:
        return Problem(f"urn:pr2:problem:{self.slug}", self.title, self.status, detail)


_INTERNAL = _Kind("internal", "The server has failed", 500)
_INVALID_REQUEST = _Kind("invalid-request", "The request does not fit the schema", 422)
_WRONG_MEDIA_TYPE = _Kind("unsupported-media-type", "This content type is not accepted", 415)
_POLICY_TIMEOUT = _Kind("policy-timeout", "The policy was silent too long", 504)
_POLICY_FAILED = _Kind("policy-failed", "The policy has failed", 502)

_KINDS: Mapping[type[Exception], _Kind] = {
    InvalidName: _Kind("invalid-name", "The id is not acceptable", 422),
    InvalidDocument: _Kind("invalid-document", "A document does not fit the schema", 422),
    InvalidPeriod: _Kind("invalid-period", "A search cannot be limited to these days", 422),
    WouldReplace: _Kind("would-replace", "Other contents are stored under these ids", 409),
    InvalidQuestion: _Kind("invalid-question", "The question is not acceptable", 422),
    InvalidFeedback: _Kind("invalid-feedback", "The feedback does not fit the answer", 422),
    UnknownMethod: _Kind("unknown-method", "There is no such method", 422),
    UnknownRetriever: _Kind("unknown-retriever", "There is no such retriever", 422),
    UnknownUser: _Kind("unknown-user", "Nothing is stored for this user", 404),
    UnknownDocument: _Kind("unknown-document", "The user has no such item", 404),
    StoreUnavailable: _Kind("store-unavailable", "The database cannot be used now", 503),
    StoreFull: _Kind("store-full", "The disk is full", 503),
    StoreDamaged: _Kind("store-unavailable", "The database cannot be used now", 503),
    SchemaMismatch: _Kind("store-unavailable", "The database cannot be used now", 503),
    EncoderUnavailable: _Kind("encoder-unavailable", "The encoder cannot be used", 503),
    EncoderMismatch: _Kind("encoder-mismatch", "The store was made with another encoder", 503),
    SpaceUnavailable: _Kind("space-unavailable", "The embedding space has no vectors yet", 503),
    ForeignHost: _Kind("foreign-host", "The server is not known under this name", 403),
    ForeignOrigin: _Kind("foreign-origin", "This web page may not call the server", 403),
    Unauthorized: _Kind("unauthorized", "The token is missing or wrong", 401),
    MissingUser: _Kind("missing-user", "The request names no user", 400),
    IdentityConflict: _Kind("identity-conflict", "The request names more than one user", 400),
    Forbidden: _Kind("forbidden", "You have no access to this", 403),
    Busy: _Kind("busy", "Too many requests are waiting", 429),
    EngineError: _Kind("policy-unavailable", "The policy is not ready", 503),
    TooManyConnections: _Kind("too-many-connections", "Too many connections are open", 503),
    TooSlow: _Kind("request-timeout", "The request came too slowly", 408),
    Stopping: _Kind("stopping", "The server is stopping", 503),
}
_HTTP_KINDS: Mapping[int, _Kind] = {
    400: _Kind("bad-request", "The request cannot be read", 400),
    404: _Kind("not-found", "There is nothing at this address", 404),
    405: _Kind("method-not-allowed", "This address does not accept this method", 405),
    413: _Kind("body-too-large", "The body is too large", 413),
    415: _WRONG_MEDIA_TYPE,
}

HANDLED: tuple[type[Exception], ...] = (*_KINDS, PolicyFailed, RequestValidationError, HTTPException)
"""Expected exceptions. Any other is a bug: it is logged, and its text is not sent."""


def problem_of(error: Exception) -> Problem:
    """The problem that describes `error`. Nothing of an unexpected exception is disclosed."""
    match error:
        case PolicyFailed(record=record):
            return _of_policy(record)
        case RequestValidationError():
            return _of_validation(error)
        case HTTPException(status_code=status):
            kind = _HTTP_KINDS.get(status) or _Kind(f"http-{status}", HTTPStatus(status).phrase, status)
            return kind.problem(error.detail)
    for ancestor in type(error).__mro__:
        if ancestor in _KINDS:
            problem = _KINDS[ancestor].problem(str(error))
            match error:
                case InvalidDocument(line=line):
                    return replace(problem, line=line)
                case Busy(retry_after_s=seconds):
                    return replace(problem, retry_after_s=seconds)
            return replace(problem, retry_after_s=RETRY_AFTER_S) if problem.status == 503 else problem
    return _INTERNAL.problem("The fault is in the server's log.")


def _of_policy(record: AnswerRecord) -> Problem:
    trajectory = record.trajectory
    kind = _POLICY_TIMEOUT if trajectory.fault == "timeout" else _POLICY_FAILED
    return replace(
        kind.problem(trajectory.detail),
        finish_reason=trajectory.finish_reason,
        answer_id=record.id if record.stored else None,
        fault=trajectory.fault,
    )


def _of_validation(error: RequestValidationError) -> Problem:
    if isinstance(error.body, bytes):
        # FastAPI leaves a body as bytes when its content type is not JSON.
        return _WRONG_MEDIA_TYPE.problem("send the body as application/json")
    found = [Fault(*fault) for fault in faults(error)]
    for number, fault in enumerate(error.errors()):
        if fault["type"] == "json_invalid":
            why = f"not JSON: {fault['ctx']['error']} at character {fault['loc'][-1]}"
            found[number] = Fault("body", why)
    detail = "; ".join(f"{fault.field}: {fault.detail}" for fault in found)
    return replace(_INVALID_REQUEST.problem(detail), errors=found)


class ProblemResponse(JSONBody):
    """A problem as a response."""

    media_type = "application/problem+json"

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        headers = dict(headers or {})
        if problem.retry_after_s is not None:
            headers["Retry-After"] = str(problem.retry_after_s)
        super().__init__(problem.to_dict(), problem.status, headers)


def _schemas() -> dict[str, Any]:
    schema = TypeAdapter(Problem).json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "Problem": schema}


PROBLEM_SCHEMAS: Mapping[str, Any] = _schemas()
"""For OpenAPI's components: FastAPI would document a problem as plain application/json."""
PROBLEM_RESPONSE: Mapping[str, Any] = {
    "description": "A problem (RFC 9457). Its `type` is a stable URN.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
