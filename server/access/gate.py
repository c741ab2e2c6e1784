"""The gate: resolves who makes a call and decides whether it is allowed.

Keys, tenants and rights belong here. REST, OpenAI, MCP and the command line reach the service only through
`Access`, which asks the gate for each call that names a user.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from starlette.requests import HTTPConnection

Action = Literal["read", "write", "ask", "erase"]
"""Kind of call: read stored data, add or delete documents, ask a question, erase a user."""


class Forbidden(Exception):
    """The principal may not do this to this user's data."""


@dataclass(frozen=True)
class Principal:
    """Who makes a call."""

    name: str
    tenant: str = ""
    users: frozenset[str] | None = None
    """Users whose data the principal may see; None for all."""


LOCAL = Principal("local")
"""Anyone on this machine: over loopback, or on the command line."""


class Gate(Protocol):
    """Resolves principals and checks their calls. See `Access`."""

    def principal(self, connection: HTTPConnection | None) -> Principal:
        """The caller; `connection` is None for a program on this machine. Raises Forbidden."""
        ...

    def check(self, principal: Principal, action: Action, user: str) -> None:
        """Raise Forbidden unless the principal may do this to the user's data."""
        ...


class OpenGate:
    """Takes every caller for LOCAL, and allows everything on the users that a principal may see."""

    def principal(self, connection: HTTPConnection | None) -> Principal:
        return LOCAL

    def check(self, principal: Principal, action: Action, user: str) -> None:
        if principal.users is not None and user not in principal.users:
            raise Forbidden(f"{principal.name} has no access to the user {user!r}")
