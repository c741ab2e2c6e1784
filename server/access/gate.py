"""The gate: resolves who is asking and decides what they may do.

Keys, tenants and rights belong here. Every door of the server (REST, OpenAI, MCP, command line) reaches the
service only through `Access`, which asks the gate once for each call that names a user.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from starlette.requests import HTTPConnection

Action = Literal["read", "write", "ask", "erase"]
"""Kind of a call: read what is stored, add or delete documents, ask a question, erase a user."""


class Forbidden(Exception):
    """The principal may not do this for this user."""


@dataclass(frozen=True)
class Principal:
    """Who makes a call."""

    name: str
    tenant: str = ""
    users: frozenset[str] | None = None
    """The users that the principal may see; None for all."""


LOCAL = Principal("local")
"""Whoever reaches the server over loopback, or runs the program on this machine."""


class Gate(Protocol):
    """Decides about calls. `Access` holds one."""

    def principal(self, connection: HTTPConnection | None) -> Principal:
        """Who makes the request; `connection` is None for a program on this machine. Raises Forbidden."""
        ...

    def check(self, principal: Principal, action: Action, user: str) -> None:
        """Return if the principal may do this for the user; else raise Forbidden."""
        ...


class OpenGate:
    """Lets everyone do everything to the users that they may see, and sees a LOCAL principal in everyone."""

    def principal(self, connection: HTTPConnection | None) -> Principal:
        return LOCAL

    def check(self, principal: Principal, action: Action, user: str) -> None:
        if principal.users is not None and user not in principal.users:
            raise Forbidden(f"{principal.name} has no access to the user {user!r}")
