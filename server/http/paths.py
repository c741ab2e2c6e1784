"""Paths as they were sent: ids may hold any printable character, a slash (%2F) included.

An ASGI server decodes the path before the application sees it, so that the document `a/b` and the address
`a` with something below it look alike. Here routes match the encoded path, and their parameters are decoded
one by one.
"""

from typing import Annotated, Any
from urllib.parse import quote, unquote, unquote_to_bytes

from fastapi import Path, Query
from pydantic import WithJsonSchema
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from index.errors import InvalidName
from index.values import NAME_RULE, NAME_SCHEMA, check_name

METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")


class EncodedPath:
    """Makes `scope["path"]` the percent-encoded path, in one spelling and always below the prefix.

    The prefix is `root_path` or, without one, what the ASGI server says. A proxy may strip it or leave it;
    ASGI's rule is that the path contains it.
    """

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            prefix = self._root_path or scope.get("root_path", "")
            scope = {**scope, "root_path": prefix, "path": _encoded(scope, prefix)}
        await self._app(scope, receive, send)


def _encoded(scope: Scope, prefix: str) -> str:
    # A server that does not tell the path as it was sent cannot route an id with a slash; the rest works.
    sent: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    # Encoded again, so that every spelling (%61 for a, %2f for %2F) is one.
    path = "/".join(quote(unquote_to_bytes(segment), safe="") for segment in sent.split(b"/"))
    if path.startswith(f"{prefix}/"):
        return path
    return f"{prefix}/" if path == prefix else f"{prefix}{path}"


def allowed_methods(routes: list[BaseRoute], scope: Scope) -> str:
    """The value of the header Allow for the path: every method that one of the routes serves."""
    # Inside a mount, root_path is the mount's.
    scope = {**scope, "root_path": scope.get("app_root_path", scope.get("root_path", ""))}
    # A mount matches every method; ours holds files.
    served = [
        method
        for method in METHODS
        if any(
            route.matches({**scope, "method": method})[0] is Match.FULL
            for route in routes
            if method == "GET" or not isinstance(route, Mount)
        )
    ]
    return ", ".join([*served, *(["HEAD"] if "GET" in served else []), "OPTIONS"])


class _Segment(Convertor[str]):
    """One segment of the path, decoded. Raises InvalidName if it is not UTF-8."""

    regex = "[^/]*"

    def convert(self, value: str) -> str:
        try:
            return unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise InvalidName(f"{value[:60]!r} in the path is not UTF-8, percent-encoded") from None

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


class _Name(_Segment):
    """A user or another name in the middle of a path. Raises InvalidName."""

    def convert(self, value: str) -> str:
        return check_name(super().convert(value))


class _LastName(_Name):
    """A name at the end of a path. A slash that is not encoded is refused with advice."""

    regex = ".*"

    def convert(self, value: str) -> str:
        if "/" in value:
            # Not taken as part of the name: whatever decoded it may also have merged `//` or resolved `..`.
            raise InvalidName(
                f"the path goes on behind {value.partition('/')[0][:60]!r}: write a slash in an id as %2F "
                "or, behind a proxy that decodes it, name the document with documents?id=ID"
            )
        return super().convert(value)


for name, convertor in {"segment": _Segment(), "name": _Name(), "last_name": _LastName()}.items():
    register_url_convertor(name, convertor)


def _documented(parameter: Any, what: str) -> Any:
    # The convertors check; the rule is repeated in the OpenAPI document only.
    return parameter(description=f"{what}: {NAME_RULE}.", json_schema_extra=NAME_SCHEMA)


UserPath = Annotated[str, _documented(Path, "Id of the user")]
DocumentPath = Annotated[str, _documented(Path, "Id of the document, percent-encoded, `/` too")]
AnswerPath = Annotated[str, _documented(Path, "Id of the answer")]
ModelPath = Annotated[str, Path(description="Id of the model, percent-encoded")]
# A list, so that a second id is noticed and refused.
_Ids = list[Annotated[str, WithJsonSchema(NAME_SCHEMA)]]
_QUERY = Query(
    alias="id",
    min_length=1,
    max_length=1,
    description="Id of the one document: the same as its path, for use behind proxies that decode %2F.",
)
DocumentQuery = Annotated[_Ids, _QUERY]
OptionalDocumentQuery = Annotated[_Ids | None, _QUERY]
