"""Routes of the web page: its files, with the headers that keep foreign code and other hosts out of it.

They hold nobody's data, so they need no token; what they show comes from the API, which does.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import PurePath

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # The browser then refuses to parse any text as markup.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Content-Security-Policy: scripts, styles, images and data from this server alone."""
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Kept by the browser, and compared by ETag each time.
    "Cache-Control": "no-cache",
}
_TYPES: Mapping[str, str] = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"
_BASE = b'<base href="/">'

router = APIRouter(include_in_schema=False)


@cache
def static_files() -> Mapping[str, bytes]:
    """The files of the page by name. Read once: all together they are small."""
    return {
        file.name: file.read_bytes()
        for file in files("server.web.static").iterdir()
        if PurePath(file.name).suffix in _TYPES
    }


@router.get("/")
async def page(request: Request) -> Response:
    # Addresses in the page are relative to the prefix, with or without a slash behind it.
    prefix = escape(str(request.scope.get("root_path", "")))
    body = static_files()[_INDEX].replace(_BASE, f'<base href="{prefix}/">'.encode())
    return _file(request, _INDEX, body)


@router.get("/web/{name}")
async def file(request: Request, name: str) -> Response:
    if name == _INDEX or name not in static_files():
        raise HTTPException(404, "the page has no such file")
    return _file(request, name, static_files()[name])


def _file(request: Request, name: str, body: bytes) -> Response:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {**HEADERS, "ETag": etag}
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if known & {etag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=_TYPES[PurePath(name).suffix])
