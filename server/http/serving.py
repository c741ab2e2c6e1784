"""The web server: uvicorn with bounds on connections, and a stop that ends every request in its own form."""

import asyncio
import functools
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from server.access.peer import KeepPeer
from server.http.app import error_response
from server.http.descriptors import ACCEPTED
from server.http.protocol import Connections, LimitedProtocol
from server.settings import Settings
from server.stopping import Stop

LAST_S = 1
"""Seconds that interrupted requests have to send their last words."""


class Server(uvicorn.Server):
    """Serves `app` until a signal. Then requests in progress have a grace period, which a second signal ends.

    `stop` is the application's own, `limit` the most connections at once. `started` is called once
    connections are accepted.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, limit: int, stop: Stop, started: Callable[[], None]
    ) -> None:
        self._connections = Connections(limit, settings.connections, error_response)
        config = uvicorn.Config(
            app,
            http=functools.partial(LimitedProtocol, connections=self._connections),  # type: ignore[arg-type]
            ws="none",
            backlog=ACCEPTED,
            lifespan="on",
            log_config=None,
            timeout_graceful_shutdown=LAST_S,
        )
        config.load()
        # Around uvicorn's own middleware, which replaces the peer by what X-Forwarded-For says.
        config.loaded_app = KeepPeer(config.loaded_app)
        super().__init__(config)
        self._stop = stop
        self._grace_s = settings.grace_s
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for listener in sockets or ():
            # The system may hold more than are accepted at a time.
            listener.listen(socket.SOMAXCONN)
        self._started()

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # once a second
            self._connections.check()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._stop.drain(self._grace_s)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            # From a signal handler, only this wakes the loop.
            self._loop.call_soon_threadsafe(self._stop.now)
        else:
            super().handle_exit(sig, frame)
