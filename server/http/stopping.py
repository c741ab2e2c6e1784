"""Ends requests in order when the server stops."""

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.access.guard import route_path
from server.stopping import Stop, Stopping

ALIVE = "/healthz"
"""Path that is served until the end: a process that drains is alive."""


class Stoppable:
    """Refuses new requests while the server drains, and interrupts those whose body is still coming.

    `refuse` gives the response for an error, in the shape of the path's API.
    """

    def __init__(self, app: ASGIApp, stop: Stop, refuse: Callable[[Scope, Exception], Response]) -> None:
        self._app = app
        self._stop = stop
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or route_path(scope) == ALIVE:
            await self._app(scope, receive, send)
        elif self._stop.draining:
            await self._end(scope, receive, send)
        else:
            with self._stop.request():
                await self._run(scope, receive, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        whole = begun = False

        async def receiving() -> Message:
            nonlocal whole
            if whole:
                return await receive()
            try:
                message = await self._stop.unless(receive)
            except Stopping:
                # FastAPI would take any other exception for a body that cannot be read.
                raise asyncio.CancelledError from None
            whole = not message.get("more_body", False)
            return message

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receiving, sending)
        except asyncio.CancelledError:
            # From above, or from the web server, which cancels what does not end by itself.
            if not self._stop.is_now:
                raise
            if not begun:
                await self._end(scope, receive, send)

    async def _end(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._refuse(scope, Stopping())
        response.headers["Connection"] = "close"
        await response(scope, receive, send)
