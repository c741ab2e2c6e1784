"""Observes every request from outside: an id for the logs, and its route, status and time for the metrics."""

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPMethod
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.access.guard import route_path
from server.logs import FIELDS, REQUESTS, request_id

if TYPE_CHECKING:
    from server.http.state import State

REQUEST_ID = "X-Request-Id"
OTHER = "other"
"""In place of a path that no route serves and of an unknown method, whose texts are the client's."""
NO_RESPONSE = 499
"""Status of a request whose client left before there was a response."""
MOUNTED = ("/mcp", "/docs/files")
"""Paths with applications below them."""

_log = logging.getLogger(REQUESTS)
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset(HTTPMethod)
_SEEN = "pr2.seen"


@dataclass
class _Seen:
    route: str = ""
    status: int = NO_RESPONSE


def noting_route(prefix: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency of the routes below a prefix: tells Observed which one it is.

    Middleware may have copied the scope, in which Starlette notes the route, without the prefix.
    """

    async def note(request: Request) -> None:
        if (seen := request.scope.get(_SEEN)) is not None:
            seen.route = f"{prefix}{request.scope['route'].path}"

    return note


class Observed:
    """Gives every request an id, its own if it brings an acceptable one, and counts its response."""

    def __init__(self, app: ASGIApp, state: "State") -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        own = given if _ID.fullmatch(given) else uuid.uuid4().hex
        seen, began = _Seen(), time.monotonic()

        async def observing(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = own
            await send(message)

        token = request_id.set(own)
        try:
            await self._app({**scope, _SEEN: seen}, receive, observing)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else OTHER
            route = seen.route or _mounted(route_path(scope))
            self._finished(method, route, seen.status, time.monotonic() - began)
            request_id.reset(token)

    def _finished(self, method: str, route: str, status: int, seconds: float) -> None:
        if self._state.opened is not None:
            self._state.service.metrics.responded(method, route, status, seconds)
        fields = {"method": method, "route": route, "status": status, "ms": round(seconds * 1e3, 1)}
        _log.info("request", extra={FIELDS: fields})


def _mounted(path: str) -> str:
    return next((mount for mount in MOUNTED if path == mount or path.startswith(f"{mount}/")), OTHER)
