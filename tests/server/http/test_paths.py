"""Ids in paths: any printable character, as it was sent, with and without a prefix."""

from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from index.documents import parse_document
from server.http.app import create_app
from server.http.paths import DocumentPath, EncodedPath, UserPath, allowed_methods
from tests.index.test_documents import names
from tests.server.conftest import MakeService
from tests.server.live import ANA, Api, api_of, serving

NAMES = [
    "<CAF+abc/def=@mail.gmail.com>",
    "a/b",
    "/",
    "//",
    "a/../b",
    "a/.",
    "ana/documents/a1",
    "ana/export",
    "%2F",
    "a%2Fb",
    "100%",
    "q?#",
    "two words",
    "a:b;c=d&e+f,g",
    "…",
    "ü/🐙",
    "x" * 255 + "/",
]


def routed() -> FastAPI:
    """Routes as the API has them, that answer with the names that they got."""
    app = FastAPI()

    @app.get("/v1/users/{user:name}/documents/{document_id:last_name}")
    async def document(user: UserPath, document_id: DocumentPath) -> Any:
        return [user, document_id]

    @app.get("/v1/users/{user:name}/export")
    async def export(user: UserPath) -> Any:
        return [user]

    return app


class Below:
    """Serves an application below a prefix, like a proxy that strips it, or one that does not."""

    def __init__(self, app: Any, prefix: str, *, stripped: bool) -> None:
        self._app, self._prefix, self._stripped = EncodedPath(app), prefix, stripped

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        before = "" if self._stripped else self._prefix
        paths = {"path": before + scope["path"], "raw_path": before.encode() + scope["raw_path"]}
        await self._app({**scope, **paths, "root_path": self._prefix}, receive, send)


async def fetched(app: Any, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        return await client.get(path)


APP = routed()
SERVED = [EncodedPath(APP), *(Below(APP, "/pr2/v", stripped=stripped) for stripped in (True, False))]


@given(names, names, st.sampled_from(SERVED))
async def test_any_names_arrive_as_they_were_sent(user: str, document_id: str, app: Any) -> None:
    url = f"/v1/users/{quote(user, safe='')}"
    found = await fetched(app, f"{url}/documents/{quote(document_id, safe='')}")
    assert (found.status_code, found.json()) == (200, [user, document_id])
    # As browsers and other clients write it: with more or fewer characters encoded, and in other cases.
    other = quote(document_id, safe="!$&'()*+,;=:@").replace("%2F", "%2f")
    assert (await fetched(app, f"{url}/documents/{other}")).json() == [user, document_id]
    assert (await fetched(app, f"{url.replace('users', '%75sers')}/export")).json() == [user]


async def test_a_server_that_does_not_tell_the_path_as_it_was_sent_still_serves() -> None:
    async def without(scope: Scope, receive: Receive, send: Send) -> None:
        await EncodedPath(APP)({**scope, "raw_path": None}, receive, send)

    assert (await fetched(without, "/v1/users/a%20b/documents/100%25")).json() == ["a b", "100%"]


async def test_one_address_allows_the_methods_of_all_its_routes() -> None:
    scope: Scope = {"type": "http", "path": "/v1/users/ana/export", "root_path": "", "headers": []}
    assert allowed_methods(APP.routes, scope) == "GET, HEAD, OPTIONS"


def below_documents(user: str, name: str) -> list[str]:
    """The addresses of one document: in the path, and for proxies that decode %2F."""
    documents = f"/v1/users/{quote(user, safe='')}/documents"
    return [
        f"{documents}/{quote(name, safe='')}",
        f"{documents}?id={quote(name, safe='')}",
        f"{documents}?id={quote_plus(name)}",
    ]


async def test_a_name_with_any_character_works_as_user_and_as_document(api: Api) -> None:
    for name in NAMES:
        await api.put(quote(name, safe=""), [{"id": name, "text": "hello"}, {"id": "other", "text": "bye"}])
        paths = below_documents(name, name)
        for path in paths:
            response = await api.client.get(path)
            assert (response.status_code, response.json().get("id")) == (200, name), (path, response.text)
        liked = await api.client.post(
            f"/v1/users/{quote(name, safe='')}/search", json={"like": [name], "k": 1}
        )
        assert liked.json()["results"][0][0]["document_id"] == "other"
        for path in paths[:2]:
            assert (await api.client.delete(path)).status_code == 204
            assert (await api.client.get(path)).json()["type"] == "urn:pr2:problem:unknown-document"
            await api.put(quote(name, safe=""), [{"id": name, "text": "hello"}])
        erased = await api.client.delete(f"/v1/users/{quote(name, safe='')}")
        assert (erased.json()["user"], erased.json()["documents"]) == (name, 2)


async def test_over_a_socket_ids_arrive_as_sent_and_head_leaves_the_connection_usable(
    make_service: MakeService,
) -> None:
    service = make_service()
    service.profiles.put("ana/home", [parse_document({"id": "<a+b/c@d>", "text": "hello"})])
    paths = below_documents("ana/home", "<a+b/c@d>")
    only_one = httpx.Limits(max_connections=1)
    with serving(create_app(service.settings, service)) as url:
        async with httpx.AsyncClient(base_url=url, limits=only_one) as client:
            for path in (*paths, "/healthz", "/v1/users/ana%2Fhome/export"):
                for method in ("HEAD", "GET"):
                    response = await client.request(method, path)
                    assert response.status_code == 200, path
                    assert bool(response.content) is (method == "GET")
            for path in paths[:2]:
                assert "<a+b/c@d>" in (await client.get(path)).text
            assert (await client.delete(paths[0])).status_code == 204
            assert (await client.get(paths[1])).status_code == 404


async def test_a_model_may_name_a_user_with_a_slash(make_service: MakeService) -> None:
    async with api_of(make_service(identity={"list_users": True})) as api:
        await api.put("ana%2Fhome", ANA)
        for path in ("pr2:ana%2Fhome", "pr2%3Aana%2Fhome"):
            assert (await api.client.get(f"/v1/models/{path}")).json()["id"] == "pr2:ana/home"
        listed = (await api.client.get("/v1/models")).json()["data"]
        assert listed[-1]["id"] == "pr2:ana/home"
        chat = {"model": "pr2:ana/home", "messages": [{"role": "user", "content": "Which fruit do I like?"}]}
        response = await api.client.post("/v1/chat/completions", json=chat)
    assert (response.status_code, response.headers["pr2-user"]) == (200, "ana%2Fhome")


@pytest.mark.parametrize("query", ["", "?id", "?ID=a1", "?id=a1&id=a2", "?cursor=0", "?id="])
async def test_a_delete_that_names_no_document_or_several_deletes_none(api: Api, query: str) -> None:
    await api.put("ana", ANA)
    for path in (f"/v1/users/ana/documents{query}", f"/v1/users/ana/documents/{query}"):
        response = await api.client.delete(path)
        assert response.status_code == 422, path
    stored = (await api.client.get("/v1/users/ana/documents")).json()["documents"]
    assert [document["id"] for document in stored] == ["a1", "a2", "a3"]


async def test_a_slash_that_was_decoded_on_the_way_is_refused_with_advice(api: Api) -> None:
    await api.put("ana", [{"id": "a/b", "text": "x"}, {"id": "a", "text": "x"}, {"id": "b", "text": "x"}])
    for method in ("GET", "DELETE"):
        response = await api.client.request(method, "/v1/users/ana/documents/a/b")
        assert (response.status_code, response.json()["type"]) == (422, "urn:pr2:problem:invalid-name")
        assert "%2F" in response.json()["detail"]
        assert "documents?id=ID" in response.json()["detail"]
    assert len((await api.client.get("/v1/users/ana/documents")).json()["documents"]) == 3


@pytest.mark.parametrize("stripped", [True, False])
async def test_below_a_prefix_everything_is_found_and_names_the_prefix(
    make_service: MakeService, stripped: bool
) -> None:
    service = make_service(root_path="/pr2")
    async with api_of(service) as plain, plain.app.router.lifespan_context(plain.app):
        await plain.put("ana", [{"id": "a/b", "text": "I love ripe pears from our garden."}])
        before = "" if stripped else "/pr2"

        async def get(path: str) -> httpx.Response:
            return await plain.client.get(before + path)

        assert (await get("/v1/users/ana/documents/a%2Fb")).json()["id"] == "a/b"
        assert (await get("/healthz")).status_code == 200
        assert '<base href="/pr2/">' in (await get("/")).text
        assert '<base href="/pr2/">' in (await plain.client.get("/pr2")).text
        assert (await get("/web/main.js")).status_code == 200
        assert (await plain.client.get("/pr2x")).status_code == 404
        page = (await get("/docs")).text
        assert "'/pr2/openapi.json'" in page
        assert '"/pr2/docs/files/swagger-ui-bundle.js"' in page
        assert (await get("/docs/files/swagger-ui.css")).status_code == 200
        assert (await get("/openapi.json")).json()["servers"] == [{"url": "/pr2"}]
        assert (await get("/v1/models/none")).json()["error"]["code"] == "model_not_found"
        chat = {"model": "pr2", "user": "ana", "messages": [{"role": "user", "content": "Which fruit?"}]}
        answer = (await plain.client.post(f"{before}/v1/chat/completions", json=chat)).json()
        [cited] = answer["choices"][0]["message"]["annotations"]
        url = cited["url_citation"]["url"]
        assert url == "http://api/pr2/v1/users/ana/documents/a%2Fb"
        headers = {"accept": "application/json, text/event-stream"}
        tools = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for path in ("/mcp", "/mcp/"):
            response = await plain.client.post(before + path, json=tools, headers=headers)
            assert (response.status_code, "answer_question" in response.text) == (200, True)


@pytest.mark.parametrize(
    ("settings", "host", "url"),
    [
        ({}, "localhost:9101", "http://localhost:9101"),
        ({"allowed_hosts": ["pr2.example"]}, "pr2.example", "http://pr2.example"),
        ({"root_path": "/pr2"}, "localhost", "http://localhost/pr2"),
        ({"public_url": "https://pr2.example/pr2/"}, "localhost", "https://pr2.example/pr2"),
        (
            {"public_url": "https://pr2.example/pr2", "root_path": "/x"},
            "localhost",
            "https://pr2.example/pr2",
        ),
        ({}, "evil.example", None),
        ({"public_url": "https://pr2.example"}, "evil.example", None),
    ],
)
async def test_citations_link_to_the_public_url_or_to_an_allowed_host(
    make_service: MakeService, settings: dict[str, Any], host: str, url: str | None
) -> None:
    chat = {"model": "pr2", "user": "ana", "messages": [{"role": "user", "content": "Which fruit?"}]}
    async with api_of(make_service(**settings)) as api:
        await api.put("ana", [{"id": "a/b", "text": "I love ripe pears from our garden."}])
        response = await api.client.post("/v1/chat/completions", json=chat, headers={"host": host})
    if url is None:
        assert (response.status_code, response.json()["error"]["code"]) == (403, "foreign-host")
        return
    [cited] = response.json()["choices"][0]["message"]["annotations"]
    assert cited["url_citation"]["url"] == f"{url}/v1/users/ana/documents/a%2Fb"
