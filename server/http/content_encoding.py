"""Compressed request bodies: decoded as they arrive, in pieces of bounded size."""

import zlib
from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE = 2**16
"""Most bytes that are decoded at once, so that the limit on bodies is noticed before memory is used."""
_ENCODINGS = ("gzip", "x-gzip", "deflate")
ACCEPTED = "gzip, deflate"


class ContentEncoding:
    """Decodes bodies with a Content-Encoding; an unknown one is refused with 415 and Accept-Encoding.

    What is inside sees the decoded body, without the header. Reading a body that is not what the header says
    raises HTTPException(400).
    """

    def __init__(self, app: ASGIApp, refuse: Callable[[Scope, Exception], Response]) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).getlist("content-encoding") if scope["type"] == "http" else []
        encoding = ", ".join(given).strip().lower()
        if encoding in {"", "identity"}:
            await self._app(scope, receive, send)
        elif encoding in _ENCODINGS:
            headers = MutableHeaders(raw=list(scope["headers"]))
            del headers["content-encoding"], headers["content-length"]
            decoded = _Decoded(receive, encoding)
            await self._app({**scope, "headers": headers.raw}, decoded.receive, send)
        else:
            error = HTTPException(
                415,
                f"the content encoding {encoding[:60]!r} is not accepted; send {ACCEPTED} or none",
                {"Accept-Encoding": ACCEPTED},
            )
            await self._refuse(scope, error)(scope, receive, send)


class _Decoded:
    """The messages of `receive` with their bodies decoded, at most PIECE bytes in each."""

    def __init__(self, receive: Receive, encoding: str) -> None:
        self._receive = receive
        self._encoding = encoding
        self._member: Any = None
        """The decoder, once there is something to decode."""
        self._rest = b""
        """Received, and not decoded yet."""
        self._cut = False
        """Whether the last piece was cut at its limit; there may be more of it without further input."""
        self._more = True
        """Whether the client has yet to send something."""
        self._ended = False

    async def receive(self) -> Message:
        while not self._ended:
            if not (self._rest or self._cut) and self._more:
                message = await self._receive()
                if message["type"] != "http.request":
                    return message
                self._rest, self._more = message.get("body", b""), message.get("more_body", False)
            try:
                piece = self._decode()
            except zlib.error as error:
                raise HTTPException(400, f"the body is not {self._encoding}: {error}") from None
            self._ended = not (self._rest or self._cut or self._more)
            if piece or self._ended:
                return {"type": "http.request", "body": piece, "more_body": not self._ended}
        # Behind the body comes the news that the client has left.
        return await self._receive()

    def _decode(self) -> bytes:
        if self._rest and (self._member is None or self._member.eof):
            self._member = self._next_member()
        if self._member is None:
            return b""
        piece: bytes = self._member.decompress(self._rest, PIECE)
        self._rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        self._cut = len(piece) == PIECE and not self._member.eof
        if not (self._rest or self._cut or self._more or self._member.eof):
            raise zlib.error("it ends too early")
        return piece

    def _next_member(self) -> Any:
        if self._encoding != "deflate":
            # A file of gzip may have several members, one behind the other.
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        if self._member is not None:
            raise zlib.error("it goes on behind its end")
        # By RFC 9110 it begins with zlib's header, whose low four bits are 8. Some clients leave the header
        # out; their first byte has other bits there.
        has_header = self._rest[0] & 0x0F == 8
        return zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
