"""Host and Origin headers, and the patterns of those that are allowed.

A host is `name` (any port) or `name:port`; an origin is `scheme://host[:port]`, with the port exactly as
browsers send it. In both, `*` stands for any host or port, and `*.name` for every subdomain.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine: no other site's name resolves to them in a browser."""
LOOPBACK_ORIGINS = tuple(f"{scheme}://{host}:*" for scheme in ("http", "https") for host in LOOPBACK)

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\s\x00-\x20/\\@?#:,\[\]]*)(?::(\d{1,5}|\*))?", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_PORTS = {"http": "80", "https": "443"}


class Authority(NamedTuple):
    """Host in lower case, and port; the port is empty if omitted."""

    host: str
    port: str


class Origin(NamedTuple):
    """Scheme and authority; an opaque origin (`null`) has no scheme."""

    scheme: str
    authority: Authority


def parse_host(text: str) -> Authority:
    """Parse a Host header or a pattern of one. Raises ValueError."""
    match = _AUTHORITY.fullmatch(text)
    if match is None or not match[1]:
        raise ValueError(f"{text!r} is not a host: write name, name:port, *.name or *")
    return Authority(match[1].lower(), match[2] or "")


def parse_origin(text: str) -> Origin:
    """Parse an Origin header or a pattern of one. Raises ValueError."""
    if text == "null":
        return Origin("", Authority("null", ""))
    if text == "*":
        return Origin("*", Authority("*", "*"))
    scheme = _SCHEME.match(text)
    match = _AUTHORITY.fullmatch(text, scheme.end()) if scheme else None
    if scheme is None or match is None:
        raise ValueError(
            f"{text!r} is not an origin: write scheme://host, scheme://host:port, scheme://* or *"
        )
    return Origin(scheme[1].lower(), Authority(match[1].lower(), match[2] or ""))


def host_allowed(host: str, patterns: Iterable[Authority]) -> bool:
    """Whether a Host header matches one of the patterns."""
    try:
        given = parse_host(host)
    except ValueError:
        return False
    return any(_matches(given, pattern, any_port=("", "*")) for pattern in patterns)


def origin_allowed(origin: str, patterns: Iterable[Origin], host: str = "") -> bool:
    """Whether an Origin header matches one of the patterns, or is the origin of `host`, the Host header."""
    try:
        given = parse_origin(origin)
    except ValueError:
        return False
    if _is_own(given, host):
        return True
    return any(
        pattern.scheme in {"*", given.scheme}
        and _matches(given.authority, pattern.authority, any_port=("*",))
        for pattern in patterns
    )


def _matches(given: Authority, pattern: Authority, any_port: tuple[str, ...]) -> bool:
    if pattern.port not in any_port and pattern.port != given.port:
        return False
    if pattern.host in {"*", given.host}:
        return True
    return pattern.host.startswith("*.") and given.host.endswith(pattern.host[1:])


def _is_own(origin: Origin, host: str) -> bool:
    # Behind a proxy that ends TLS, the page's scheme is https and ours is not: the origin's scheme counts.
    default = _PORTS.get(origin.scheme)
    try:
        name, port = parse_host(host)
    except ValueError:
        return False
    same_port = (origin.authority.port or default) == (port or default)
    return default is not None and origin.authority.host == name and same_port
