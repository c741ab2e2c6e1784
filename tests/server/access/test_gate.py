"""No route, tool or resource that names a user gets past a gate that refuses everything."""

from collections.abc import Mapping
from typing import Any, Literal

import httpx
import pytest
from mcp import Client, MCPError, types
from starlette.requests import HTTPConnection

from server.access.access import Access
from server.access.gate import LOCAL, Action, Forbidden, OpenGate, Principal
from server.http.app import create_app
from server.mcp.endpoint import mcp_server
from server.mcp.tools import TOOLS
from tests.server.conftest import MakeService
from tests.server.live import ANA, api_of, serving
from tests.server.mcp.served import said

OPEN = {"/healthz", "/readyz", "/metrics", "/v1/models", "/v1/models/{model}", "/v1/retrievers"}
"""Paths that name no user."""
DOCUMENTS = "/v1/users/{user}/documents"
BODIES: Mapping[str, Any] = {
    DOCUMENTS: ANA,
    "/v1/users/{user}/search": {"queries": ["pears"]},
    "/v1/users/{user}/answers": {"question": "What do I like?"},
    "/v1/users/{user}/answers/{answer_id}/feedback": {"rating": "up"},
    "/v1/chat/completions": {"model": "pr2", "messages": [{"role": "user", "content": "?"}], "user": "ana"},
    "/v1/responses": {"model": "pr2", "input": "?", "user": "ana"},
}
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "search_profile": {"query": "pears"},
    "add_documents": {"documents": ANA},
    "answer_question": {"question": "What do I like?"},
}


class ClosedGate:
    """Refuses everything, and records the checks."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Action, str]] = []

    def principal(self, connection: HTTPConnection | None) -> Principal:
        return Principal("nobody")

    def check(self, principal: Principal, action: Action, user: str) -> None:
        self.asked.append((principal.name, action, user))
        raise Forbidden(f"{principal.name} may not {action} {user}")


@pytest.mark.usefixtures("history")
async def test_every_route_that_names_a_user_is_refused(make_service: MakeService) -> None:
    gate = ClosedGate()
    async with api_of(make_service(), gate=gate) as api:
        document = (await api.client.get("/openapi.json")).json()
        for template, operations in document["paths"].items():
            path = template.format(user="ana", document_id="a1", answer_id="r1", model="pr2")
            for method in operations:
                body = BODIES.get(template) if method in {"post", "put"} else None
                query = {"id": "a1"} if (method, template) == ("delete", DOCUMENTS) else None
                response = await api.client.request(method, path, json=body, params=query)
                if template in OPEN:
                    assert response.status_code == 200, template
                    continue
                assert response.status_code == 403, (method, template, response.text)
                assert gate.asked.pop()[2] == "ana"
                if template in ("/v1/chat/completions", "/v1/responses"):
                    assert response.json()["error"]["code"] == "forbidden"
                else:
                    assert response.headers["content-type"] == "application/problem+json"
                    assert response.json()["type"] == "urn:pr2:problem:forbidden"
        assert not gate.asked
        assert (await api.client.get("/docs")).status_code == 200


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_stream_is_refused_before_it_begins(make_service: MakeService, stream: bool) -> None:
    async with api_of(make_service(), gate=ClosedGate()) as api:
        assert (await api.ask("ana", stream=stream)).status_code == 403
        for path in ("/v1/chat/completions", "/v1/responses"):
            response = await api.client.post(path, json=BODIES[path] | {"stream": stream})
            assert response.status_code == 403


async def test_an_upload_is_refused_before_it_is_read(make_service: MakeService) -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 2**16

    async with api_of(make_service(), gate=ClosedGate()) as api:
        response = await api.client.put(
            "/v1/users/ana/documents", content=endless(), headers={"content-type": "application/x-ndjson"}
        )
    assert response.status_code == 403
    assert read <= 1


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("user", [None, "ana"])
async def test_every_tool_and_resource_is_refused(make_service: MakeService, user: str | None) -> None:
    gate = ClosedGate()
    access = Access(make_service(), gate, gate.principal(None))
    named = {"user": "ana"} if user is None else {}
    uri = "pr2://users/ana/documents/a1" if user is None else "pr2://documents/a1"
    async with Client(mcp_server(lambda connection: access, user), mode="legacy") as client:
        for tool in TOOLS:
            result = await client.call_tool(tool.name, {**ARGUMENTS[tool.name], **named})
            assert result.is_error
            assert "You have no access to this" in said(result)
            assert gate.asked.pop()[2] == "ana"
        with pytest.raises(MCPError, match="You have no access to this") as caught:
            await client.read_resource(uri)
        assert caught.value.code == types.INVALID_PARAMS
    assert gate.asked.pop()[1] == "read"
    assert not gate.asked


def test_the_open_gate_keeps_a_principal_to_its_users() -> None:
    gate = OpenGate()
    assert gate.principal(None) == LOCAL
    gate.check(LOCAL, "erase", "ana")
    some = Principal("clinic", users=frozenset({"ana"}))
    gate.check(some, "read", "ana")
    with pytest.raises(Forbidden, match="clinic"):
        gate.check(some, "read", "ben")


class WatchingGate(OpenGate):
    """Records the paths of the connections whose principal it resolves."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def principal(self, connection: HTTPConnection | None) -> Principal:
        assert connection is not None
        self.paths.append(connection.url.path)
        return LOCAL


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_principal_is_resolved_from_the_connection(
    make_service: MakeService, mode: Literal["auto", "legacy"]
) -> None:
    gate = WatchingGate()
    service = make_service()
    with serving(create_app(service.settings, service, gate=gate)) as url:
        async with Client(f"{url}/mcp", mode=mode) as client:
            found = await client.call_tool("search_profile", {"user": "ana", "query": "pears"})
            assert not found.is_error
        async with httpx.AsyncClient(base_url=url) as http:
            assert (await http.get("/v1/users/ana/documents")).status_code == 200
            assert (await http.get("/healthz")).status_code == 200
    assert gate.paths == ["/mcp", "/v1/users/ana/documents"]
