"""The HTTP API: one application around one service."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.engines.errors import EngineError
from index.documents import NAME_RULE, check_name
from index.errors import InvalidName, StoreUnavailable
from server import installed_version
from server.http import routes_answers, routes_profile
from server.http.bodies import Health, Readiness
from server.http.problems import HANDLED, PROBLEM_RESPONSE, PROBLEM_SCHEMAS, ProblemResponse, problem_of
from server.http.sse import KEEP_ALIVE_S
from server.http.state import State, of
from server.http.wire import JSONBody
from server.mcp.endpoint import MCPEndpoint
from server.openai import routes as routes_openai
from server.service import Service, open_service
from server.settings import Settings

USERS = "/v1/users/"
DOCS_FILES = "/docs/files"
MB = 2**20
READY_S = 10.0
REQUEST_MB = 4
"""The largest body that is not an upload."""

DESCRIPTION = """\
Answers a question *for one person*: it searches that person's own history, reads what it finds, and \
answers with citations of the exact lines.

Every error is a problem (RFC 9457, `application/problem+json`) with a stable `type`; only the routes of \
OpenAI's API answer with errors in OpenAI's shape.
"""
TAGS = [
    {"name": "documents", "description": "What a person's history consists of."},
    {"name": "search", "description": "Finding passages in one person's history."},
    {"name": "answers", "description": "Questions, answered from one person's history."},
    {"name": "openai", "description": "The same answers, in the shape of OpenAI's chat completions."},
    {"name": "users", "description": "All of a person at once."},
    {"name": "operation", "description": "For those who run the service."},
]

_log = logging.getLogger(__name__)


def create_app(
    settings: Settings | None = None, service: Service | None = None, *, keep_alive_s: float = KEEP_ALIVE_S
) -> FastAPI:
    """The application. Without a `service` it opens its own when it starts, and closes it at the end.
    Without `settings` it takes those of the environment, so that any ASGI server can run it as a factory.

    It starts without its database, too, and serves once that is back. Starting raises EncoderMismatch,
    SchemaMismatch and EncoderUnavailable, which do not go away by waiting.
    """
    settings = settings or Settings()
    state = State(keep_alive_s, service)
    mcp = MCPEndpoint(lambda: state.service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        state.opened = opened = service or open_service(settings)
        try:
            try:
                await opened.run(opened.profiles.store.open)
            except StoreUnavailable as error:
                _log.warning("starting without the database: %s", error)
            # Not waited for: an engine may take minutes to start, and /readyz asks again.
            checking = asyncio.create_task(_check_policy(state))
            async with mcp.running():
                yield
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)
        finally:
            if service is None:
                await opened.aclose()

    app = _App(
        title="PR²",
        version=installed_version(),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        responses={"default": dict(PROBLEM_RESPONSE)},
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.mount(DOCS_FILES, StaticFiles(packages=[("fastapi_offline", "static")]))
    app.router.routes.append(mcp.route("/mcp"))
    app.state.pr2 = state
    app.add_middleware(BodyLimit, upload_mb=settings.upload_mb)
    app.add_middleware(NameCheck)
    for error in (*HANDLED, Exception):
        app.add_exception_handler(error, _on_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    for router in (routes_profile.router, routes_answers.router):
        app.include_router(router, prefix=USERS + "{user}")
    app.include_router(routes_openai.router)
    app.include_router(operation)
    return app


async def _check_policy(state: State) -> None:
    try:
        _log.info("the policy is ready: %s", await state.check_policy())
    except EngineError as error:
        _log.warning("the policy is not ready: %s", error)
    except Exception:
        _log.exception("the policy cannot be checked")


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"]["schemas"] |= PROBLEM_SCHEMAS
        return document


operation = APIRouter(tags=["operation"])


@operation.get("/", include_in_schema=False)
async def root() -> RedirectResponse:
    return RedirectResponse("/docs")


@operation.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Swagger UI from our own files: FastAPI's page fetches it from a server on the internet."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="PR²: the API",
        swagger_js_url=f"{DOCS_FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{DOCS_FILES}/swagger-ui.css",
        swagger_favicon_url=f"{DOCS_FILES}/favicon.png",
    )


@operation.get("/healthz", summary="Is the process alive?", responses={200: {"model": Health}})
async def healthz() -> JSONBody:
    return JSONBody({"status": "ok", "version": installed_version()})


@operation.get("/readyz", summary="Can it answer?", responses={200: {"model": Readiness}})
async def readyz(request: Request) -> JSONBody:
    """200 when the database opens and the policy has produced a token; else a 503 that says what fails."""
    state = of(request)
    service = state.service
    await service.run(service.profiles.store.check)
    try:
        # Whoever probes has less patience than an engine that starts.
        async with asyncio.timeout(READY_S):
            engine = await state.check_policy()
    except TimeoutError:
        why = f"the policy has produced no token within {READY_S:g} s; it may still be starting"
        raise EngineError("timeout", why) from None
    encoder = service.profiles.encoder.manifest
    return JSONBody(
        {"status": "ready", "policy": service.policy.name, "engine": engine, "encoder": str(encoder)}
    )


class BodyLimit:
    """Refuses a body that is larger than the server takes: by its length, or where it gets too long.

    FastAPI's own limit does it too, but answers in plain text.
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
    """The one rule for names, on every path under a user.

    It looks at the path before routing changes it: routing sees %2F as a slash and drops a line break at
    the end, so that the id `ana/export`, or `a1` with a line break, would name another resource.
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


async def _on_error(request: Request, error: Exception) -> Response:
    if routes_openai.serves(request.scope["path"]):
        return routes_openai.openai_error(error)
    headers = error.headers if isinstance(error, HTTPException) else None
    return ProblemResponse(problem_of(error), headers)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    # Nobody reads this; without it, a client that leaves would be logged as a fault of ours.
    return Response(status_code=499)
