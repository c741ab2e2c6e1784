"""Checks before routing: the size of the body, and the names in the path."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from index.errors import InvalidName
from index.values import NAME_RULE, check_name
from server.http.problems import ProblemResponse, problem_of

USERS = "/v1/users/"
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


class NameCheck:
    """Applies the rule for names to every path under a user.

    It runs before routing, which decodes %2F to a slash and drops a trailing line break, so that the id
    `ana/export`, or `a1` with a line break, would name another resource.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(USERS):
            try:
                if b"%2f" in scope.get("raw_path", b"").lower() or "\n" in scope["path"]:
                    raise InvalidName(f"an id in this path holds a '/' or a line break: an id is {NAME_RULE}")
                check_name(scope["path"].removeprefix(USERS).partition("/")[0])
            except InvalidName as error:
                await ProblemResponse(problem_of(error))(scope, receive, send)
                return
        await self._app(scope, receive, send)
