"""Startup, readiness, methods of every address, and errors outside of routes."""

import asyncio
import dataclasses
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from agent.engines.errors import EngineError
from agent.policies.scripted import ScriptedPolicy
from index.encoding.encoders import SentenceTransformerEncoder
from index.errors import EncoderMismatch
from index.storage.store import Store
from server.http.app import create_app
from server.http.bodies import Readiness
from server.service import PAGE, Service
from tests.server.conftest import MakeService
from tests.server.live import ANA, THINK_ANSWER, THINK_SEARCH, Api, api_of
from tests.waiting import soon


async def test_health_needs_nothing(api: Api) -> None:
    response = await api.client.get("/healthz")
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    assert response.json()["version"]


async def test_the_root_is_the_page_which_links_to_the_documentation(api: Api) -> None:
    response = await api.client.get("/")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert 'href="docs"' in response.text


async def test_the_documentation_needs_no_internet(api: Api) -> None:
    page = (await api.client.get("/docs")).text
    addresses = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
    assert len(addresses) == 3
    for address in addresses:
        assert address.startswith("/docs/files/")
        assert (await api.client.get(address)).status_code == 200


async def test_ready_when_the_policy_has_written_once(make_service: MakeService) -> None:
    policy = ScriptedPolicy([""])
    async with api_of(make_service(policy)) as api:
        responses = await asyncio.gather(*(api.client.get("/readyz") for _ in range(5)))
    assert [response.status_code for response in responses] == [200] * 5
    assert responses[0].json()["policy"] == "scripted"
    assert "minilm" in responses[0].json()["encoder"]
    assert policy.checks == 1


async def test_not_ready_until_the_policy_writes(make_service: MakeService) -> None:
    policy = ScriptedPolicy([""])
    policy.check_fault = EngineError("unavailable", "nothing listens at http://127.0.0.1:1/v1")
    async with api_of(make_service(policy)) as api:
        response = await api.client.get("/readyz")
        assert (response.status_code, response.json()["type"]) == (503, "urn:pr2:problem:policy-unavailable")
        assert "127.0.0.1:1" in response.json()["detail"]
        policy.check_fault = None
        assert (await api.client.get("/readyz")).status_code == 200


@asynccontextmanager
async def started(service: Service) -> AsyncGenerator[Api, None]:
    """The application within its lifespan, as a server runs it."""
    async with api_of(service) as api, api.app.router.lifespan_context(api.app):
        yield api


async def test_starting_has_the_policy_write_once_and_readiness_tells_of_its_engine(
    make_service: MakeService, caplog: pytest.LogCaptureFixture
) -> None:
    policy = ScriptedPolicy([""])
    caplog.set_level("INFO", "server.http.app")
    async with started(make_service(policy)) as api:
        assert await soon(lambda: policy.checks == 1)
        response = await api.client.get("/readyz")
    assert response.status_code == 200
    Readiness.model_validate(response.json())
    assert (response.json()["status"], response.json()["engine"]) == ("ready", "scripted")
    assert policy.checks == 1
    assert "the policy is ready: scripted" in caplog.messages


async def test_a_policy_that_is_not_there_yet_does_not_keep_it_from_starting(
    make_service: MakeService, caplog: pytest.LogCaptureFixture
) -> None:
    policy = ScriptedPolicy([THINK_SEARCH, THINK_ANSWER])
    policy.check_fault = EngineError("unavailable", "nothing listens at http://127.0.0.1:1/v1")
    async with started(make_service(policy)) as api:
        assert await soon(lambda: policy.checks == 1)
        assert (await api.client.get("/healthz")).status_code == 200
        response = await api.client.get("/readyz")
        assert (response.status_code, response.json()["type"]) == (503, "urn:pr2:problem:policy-unavailable")
        assert int(response.headers["retry-after"]) > 0
        await api.put("ana", ANA)
        assert (await api.ask("ana")).json()["finish_reason"] == "answered"
        policy.check_fault = None
        response = await api.client.get("/readyz")
        assert (response.status_code, response.json()["engine"]) == (200, "scripted")
        assert (await api.client.get("/readyz")).status_code == 200
    assert policy.checks == 3
    [warning] = [record for record in caplog.records if record.name == "server.http.app"]
    assert (warning.levelname, "127.0.0.1:1" in warning.getMessage()) == ("WARNING", True)


async def test_nobody_waits_for_an_engine_that_takes_long_to_start(make_service: MakeService) -> None:
    class Starting(ScriptedPolicy):
        async def check(self) -> str:
            self.checks += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.checks -= 1
            return "never"

    policy = Starting([THINK_ANSWER])
    async with started(make_service(policy)) as api:
        assert await soon(lambda: policy.checks == 1)
        assert (await api.client.get("/healthz")).status_code == 200
        await api.put("ana", ANA)
        assert (await api.ask("ana", method="none")).json()["finish_reason"] == "answered"
    assert policy.checks == 0


async def test_it_starts_without_its_database_and_serves_once_that_is_there(
    make_service: MakeService, tmp_path: Path
) -> None:
    database = tmp_path / "missing" / "pr2.db"
    service = make_service(database_url=f"sqlite:///{database}")
    async with api_of(service) as api, api.app.router.lifespan_context(api.app):
        assert (await api.client.get("/healthz")).status_code == 200
        for response in (
            await api.client.get("/readyz"),
            await api.client.put("/v1/users/ana/documents", json=ANA),
            await api.client.get("/v1/users/ana/documents"),
            await api.client.post("/v1/users/ana/search", json={"queries": ["x"]}),
            await api.ask("ana"),
            await api.ask("ana", stream=True),
        ):
            assert response.status_code == 503
            assert response.json()["type"] == "urn:pr2:problem:store-unavailable"
            assert int(response.headers["retry-after"]) > 0
        database.parent.mkdir()
        assert (await api.client.get("/readyz")).status_code == 200
        await api.put("ana", ANA)


async def test_it_does_not_start_on_a_store_of_another_encoder(
    make_service: MakeService, minilm: SentenceTransformerEncoder
) -> None:
    service = make_service()
    other = Store(service.settings.url, dataclasses.replace(minilm.manifest, name="other"))
    other.open()
    other.close()
    app = create_app(service.settings, service)
    with pytest.raises(EncoderMismatch, match="other"):
        async with app.router.lifespan_context(app):
            pass


async def test_without_a_service_it_opens_its_own(tmp_path: Path, make_service: MakeService) -> None:
    app = create_app(make_service().settings)
    async with app.router.lifespan_context(app):
        assert app.state.pr2.service.profiles.store.users() == []


async def test_head_answers_like_get_without_the_body(api: Api) -> None:
    await api.put("ana", ANA)
    answer = (await api.ask("ana")).json()
    document = (await api.client.get("/openapi.json")).json()
    # The metrics count the GET before the HEAD.
    templates = [path for path, item in document["paths"].items() if "get" in item and path != "/metrics"]
    paths = [
        path.format(user="ana", document_id="a1", answer_id=answer["id"], model="pr2") for path in templates
    ]
    files = ["/", "/web/main.js", "/docs", "/openapi.json", "/docs/files/swagger-ui.css"]
    for path in (*paths, *files, "/v1/users/ana/documents?id=a1", "/v1/users/nobody/export", "/nowhere"):
        get, head = [await api.client.request(method, path) for method in ("GET", "HEAD")]
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers.get("content-length") == get.headers.get("content-length"), path
        assert head.headers.get("content-type") == get.headers.get("content-type"), path


async def test_head_does_not_read_a_whole_profile(make_service: MakeService) -> None:
    service = make_service()
    async with api_of(service) as api:
        await api.put("ana", [{"id": str(number), "text": "note"} for number in range(3 * PAGE)])
        pages: list[str] = []

        def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if "FROM documents" in statement:
                pages.append(statement)

        event.listen(service.profiles.store.database.engine, "before_cursor_execute", count)
        assert (await api.client.head("/v1/users/ana/export")).status_code == 200
        assert len(pages) == 1
        await api.client.get("/v1/users/ana/export")
        assert len(pages) == 1 + 4


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/users/ana", "DELETE, OPTIONS"),
        ("/v1/users/ana/documents", "GET, PUT, DELETE, HEAD, OPTIONS"),
        ("/v1/users/ana/documents/a%2Fb", "GET, DELETE, HEAD, OPTIONS"),
        ("/v1/users/ana/search", "POST, OPTIONS"),
        ("/v1/users/ana/answers", "GET, POST, HEAD, OPTIONS"),
        ("/v1/users/ana/answers/r1", "GET, DELETE, HEAD, OPTIONS"),
        ("/v1/chat/completions", "POST, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/mcp", "POST, OPTIONS"),
        ("/mcp/", "POST, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/docs/files/swagger-ui.css", "GET, HEAD, OPTIONS"),
        ("/web/main.js", "GET, HEAD, OPTIONS"),
    ],
)
async def test_an_address_says_which_methods_it_has(api: Api, path: str, allow: str) -> None:
    response = await api.client.options(path)
    assert (response.status_code, response.headers["allow"], response.content) == (204, allow, b"")
    for method in {"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"} - set(allow.split(", ")):
        response = await api.client.request(method, path)
        assert (response.status_code, response.headers["allow"]) == (405, allow), method
    assert (await api.client.options("/nowhere")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v2", 404, "not-found"),
        ("GET", "/v1/users", 404, "not-found"),
        ("GET", "/v1/users/ana/documents/", 422, "invalid-name"),
        ("GET", "/v1/users/a%0Ab", 422, "invalid-name"),
        ("GET", "/v1/users/a%FFb/export", 422, "invalid-name"),
        ("DELETE", "/v1/users/", 422, "invalid-name"),
        ("PATCH", "/v1/users/ana/documents", 405, "method-not-allowed"),
        ("GET", "/v1/users/ana/search", 405, "method-not-allowed"),
    ],
)
async def test_a_wrong_address_or_method_is_a_problem(
    api: Api, method: str, path: str, status: int, kind: str
) -> None:
    response = await api.client.request(method, path)
    assert (response.status_code, response.json()["type"]) == (status, f"urn:pr2:problem:{kind}")
    assert response.headers["content-type"] == "application/problem+json"
    assert set(response.json()) >= {"type", "title", "status", "detail"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b"", 422),
        (b"null", 422),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b'{"question": "a", "question": 7}', 422),
    ],
)
@pytest.mark.parametrize("path", ["search", "answers"])
async def test_a_body_that_cannot_be_read_is_a_problem(api: Api, path: str, body: bytes, status: int) -> None:
    headers = {"content-type": "application/json"}
    response = await api.client.post(f"/v1/users/ana/{path}", content=body, headers=headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_body_of_another_type_is_refused_and_json_is_named(api: Api) -> None:
    response = await api.client.post("/v1/users/ana/search", data={"queries": "x"})
    assert (response.status_code, response.json()["type"]) == (415, "urn:pr2:problem:unsupported-media-type")
    assert "application/json" in response.json()["detail"]


async def test_a_request_over_the_limit_is_refused(api: Api) -> None:
    response = await api.ask("ana", "x" * 5 * 2**20)
    assert response.status_code == 413
    assert "4 MB" in response.json()["detail"]


async def test_an_unexpected_error_gives_nothing_away(make_service: MakeService) -> None:
    policy = ScriptedPolicy([[RuntimeError("password=hunter2")]])
    async with api_of(make_service(policy)) as api:
        await api.put("ana", ANA)
        response = await api.ask("ana")
    assert (response.status_code, response.json()["type"]) == (500, "urn:pr2:problem:internal")
    assert response.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in response.text
