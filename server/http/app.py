"""The HTTP API: one application around one service."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from agent.engines.errors import EngineError
from index.errors import StoreUnavailable
from server import installed_version
from server.access.gate import Gate
from server.access.guard import Guard, route_path
from server.access.identity import IdentityGate
from server.access.patterns import LOOPBACK
from server.assembly import open_service
from server.http import answers, operation, profiles
from server.http.content_encoding import ContentEncoding
from server.http.middleware import BodyLimit, HeadAsGet
from server.http.observing import Observed, noting_route
from server.http.paths import EncodedPath, allowed_methods
from server.http.problems import HANDLED, PROBLEM_RESPONSE, PROBLEM_SCHEMAS, ProblemResponse, problem_of
from server.http.sse import KEEP_ALIVE_S
from server.http.state import State
from server.http.stopping import Stoppable
from server.mcp.endpoint import MCPEndpoint
from server.openai import errors as errors_openai
from server.openai import routes as routes_openai
from server.service import Service
from server.settings import Settings
from server.web import routes as web

DESCRIPTION = """\
Answers a question *for one person*: it searches that person's own history, reads what it finds, and \
answers with citations of the exact lines.

Every error is a problem (RFC 9457, `application/problem+json`) with a stable `type`; only the routes of \
OpenAI's API answer with errors in OpenAI's shape.
"""
TAGS = [
    {"name": "documents", "description": "The documents of a person's history."},
    {"name": "search", "description": "Passages from one person's history."},
    {"name": "answers", "description": "Questions, answered from one person's history."},
    {
        "name": "openai",
        "description": "The same answers in the shapes of OpenAI's chat completions and responses.",
    },
    {"name": "users", "description": "Everything stored for a person."},
    {"name": "operation", "description": "For operators."},
]

_log = logging.getLogger(__name__)


def create_app(
    settings: Settings | None = None,
    service: Service | None = None,
    *,
    gate: Gate | None = None,
    keep_alive_s: float = KEEP_ALIVE_S,
) -> FastAPI:
    """The application.

    Without `service` it opens its own on startup and closes it on shutdown. Without `settings` it reads the
    environment, so that any ASGI server can run this as a factory. `gate` defaults to IdentityGate.

    It also starts while the database is unavailable, and serves once that is back. Startup raises
    EncoderMismatch, SchemaMismatch, StoreDamaged and EncoderUnavailable, which waiting does not cure.
    """
    settings = settings or Settings()
    state = State(
        keep_alive_s,
        gate or IdentityGate(settings.identity),
        service,
        settings.public_url,
        settings.identity.list_users,
    )
    mcp = MCPEndpoint(state.access, users_named=settings.identity.names_users)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        state.opened = opened = service or open_service(settings)
        try:
            try:
                await opened.run(opened.profiles.store.open)
            except StoreUnavailable as error:
                _log.warning("starting without the database: %s", error)
            # Not awaited: an engine may take minutes to start, and /readyz checks again.
            checking = asyncio.create_task(_check_policy(state))
            async with mcp.running():
                yield
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)
        finally:
            if service is None:
                await opened.aclose()

    app = _App(
        settings,
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
    app.router.routes += [operation.DOCS_FILES, *mcp.routes("/mcp")]
    app.state.pr2 = state
    app.add_middleware(BodyLimit, upload_mb=settings.upload_mb)
    app.add_middleware(ContentEncoding, refuse=error_response)
    app.add_middleware(HeadAsGet)
    for error in (*HANDLED, Exception):
        app.add_exception_handler(error, _on_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    person = "/v1/users/{user:name}"
    routers = ((person, profiles), (person, answers), ("", routes_openai), ("", operation), ("", web))
    for prefix, module in routers:
        app.include_router(module.router, prefix=prefix, dependencies=[Depends(noting_route(prefix))])
    return app


async def _check_policy(state: State) -> None:
    try:
        _log.info("the policy is ready: %s", await state.check_policy())
    except EngineError as error:
        _log.warning("the policy is not ready: %s", error)
    except Exception:
        _log.exception("the policy cannot be checked")


class _App(FastAPI):
    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(**options)
        self._settings = settings

    def build_middleware_stack(self) -> ASGIApp:
        # Outside Starlette's own error handling, so that a page can read every error.
        settings = self._settings
        guard = Guard(
            Stoppable(super().build_middleware_stack(), self.state.pr2.stop, error_response),
            hosts=(*LOOPBACK, *settings.allowed_hosts),
            origins=settings.allowed_origins,
            token=settings.token.get_secret_value() if settings.token else None,
            refuse=error_response,
        )
        return EncodedPath(Observed(guard, self.state.pr2), settings.root_path)

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"]["schemas"] |= PROBLEM_SCHEMAS
        question = document["components"]["schemas"]["AnswerRequestBody"]["properties"]
        for text in (question["question"], question["plan"]["anyOf"][0]):
            text |= {"minLength": 1, "maxLength": self._settings.limits.question_characters}
        if self._settings.token:
            document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"token": []}]
        return document


async def _on_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        # A router names the methods of one route only, and several may share a path.
        allow = {"Allow": allowed_methods(request.app.routes, request.scope)}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=allow)
        error.headers = allow
    return error_response(request.scope, error)


def error_response(scope: Scope, error: Exception) -> Response:
    """The response for an error, in the shape of the API that the path belongs to."""
    if errors_openai.serves(route_path(scope)):
        return errors_openai.openai_error(error)
    headers = error.headers if isinstance(error, HTTPException) else None
    return ProblemResponse(problem_of(error), headers)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    # Nobody reads this; without it, a disconnect would be logged as an internal error.
    return Response(status_code=499)
