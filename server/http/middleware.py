"""Work before routing: the size of the body, and HEAD for every GET."""

from anyio import CancelScope
from anyio.lowlevel import checkpoint
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MB = 2**20
REQUEST_MB = 4
"""Largest body that is not an upload, in MiB."""


class BodyLimit:
    """Refuses a body over the limit: by its declared length, or when too much has been received.

    Not Starlette's RequestBodyLimitMiddleware: it answers in plain text instead of a problem.
    """

    def __init__(self, app: ASGIApp, upload_mb: int) -> None:
        self._app = app
        self._upload_mb = upload_mb

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit_mb = self._upload_mb if scope["method"] == "PUT" else REQUEST_MB
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        received = int(declared) if declared.isdigit() else 0
        too_large = received > limit_mb * MB
        received = 0

        async def limited() -> Message:
            nonlocal received, too_large
            if not too_large:
                message = await receive()
                received += len(message.get("body", b""))
                too_large = received > limit_mb * MB
            if too_large:
                raise HTTPException(413, f"the body is larger than {limit_mb} MB, the limit")
            return message

        await self._app(scope, limited, send)


class HeadAsGet:
    """Answers a HEAD like the GET, without the body: the work ends where the body would begin."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        with CancelScope() as body:

            async def send_head(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    return
                await send({"type": "http.response.body"})
                # An export would go on reading a whole profile.
                body.cancel()
                await checkpoint()

            await self._app({**scope, "method": "GET"}, receive, send_head)
