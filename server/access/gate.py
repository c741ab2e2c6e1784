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


class ForeignHost(Forbidden):
    """The Host header is none of the server's names."""


class ForeignOrigin(Forbidden):
    """The request comes from a web page that may not call the server."""


class Unauthorized(Exception):
    """The request does not bring the server's token."""


class MissingUser(Exception):
    """Nothing says whose history a request is about."""


class IdentityConflict(Exception):
    """A request names more than one user."""


@dataclass(frozen=True)
class Principal:
    """Who makes a call."""

    name: str
    tenant: str = ""
    users: frozenset[str] | None = None
    """Users whose data the principal may see; None for all."""
    user: str | None = None
    """User whom the connection itself names."""
    named_by: str = ""
    """Source of that user: `token` or `header`."""
    default_user: str | None = None
    """User of a request that names nobody."""


LOCAL = Principal("local")
"""Anyone on this machine: over loopback, or on the command line."""


class Gate(Protocol):
    """Resolves principals and checks their calls. See `Access`."""

    def principal(self, connection: HTTPConnection | None) -> Principal:
        """The caller; `connection` is None for a program on this machine. Raises Forbidden."""
        ...

    def check(self, principal: Principal, action: Action, user: str) -> None:
        """Raise Forbidden unless the principal may do this to the user's data.

        Raises IdentityConflict if the connection names another user.
        """
        ...


class OpenGate:
    """Takes every caller for LOCAL, and allows everything on the users that a principal may see."""

    def principal(self, connection: HTTPConnection | None) -> Principal:
        return LOCAL

    def check(self, principal: Principal, action: Action, user: str) -> None:
        if principal.users is not None and user not in principal.users:
            raise Forbidden(f"{principal.name} has no access to the user {user!r}")
        if principal.user is not None and user != principal.user:
            raise IdentityConflict(
                f"the request names the user {user!r}, and its {principal.named_by} {principal.user!r}"
            )
