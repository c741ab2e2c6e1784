"""The web server: uvicorn with bounds on connections, and a stop that ends every request in its own form."""

import asyncio
import functools
import resource
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from server.access.peer import KeepPeer
from server.http.app import error_response
from server.http.protocol import Connections, LimitedProtocol
from server.settings import Settings
from server.stopping import Stop

LAST_S = 1
"""Seconds that interrupted requests have to send their last words."""
ACCEPTED = 32
"""Connections accepted at a time, before any of them is looked at. Each holds a file descriptor meanwhile."""
RESERVED = 192
"""File descriptors kept for the database's threads, temporary files and two rounds of accepting."""
MOST = 10_000
"""Bound on the default limit of connections: each takes some 20 KB."""


class TooFewDescriptors(ValueError):
    """The process may open fewer files than the settings need; the message says how many."""


def connection_limit(settings: Settings) -> int:
    """Most connections at once. Raises TooFewDescriptors if the set limit is out of reach."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return settings.connections.limit or MOST
    # Each answer in progress may hold a connection to the engine.
    available = max(descriptors - RESERVED - settings.limits.concurrency, descriptors // 4)
    limit = settings.connections.limit or min(available, MOST)
    if limit > available:
        raise TooFewDescriptors(
            f"connections.limit is {limit}, and {descriptors} file descriptors leave {available} for "
            "connections; lower it, or raise the limit on open files (ulimit -n)"
        )
    return limit


class Server(uvicorn.Server):
    """Serves `app` until a signal. Then requests in progress have a grace period, which a second signal ends.

    `stop` is the application's own. `started` is called once connections are accepted. Raises
    TooFewDescriptors.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, stop: Stop, started: Callable[[], None] = lambda: None
    ) -> None:
        self._connections = Connections(connection_limit(settings), settings.connections, error_response)
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
