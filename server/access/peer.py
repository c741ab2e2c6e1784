"""The address at the other end of the socket, kept before proxy headers replace it."""

from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

_PEER = "pr2.peer"


class KeepPeer:
    """Outermost middleware: remembers the socket's peer, which X-Forwarded-For cannot change."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, _PEER: scope.get("client")}, receive, send)


def peer_of(scope: Scope) -> str | None:
    """IP address of the socket's peer; None if it is unknown.

    Without KeepPeer, another ASGI server may have replaced it with an address from X-Forwarded-For, so a
    request with that header has no known peer.
    """
    forwarded = any(name == b"x-forwarded-for" for name, _ in scope["headers"])
    client = scope[_PEER] if _PEER in scope else None if forwarded else scope.get("client")
    if not client:
        return None
    try:
        address = ip_address(client[0].partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
