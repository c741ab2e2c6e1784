"""Who asks: the one place that joins what token, trusted header and request say about the user."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote

from starlette.requests import HTTPConnection

from index.values import check_name
from server.access.gate import LOCAL, Forbidden, IdentityConflict, MissingUser, OpenGate, Principal
from server.access.peer import peer_of
from server.access.settings import IdentitySettings


@dataclass(frozen=True)
class Identity:
    """The user of a request."""

    user: str
    named_by: str
    """Source of the user: `token`, `header`, `default`, or a field of the request."""

    def headers(self) -> dict[str, str]:
        """Response headers that report it; the id is percent-encoded."""
        return {"PR2-User": quote(self.user, safe=""), "PR2-User-From": self.named_by}


def identify(principal: Principal, named: Mapping[str, str | None]) -> Identity:
    """The user whom the principal's connection and the request's fields name. Blank fields name nobody.

    Raises Forbidden for a user outside the principal's, IdentityConflict if two different users are named,
    MissingUser if nobody is, and InvalidName.
    """
    given = {principal.named_by: principal.user, **named}
    claims = {place: user for place, user in given.items() if user and user.strip()}
    for user in claims.values():
        check_name(user)
        if principal.users is not None and user not in principal.users:
            raise Forbidden(f"{principal.name} has no access to the user {user!r}")
    if len(set(claims.values())) > 1:
        raise IdentityConflict(
            "the request must name one user: "
            + ", ".join(f"{place} is {user!r}" for place, user in claims.items())
        )
    for place, user in claims.items():
        return Identity(user, place)
    if principal.default_user is not None:
        return Identity(principal.default_user, "default")
    raise MissingUser(
        "user is missing: it names the person whose history is searched; send it, or set "
        "identity.default_user or identity.header on the server"
    )


class IdentityGate(OpenGate):
    """Resolves principals by the settings. The token itself was checked by the guard."""

    def __init__(self, settings: IdentitySettings) -> None:
        self._settings = settings

    def principal(self, connection: HTTPConnection | None) -> Principal:
        """See Gate. Raises Forbidden for a trusted header that an untrusted address sends."""
        if connection is None:
            return LOCAL
        settings = self._settings
        users = None if settings.user is None else frozenset({settings.user})
        user, named_by = settings.user, "token"
        if named := self._header(connection):
            if users is not None and named not in users:
                raise Forbidden(f"the token has no access to the user {named!r}")
            user, named_by = named, "header"
        return Principal(
            "local" if users is None else "the token",
            users=users,
            user=user,
            named_by=named_by,
            default_user=settings.default_user,
        )

    def _header(self, connection: HTTPConnection) -> str | None:
        header = self._settings.header
        values = set(connection.headers.getlist(header)) if header else set()
        if not values:
            return None
        peer = peer_of(connection.scope)
        if peer is None or not any(
            ip_address(peer) in network for network in self._settings.trusted_addresses
        ):
            raise Forbidden(
                f"the header {header} is accepted only from identity.trusted_addresses, which does not "
                f"contain {peer or 'the address of this connection, which is unknown'}"
            )
        if len(values) > 1:
            raise IdentityConflict(f"the header {header} is sent more than once, with different values")
        # Starlette decodes headers as Latin-1; programs send UTF-8.
        return check_name(values.pop().encode("latin-1").decode("utf-8", "replace"))
