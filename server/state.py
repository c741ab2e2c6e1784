"""What the application keeps between requests, and how a request gets at it."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

from starlette.requests import Request

from server.service import Service


@dataclass
class State:
    """Belongs to one application; `service` is set once it has started."""

    keep_alive_s: float
    opened: Service | None = None
    policy_is_ready: bool = False
    checking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def service(self) -> Service:
        if self.opened is None:
            raise RuntimeError("the application has not started")
        return self.opened

    async def check_policy(self) -> None:
        """Have the policy produce a token, once; many probes at a time cost one. Raises PolicyError."""
        async with self.checking:
            if not self.policy_is_ready:
                await self.service.policy.check()
                self.policy_is_ready = True


def of(request: Request) -> State:
    """The state of the application that serves `request`."""
    return cast(State, request.app.state.pr2)
