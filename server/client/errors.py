"""The client's one exception, and its construction from replies."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class ApiError(Exception):
    """A failed request. The message is the problem document's `detail`, or says why there was no reply.

    `status` is None if there was no reply, or one that could not be understood.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        kind: str = "about:blank",
        line: int | None = None,
        answer_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.type = kind
        self.line = line
        self.answer_id = answer_id
        """Id under which a failed answer is stored."""


def problem(data: Any, status: int | None = None) -> ApiError:
    """The error that a problem document (RFC 9457) describes."""
    return ApiError(
        data.get("detail") or data["title"],
        status=data.get("status", status),
        kind=data.get("type", "about:blank"),
        line=data.get("line"),
        answer_id=data.get("answer_id"),
    )


def refusal(status: int, body: bytes) -> ApiError:
    """The error of a reply with this status."""
    try:
        return problem(json.loads(body), status)
    except (ValueError, KeyError, AttributeError):
        return ApiError(f"the server answered with status {status}", status=status)


@contextmanager
def understood() -> Iterator[None]:
    """Raise ApiError when a reply does not have the shape of a pr2 server's."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ApiError(
            f"the server's reply is not understood ({type(error).__name__}: {error}); is it a pr2 server?"
        ) from error
