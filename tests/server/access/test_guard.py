"""The guard: which hosts, pages and tokens get through to the API, on every path alike."""

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Scope

from server.access.guard import Guard
from server.access.patterns import LOOPBACK, LOOPBACK_ORIGINS
from tests.server.conftest import MakeService
from tests.server.live import api_of

EXPORT = "/v1/users/ana/export"
CHAT = {"model": "pr2", "messages": [{"role": "user", "content": "?"}], "user": "ana"}
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"accept": "application/json, text/event-stream"}
CALLS: list[tuple[str, str, Any]] = [
    ("GET", EXPORT, None),
    ("DELETE", "/v1/users/ana", None),
    ("PUT", "/v1/users/ana/documents", [{"id": "evil", "text": "planted"}]),
    ("POST", "/v1/users/ana/answers", {"question": "What do I like?"}),
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/v1/responses", {"model": "pr2", "input": "?", "user": "ana"}),
    ("GET", "/v1/models", None),
    ("POST", "/mcp", LIST_TOOLS),
    ("GET", "/nowhere", None),
]
"""One call of every interface."""

pytestmark = pytest.mark.usefixtures("history")


def kind_of(response: httpx.Response) -> str:
    body = response.json()
    return str(body["error"]["code"] if "error" in body else body["type"].rpartition(":")[2])


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"host": "evil.example:9101"}, "foreign-host"),
        ({"host": "localhost.evil.example"}, "foreign-host"),
        ({"host": "evil.example", "origin": "http://evil.example"}, "foreign-host"),
        ({"host": "localhost:9101", "origin": "https://evil.example"}, "foreign-origin"),
        ({"host": "localhost:9101", "origin": "null"}, "foreign-origin"),
    ],
)
async def test_foreign_hosts_and_pages_reach_nothing(
    make_service: MakeService, headers: dict[str, str], kind: str
) -> None:
    async with api_of(make_service()) as api:
        for method, path, body in CALLS:
            response = await api.client.request(method, path, json=body, headers=headers | ACCEPT)
            assert (response.status_code, kind_of(response)) == (403, kind)
            assert "access-control-allow-origin" not in response.headers
            if not path.startswith(("/v1/chat", "/v1/models", "/v1/responses")):
                assert response.headers["content-type"] == "application/problem+json"
        stored = (await api.client.get("/v1/users/ana/documents")).json()["documents"]
        assert [document["id"] for document in stored] == ["a1", "a2", "a3"]


async def test_a_simple_request_of_a_foreign_page_is_not_executed(make_service: MakeService) -> None:
    async with api_of(make_service()) as api:
        headers = {"origin": "https://evil.example", "content-type": "text/plain", "host": "localhost"}
        response = await api.client.post("/v1/users/ana/search", content="{}", headers=headers)
    assert (response.status_code, kind_of(response)) == (403, "foreign-origin")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_may_use_any_host(make_service: MakeService, path: str) -> None:
    async with api_of(make_service(token="secret")) as api:
        response = await api.client.get(path, headers={"host": "10.1.2.3:8000"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:9101", "http://localhost:6274", 200),
        ("localhost:9101", "http://127.0.0.1", 200),
        ("[::1]:9101", "https://[::1]:8443", 200),
        ("127.0.0.1:9101", "http://127.0.0.1:9101", 200),
        ("pr2.example", "https://pr2.example", 200),
        ("pr2.example:9101", "http://pr2.example:9101", 200),
        ("pr2.example", "app://obsidian.md", 200),
        ("pr2.example", "vscode-webview://0a1b2c", 200),
        ("pr2.example", "https://evil.example", 403),
        ("pr2.example", "http://localhost.evil.example", 403),
        ("pr2.example", "http://localhost:1@evil.example", 403),
        ("pr2.example", "null", 403),
    ],
)
@pytest.mark.parametrize(("method", "path", "body"), [CALLS[0], CALLS[4], CALLS[6], CALLS[7]])
async def test_every_interface_lets_in_the_same_pages(
    make_service: MakeService, method: str, path: str, body: Any, host: str, origin: str, status: int
) -> None:
    allowed = ["http://localhost:*", "http://127.0.0.1:*", "https://[::1]:*"]
    service = make_service(
        allowed_hosts=["pr2.example"], allowed_origins=[*allowed, "app://obsidian.md", "vscode-webview://*"]
    )
    headers = {"host": host, "origin": origin, **ACCEPT}
    async with api_of(service) as api, api.app.router.lifespan_context(api.app):
        response = await api.client.request(method, path, json=body, headers=headers)
        asks = headers | {"access-control-request-method": method}
        preflight = await api.client.options(path, headers=asks)
    assert response.status_code == status
    assert response.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
    assert preflight.status_code == (204 if status == 200 else 403)


async def test_a_preflight_is_answered_without_a_token(make_service: MakeService) -> None:
    headers = {
        "host": "localhost",
        "origin": "http://localhost:5173",
        "access-control-request-method": "DELETE",
        "access-control-request-headers": "authorization,content-type",
        "access-control-request-private-network": "true",
    }
    async with api_of(make_service(token="secret")) as api:
        response = await api.client.options("/v1/users/ana", headers=headers)
        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["access-control-allow-methods"] == "DELETE"
        assert response.headers["access-control-allow-headers"] == "authorization,content-type"
        assert response.headers["access-control-allow-private-network"] == "true"
        assert response.headers["vary"] == "Origin"
        # A page can read why it was refused.
        response = await api.client.get(EXPORT, headers={"host": "localhost", "origin": headers["origin"]})
        assert (response.status_code, kind_of(response)) == (401, "unauthorized")
        assert response.headers["access-control-allow-origin"] == headers["origin"]


async def test_a_program_gets_no_headers_for_pages(make_service: MakeService) -> None:
    async with api_of(make_service()) as api:
        response = await api.client.get(EXPORT)
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("access-control") or name == "vary"]


@pytest.mark.parametrize(
    "given", [None, "Bearer wrong", "Bearer secret2", "Basic secret", "secret", "Bearer é"]
)
async def test_nothing_is_served_without_the_token(make_service: MakeService, given: str | None) -> None:
    headers: Any = {"authorization": given.encode()} if given else {}
    async with api_of(make_service(token="secret")) as api:
        for method, path, body in CALLS:
            response = await api.client.request(method, path, json=body, headers=headers)
            assert (response.status_code, kind_of(response)) == (401, "unauthorized")
            assert response.headers["www-authenticate"] == 'Bearer realm="pr2"'
            assert "PR2_TOKEN" in response.text


@pytest.mark.parametrize("given", ["Bearer secret", "bearer  secret"])
async def test_the_token_opens_everything(make_service: MakeService, given: str) -> None:
    async with api_of(make_service(token="secret")) as api:
        assert (await api.client.get(EXPORT, headers={"authorization": given})).status_code == 200


async def test_the_documentation_needs_no_token_and_says_that_the_rest_does(
    make_service: MakeService,
) -> None:
    async with api_of(make_service(token="secret")) as api:
        for path in ("/docs", "/docs/files/swagger-ui.css", "/openapi.json"):
            assert (await api.client.get(path)).status_code == 200, path
        document = (await api.client.get("/openapi.json")).json()
        assert document["security"] == [{"token": []}]
        for path in ("/docs/files/../../v1/users/ana/export", "/docs/", "/openapi.json/x"):
            assert (await api.client.get(path)).status_code in {401, 404}, path


class Recorder:
    """An application that records the requests that reach it."""

    def __init__(self) -> None:
        self.reached: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        self.reached.append(scope)
        if scope["type"] == "http":
            await PlainTextResponse("reached")(scope, receive, send)


def refuse(scope: Scope, error: Exception) -> Response:
    return PlainTextResponse(str(error), 403)


async def exchange(headers: list[tuple[bytes, bytes]], **scope: Any) -> tuple[Recorder, list[Message]]:
    app, sent = Recorder(), []
    guard = Guard(app, hosts=LOOPBACK, origins=LOOPBACK_ORIGINS, token=None, refuse=refuse)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    http: Scope = {"type": "http", "method": "GET", "path": "/v1/x", "headers": headers, **scope}
    await guard(http, receive, send)
    return app, sent


local = st.sampled_from([b"localhost", b"127.0.0.1:80", b"[::1]:8000", b"localhost:1", b""])
values = local | st.binary(max_size=30) | st.builds(bytes.__add__, local, st.binary(max_size=5))
pages = values | st.builds(bytes.__add__, st.sampled_from([b"http://", b"https://", b"app://"]), values)


@given(st.lists(values, max_size=2), st.lists(pages, max_size=2))
async def test_whatever_the_headers_are_only_this_machine_gets_through(
    hosts: list[bytes], origins: list[bytes]
) -> None:
    headers = [(b"host", host) for host in hosts] + [(b"origin", origin) for origin in origins]
    app, sent = await exchange(headers)
    names = {"localhost", "127.0.0.1", "::1"}
    assert sent[0]["status"] == (200 if app.reached else 403)
    if app.reached:
        assert [urlsplit(b"//" + host).hostname.decode() in names for host in hosts] == [True]  # type: ignore[union-attr]
        assert all(urlsplit(origin).hostname.decode() in names for origin in origins)  # type: ignore[union-attr]


async def test_a_websocket_is_guarded_too() -> None:
    app, sent = await exchange([(b"host", b"evil.example")], type="websocket")
    assert (app.reached, sent[0]["type"], sent[0]["code"]) == ([], "websocket.close", 1008)
    app, _ = await exchange([(b"host", b"localhost")], type="websocket")
    assert app.reached


@pytest.mark.parametrize(("path", "status"), [("/pr2/healthz", 200), ("/pr2healthz", 403), ("/pr2/v1", 403)])
async def test_paths_are_those_below_the_prefix(path: str, status: int) -> None:
    _, sent = await exchange([(b"host", b"10.0.0.1")], path=path, root_path="/pr2")
    assert sent[0]["status"] == status
