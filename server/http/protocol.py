"""Connections that no client can hold for nothing: bounds on their number and on how slow a client may be."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Literal, cast

import h11
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from server.http.problems import TooManyConnections, TooSlow
from server.http.settings import ConnectionSettings

Phase = Literal["head", "body", "busy"]
"""Whether a connection waits for the head of a request, for the rest of its body, or not for its client."""
Refuse = Callable[[Scope, Exception], Response]
"""The response for an error, in the shape of the path's API."""


class Connections:
    """All connections of one server. Beyond `limit`, the one that kept the server waiting longest yields."""

    def __init__(self, limit: int, settings: ConnectionSettings, refuse: Refuse) -> None:
        self.settings = settings
        self.refuse = refuse
        self._limit = limit
        self._open: set[LimitedProtocol] = set()
        # Those that wait for their client, the longest silent first.
        self._waiting: OrderedDict[LimitedProtocol, None] = OrderedDict()

    @property
    def has_room(self) -> bool:
        """Whether one more request may be served."""
        return len(self._open) - len(self._waiting) < self._limit

    def add(self, connection: "LimitedProtocol") -> None:
        """Count a new connection. If it is one too many, another one yields."""
        self._open.add(connection)
        self.waits(connection)
        if len(self._open) > self._limit:
            # A client that is not read from is silent through no fault of its own.
            yielding = (other for other in self._waiting if other is not connection and not other.is_paused)
            if (longest_silent := next(yielding, None)) is not None:
                longest_silent.end(TooManyConnections())

    def remove(self, connection: "LimitedProtocol") -> None:
        self._open.discard(connection)
        self.works(connection)

    def waits(self, connection: "LimitedProtocol") -> None:
        """Note that the connection waits for its client, who was not silent until now."""
        self._waiting[connection] = None
        self._waiting.move_to_end(connection)

    def works(self, connection: "LimitedProtocol") -> None:
        """Note that the connection does not wait for its client."""
        self._waiting.pop(connection, None)

    def check(self) -> None:
        """End the connections of clients that are too slow. Call it about once a second."""
        for connection in list(self._open):
            connection.check()


class LimitedProtocol(H11Protocol):
    """A connection whose client must send the heads of its requests in time, and bodies at a lowest rate.

    The server's own keep-alive timeout covers neither the first request nor one that trickles in.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._all = connections
        self._limits = connections.settings
        self._phase: Phase = "head"
        # Beginning of the phase or, in a body, of the time over which the rate is measured.
        self._since = self.loop.time()
        self._received = 0
        # Bytes that the client has not read, and since when nothing has been added to them.
        self._unread: tuple[int, float] | None = None

    @property
    def is_paused(self) -> bool:
        """Whether the server does not read what the client sends."""
        return self.flow.read_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._phase != "busy":
            self._all.waits(self)
        super().data_received(data)

    def handle_events(self) -> None:
        self.app = self.config.loaded_app if self._all.has_room else self._refuse_all
        super().handle_events()
        theirs = self.conn.their_state
        phase: Phase = "head" if theirs is h11.IDLE else "body" if theirs is h11.SEND_BODY else "busy"
        if phase != self._phase:
            self._phase, self._since, self._received = phase, self.loop.time(), 0
            if phase == "busy" or self.transport.is_closing():
                self._all.works(self)
            else:
                self._all.waits(self)

    def check(self) -> None:
        """Close the connection if its client is too slow."""
        now = self.loop.time()
        self._check_reading(now)
        waited = now - self._since
        if self.transport.is_closing():
            return
        if self._phase == "head" and waited >= self._limits.header_timeout_s:
            seconds = f"{self._limits.header_timeout_s:g} s"
            self.end(TooSlow(f"the head was not complete after {seconds} (connections.header_timeout_s)"))
        elif self._phase == "body" and waited >= self._limits.body_timeout_s:
            rate = self._limits.body_bytes_per_s
            if self._received < rate * waited and not self.is_paused:
                self.end(TooSlow(f"the body came at less than {rate} bytes/s (connections.body_bytes_per_s)"))
            self._since, self._received = now, 0

    def _check_reading(self, now: float) -> None:
        """Abort the connection if the client does not read a response that has been written."""
        unread = self.transport.get_write_buffer_size()
        if not unread or not (self.flow.write_paused or self.transport.is_closing()):
            self._unread = None
            return
        before, since = self._unread or (unread, now)
        waited = now - since
        if waited < self._limits.body_timeout_s:
            self._unread = before, since
        elif before - unread < self._limits.body_bytes_per_s * waited:
            self.transport.abort()
        else:
            self._unread = unread, now

    def end(self, error: Exception) -> None:
        """Close the connection; if a request has begun and has no response, `error` is the response."""
        self._all.works(self)
        if self._phase == "body":
            # For the application, the client has left.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if not self.cycle.response_started:
                self._respond(self._all.refuse(cast(Scope, self.scope), error), self.scope["method"])
        elif self.conn.trailing_data[0]:
            self._respond(self._all.refuse({"path": ""}, error))
        self.transport.close()

    def _respond(self, response: Response, method: str = "") -> None:
        headers = [*self.server_state.default_headers, *response.raw_headers, CLOSE_HEADER]
        reason = HTTPStatus(response.status_code).phrase.encode()
        start = h11.Response(status_code=response.status_code, headers=headers, reason=reason)
        body = h11.Data(data=b"" if method == "HEAD" else bytes(response.body))
        for event in (start, body, h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")

    async def _refuse_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._all.refuse(scope, TooManyConnections())
        response.headers["Connection"] = "close"
        await response(scope, receive, send)
