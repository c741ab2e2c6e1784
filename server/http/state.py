"""State of one application, and access to it from a request."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection, Request

from server.access.access import Access
from server.access.gate import Gate
from server.service import Service
from server.stopping import Stop


@dataclass
class State:
    """Belongs to one application. `service` is available once the application has started."""

    keep_alive_s: float
    gate: Gate
    opened: Service | None = None
    public_url: str | None = None
    lists_users: bool = False
    """Whether /v1/models lists a model for each user."""
    engine: str | None = None
    """Description of the policy's engine; None until the policy has produced a token."""
    checking: asyncio.Lock = field(default_factory=asyncio.Lock)
    stop: Stop = field(default_factory=Stop)

    @property
    def service(self) -> Service:
        if self.opened is None:
            raise RuntimeError("the application has not started")
        return self.opened

    def access(self, connection: HTTPConnection | None) -> Access:
        """The service for the caller of this request."""
        return Access(self.service, self.gate, self.gate.principal(connection), self.stop)

    async def check_policy(self) -> str:
        """Have the policy produce a token, once; concurrent probes share the attempt.

        Returns the description of its engine. Raises EngineError.
        """
        async with self.checking:
            if self.engine is None:
                self.engine = await self.service.policy.check()
            return self.engine


def public_url(request: Request) -> str:
    """URL under which the caller reaches the application, for links to it.

    Without the setting, it is made from the Host header, which the guard has compared with `allowed_hosts`.
    """
    return of(request).public_url or str(request.base_url).rstrip("/")


def of(request: Request) -> State:
    """The state of the application that serves `request`."""
    return cast(State, request.app.state.pr2)


async def _access_of(request: Request) -> Access:
    return of(request).access(request)


Caller = Annotated[Access, Depends(_access_of)]
"""Parameter of a route that names a user: the service, behind the gate."""
