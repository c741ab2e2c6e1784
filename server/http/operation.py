"""Routes for operators: liveness, readiness and the API's documentation."""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from prometheus_client.exposition import choose_encoder
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from agent.engines.errors import EngineError
from agent.trajectory import AUTO
from index.ranking.retrievers import DEFAULT
from server import installed_version
from server.http.bodies import Health, Readiness, RetrieverNames
from server.http.state import of
from server.http.wire import JSONBody

DOCS_FILES = Mount("/docs/files", StaticFiles(packages=[("fastapi_offline", "static")]))
"""Static files of Swagger UI: the only part of fastapi-offline that is used."""
READY_S = 10.0

router = APIRouter(tags=["operation"])


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Swagger UI from local files: FastAPI's own page loads it from a CDN."""
    prefix = _prefix(request)
    files = f"{prefix}{DOCS_FILES.path}"
    return get_swagger_ui_html(
        openapi_url=f"{prefix}/openapi.json",
        title="PR²: the API",
        swagger_js_url=f"{files}/swagger-ui-bundle.js",
        swagger_css_url=f"{files}/swagger-ui.css",
        swagger_favicon_url=f"{files}/favicon.png",
    )


def _prefix(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


@router.get("/v1/retrievers", summary="List the retrievers", responses={200: {"model": RetrieverNames}})
async def retrievers(request: Request) -> JSONBody:
    """The retrievers that a search can name, and the one that it uses if it names none."""
    service = of(request).service
    default = service.settings.retriever
    return JSONBody(
        {
            "retrievers": service.profiles.retrievers.names,
            "default": DEFAULT if default == AUTO else default,
        }
    )


@router.get("/healthz", summary="Is the process alive?", responses={200: {"model": Health}})
async def healthz() -> JSONBody:
    return JSONBody({"status": "ok", "version": installed_version()})


@router.get("/readyz", summary="Can it answer?", responses={200: {"model": Readiness}})
async def readyz(request: Request) -> JSONBody:
    """200 once the database opens and the policy has produced a token; until then a 503 with the cause."""
    state = of(request)
    service = state.service
    await service.run(service.profiles.store.check)
    try:
        # Probes time out sooner than an engine starts.
        async with asyncio.timeout(READY_S):
            engine = await state.check_policy()
    except TimeoutError:
        why = f"the policy has produced no token within {READY_S:g} s; it may still be starting"
        raise EngineError("timeout", why) from None
    encoder = service.profiles.encoder.manifest
    body: dict[str, Any] = {
        "status": "ready",
        "policy": service.policy.name,
        "engine": engine,
        "encoder": str(encoder),
    }
    if service.reranking is not None:
        body |= {"reranker": service.reranking.reranker.name, "reranking": vars(service.reranking.counts)}
    if service.expanding is not None:
        body |= {"expander": service.expanding.expander.name, "expanding": vars(service.expanding.counts)}
    return JSONBody(body)


@router.get("/metrics", summary="Counts and times for Prometheus", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """No label holds a user, an id or a text of theirs. With `metrics_port`, they are there instead."""
    service = of(request).service
    if service.settings.metrics_port is not None:
        raise HTTPException(404, "the metrics have a port of their own (metrics_port)")
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(service.metrics.registry), headers={"Content-Type": content_type})
