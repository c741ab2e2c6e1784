"""The guard in front of the whole application: Host, Origin and token, for REST, OpenAI, MCP and CORS alike.

Any web page can make its visitor's browser send requests here, which the Origin header reveals, and by DNS
rebinding read the replies, which the Host header reveals. Both are checked before routing, because a simple
request (a POST without a preflight) would be executed even if CORS then hid the reply from the page.
"""

import hmac
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.access.gate import ForeignHost, ForeignOrigin, Unauthorized
from server.access.patterns import host_allowed, origin_allowed, parse_host, parse_origin

PROBES = frozenset({"/healthz", "/readyz"})
"""Paths for probes, which use any address as the host and have no token."""
STATIC = frozenset({"/", "/docs", "/openapi.json"})
"""Pages that a browser opens without a token, with the files under STATIC_FILES: nobody's data is in them."""
STATIC_FILES = ("/docs/files/", "/web/")
PREFLIGHT_S = 600
"""Seconds for which a browser may keep the reply to a preflight."""

Refuse = Callable[[Scope, Exception], Response]
"""The response for an error, in the shape of the path's API."""


class Guard:
    """Passes on only requests to an allowed host, from an allowed origin, with the token if there is one.

    `hosts` and `origins` are patterns (see `patterns`). The server's own pages are always allowed. Preflights
    of allowed origins are answered here.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Sequence[str], origins: Sequence[str], token: str | None, refuse: Refuse
    ) -> None:
        self._app = app
        self._hosts = [parse_host(host) for host in hosts]
        self._origins = [parse_origin(origin) for origin in origins]
        self._token = token.encode() if token is not None else None
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        app = self._app
        try:
            self._check_host(scope, headers)
            if origin := self._checked_origin(headers):
                send = _readable_by(origin, send)
            if origin and _is_preflight(scope, headers):
                app = _preflight(headers)
            else:
                self._check_token(scope, headers)
        except (ForeignHost, ForeignOrigin, Unauthorized) as error:
            await self._send_refusal(error, scope, receive, send)
            return
        await app(scope, receive, send)

    def _check_host(self, scope: Scope, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if route_path(scope) not in PROBES and not (len(hosts) == 1 and host_allowed(hosts[0], self._hosts)):
            shown = ", ".join(hosts)[:200]
            raise ForeignHost(
                f"the host {shown!r} is not allowed; if it is a name of this server, add it to allowed_hosts"
            )

    def _checked_origin(self, headers: Headers) -> str | None:
        """The allowed origin of the request; None for a program, which sends none."""
        host, origins = headers.get("host", ""), headers.getlist("origin")
        for origin in origins:
            if not origin_allowed(origin, self._origins, host):
                raise ForeignOrigin(
                    f"pages of the origin {origin[:200]!r} (the Origin header) have no access; to let them "
                    "in, add it to allowed_origins"
                )
        return origins[0] if origins else None

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        if self._token is None or _is_open(scope):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            raise Unauthorized(
                "send the server's token as `Authorization: Bearer TOKEN`; pr2's commands and client take it "
                "from PR2_TOKEN"
            )

    async def _send_refusal(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:100]})
            return
        response = self._refuse(scope, error)
        if isinstance(error, Unauthorized):
            response.headers["WWW-Authenticate"] = 'Bearer realm="pr2"'
        await response(scope, receive, send)


def route_path(scope: Scope) -> str:
    """Path below the prefix under which the application is mounted."""
    path, prefix = str(scope["path"]), scope.get("root_path", "")
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def _is_open(scope: Scope) -> bool:
    path = route_path(scope)
    if path in PROBES:
        return True
    reads = scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}
    return reads and (path in STATIC or path.startswith(STATIC_FILES))


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    asks = scope["type"] == "http" and scope["method"] == "OPTIONS"
    return asks and "access-control-request-method" in headers


def _preflight(headers: Headers) -> Response:
    allowed = {
        "Access-Control-Allow-Methods": headers["access-control-request-method"],
        "Access-Control-Max-Age": str(PREFLIGHT_S),
    }
    if requested := headers.get("access-control-request-headers"):
        allowed["Access-Control-Allow-Headers"] = requested
    if headers.get("access-control-request-private-network") == "true":
        allowed["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=204, headers=allowed)


def _readable_by(origin: str, send: Send) -> Send:
    """`send`, with the headers by which the browser lets this page read the response."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "*"
            headers.add_vary_header("Origin")
        await send(message)

    return sending
