"""Who asks: token, trusted header, fields of the request and the default, resolved to one user or refused."""

import urllib.parse
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from starlette.requests import HTTPConnection
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from index.storage.answers import StoredAnswer
from server.access.access import Access
from server.access.gate import Forbidden, IdentityConflict, MissingUser, Principal
from server.access.identity import IdentityGate, identify
from server.access.peer import KeepPeer
from server.access.settings import IdentitySettings
from server.answers import AnswerRecord
from server.http.bodies import AnswerBody
from server.mcp.endpoint import mcp_server
from tests.server.conftest import MakeService
from tests.server.live import ANA, Api, api_of

HEADER = "X-OpenWebUI-User-Id"
QUESTION = [{"role": "user", "content": "Which fruit do I like?"}]
TRUSTING = {"header": HEADER, "trusted_addresses": ["127.0.0.1", "10.0.0.0/8"]}

names = st.sampled_from(["ana", "ben", "", " ", None])


async def complete(api: Api, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    body = {"model": "pr2", "messages": QUESTION, **body}
    return await api.client.post("/v1/chat/completions", json=body, headers=headers)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("headers", "body", "named_by"),
    [
        ({HEADER: "ana"}, {}, "header"),
        ({}, {"user": "ana"}, "user"),
        ({}, {"safety_identifier": "ana"}, "safety_identifier"),
        ({}, {"metadata": {"user_id": "ana", "chat": "7"}}, "metadata.user_id"),
        ({}, {"model": "pr2:ana"}, "model"),
        ({}, {"user": " ", "safety_identifier": ""}, "default"),
        ({}, {"stream": True}, "default"),
        ({HEADER: "ana"}, {"user": "ana", "safety_identifier": "ana", "model": "pr2:ana"}, "header"),
    ],
)
async def test_the_user_comes_from_whatever_names_one(
    make_service: MakeService, headers: dict[str, str], body: Any, named_by: str
) -> None:
    async with api_of(make_service(identity={**TRUSTING, "default_user": "ana"})) as api:
        response = await complete(api, headers, **body)
        assert response.status_code == 200, response.text
        assert (response.headers["pr2-user"], response.headers["pr2-user-from"]) == ("ana", named_by)
        if not body.get("stream"):
            answer = await api.client.get(f"/v1/users/ana/answers/{response.json()['pr2']['answer_id']}")
            assert (answer.json()["user"], answer.json()["named_by"]) == ("ana", named_by)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("settings", "headers", "named_by"),
    [
        ({}, {}, "path"),
        (TRUSTING, {HEADER: "ana"}, "header"),
        ({"user": "ana"}, {}, "token"),
    ],
)
async def test_an_answer_records_where_its_user_came_from(
    make_service: MakeService, settings: Any, headers: dict[str, str], named_by: str
) -> None:
    service = make_service(token="secret", identity=settings)
    async with api_of(service) as api:
        api.client.headers.update({"authorization": "Bearer secret", **headers})
        body = (await api.ask("ana")).json()
        assert (body["user"], body["named_by"]) == ("ana", named_by)
        assert (await api.client.get(f"/v1/users/ana/answers/{body['id']}")).json() == body
    assert AnswerRecord.from_dict(body).named_by == named_by


@pytest.mark.usefixtures("history")
async def test_an_answer_from_before_its_user_was_traced_can_be_read(make_service: MakeService) -> None:
    service = make_service()
    async with api_of(service) as api:
        body = (await api.ask("ana")).json()
        older = {name: value for name, value in body.items() if name != "named_by"}
        service.profiles.store.save_answers([StoredAnswer("ana", "older", {**older, "id": "older"})])
        read = (await api.client.get("/v1/users/ana/answers/older")).json()
    AnswerBody.model_validate(read)
    assert (read["answer"], read["named_by"]) == (body["answer"], None)
    assert AnswerRecord.from_dict(older).named_by is None


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({HEADER: "ana"}, {"user": "ben"}),
        ({}, {"user": "ana", "safety_identifier": "ben"}),
        ({}, {"user": "ana", "metadata": {"user_id": "ben"}}),
        ({}, {"user": "ana", "model": "pr2:ben"}),
    ],
)
async def test_identities_that_disagree_are_refused(
    make_service: MakeService, headers: dict[str, str], body: Any
) -> None:
    async with api_of(make_service(identity=TRUSTING)) as api:
        response = await complete(api, headers, **body)
        assert (response.status_code, response.json()["error"]["code"]) == (400, "identity-conflict")
        response = await api.client.get("/v1/users/ben/documents", headers={HEADER: "ana"})
        assert (response.status_code, response.json()["type"]) == (400, "urn:pr2:problem:identity-conflict")


async def test_a_user_that_is_no_string_is_refused_by_name(make_service: MakeService) -> None:
    async with api_of(make_service()) as api:
        response = await complete(api, metadata={"user_id": 7})
        assert (response.status_code, response.json()["error"]["param"]) == (400, "metadata.user_id")
        response = await complete(api)
        assert (response.status_code, response.json()["error"]["code"]) == (400, "missing-user")
        assert "identity.default_user" in response.json()["error"]["message"]


@pytest.mark.usefixtures("history")
async def test_the_tokens_user_is_the_only_one(make_service: MakeService) -> None:
    service = make_service(token="secret", identity={"user": "ana", **TRUSTING, "list_users": True})
    async with api_of(service) as api:
        api.client.headers["authorization"] = "Bearer secret"
        response = await complete(api)
        assert (response.status_code, response.headers["pr2-user-from"]) == (200, "token")
        assert (await api.client.get("/v1/users/ana/documents")).status_code == 200
        for refused in (
            await complete(api, user="ben"),
            await complete(api, model="pr2:ben"),
            await complete(api, {HEADER: "ben"}),
            await api.client.get("/v1/users/ben/documents"),
            await api.client.get("/v1/users/ben/documents", headers={HEADER: "ben"}),
            await api.client.get("/v1/models/pr2:ben"),
        ):
            assert refused.status_code == 403, refused.text


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("settings", "headers", "listed"),
    [
        ({}, {}, []),
        ({"list_users": True}, {}, ["pr2:ana", "pr2:ben"]),
        ({"list_users": True, **TRUSTING}, {HEADER: "ben"}, ["pr2:ben"]),
    ],
)
async def test_models_of_users_are_listed_on_request_and_only_to_whom_may_see_them(
    make_service: MakeService, settings: Any, headers: dict[str, str], listed: list[str]
) -> None:
    async with api_of(make_service(identity=settings)) as api:
        models = (await api.client.get("/v1/models", headers=headers)).json()["data"]
        assert [model["id"] for model in models if ":" in model["id"]] == listed
        for model in listed:
            response = await api.client.get(f"/v1/models/{model}", headers=headers)
            assert response.json()["id"] == model
        response = await complete(api, headers, model="pr2:ben")
        assert (response.status_code, response.json()["model"]) == (200, "pr2:ben")


def connection(client: tuple[str, int] | None, *values: str, **more: Any) -> HTTPConnection:
    headers = [(HEADER.lower().encode(), value.encode()) for value in values]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    return HTTPConnection({"type": "http", "headers": headers, "client": client, "path": "/"})


def user_of(*arguments: Any, **more: Any) -> str | None:
    gate = IdentityGate(IdentitySettings.model_validate(TRUSTING))
    return gate.principal(connection(*arguments, **more)).user


def test_the_header_is_believed_only_from_trusted_addresses() -> None:
    assert user_of(("127.0.0.1", 1), "ana") == "ana"
    assert user_of(("10.3.2.1", 1), "jürgen") == "jürgen"
    assert user_of(("::ffff:10.3.2.1", 1), "ana") == "ana"
    assert user_of(("192.0.2.1", 1)) is None
    for client in (("192.0.2.1", 1), ("::1", 1), ("testclient", 1), None):
        with pytest.raises(Forbidden, match="trusted_addresses"):
            user_of(client, "ana")
    with pytest.raises(IdentityConflict, match="more than once"):
        user_of(("127.0.0.1", 1), "ana", "ben")
    # Another server may have put in the address that a proxy names.
    with pytest.raises(Forbidden):
        user_of(("127.0.0.1", 1), "ana", x_forwarded_for="127.0.0.1")


@pytest.mark.parametrize(("peer", "status"), [("10.0.0.1", 200), ("192.0.2.1", 403)])
@pytest.mark.usefixtures("history")
async def test_a_forwarded_address_changes_nothing(make_service: MakeService, peer: str, status: int) -> None:
    async with api_of(make_service(identity=TRUSTING)) as api:
        app: Any = api.app
        app = KeepPeer(cast(Any, ProxyHeadersMiddleware)(app, trusted_hosts="*"))
        transport = httpx.ASGITransport(app, client=(peer, 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            for forwarded in ("10.0.0.1", "192.0.2.1", "127.0.0.1:99"):
                headers = {HEADER: "ana", "x-forwarded-for": forwarded}
                response = await client.get("/v1/users/ana/documents", headers=headers)
                assert response.status_code == status


@given(names, names, names, names, names)
def test_every_identity_agrees_or_is_refused(
    header: str | None, user: str | None, other: str | None, default: str | None, only: str | None
) -> None:
    users = frozenset({only}) if only and only.strip() else None
    principal = Principal("p", users=users, user=header, named_by="header", default_user=default or None)
    given = [name for name in (header, user, other) if name and name.strip()]
    try:
        identity = identify(principal, {"user": user, "safety_identifier": other})
    except Forbidden:
        assert users is not None
        assert set(given) - users
    except IdentityConflict:
        assert len(set(given)) > 1
    except MissingUser:
        assert not given
        assert not default
    else:
        assert identity.user == (given[0] if given else default)
        assert set(given) <= {identity.user}
        assert not given or users is None or identity.user in users
        assert urllib.parse.unquote(identity.headers()["PR2-User"]) == identity.user


@pytest.mark.usefixtures("history")
async def test_tools_take_the_user_from_the_identity(make_service: MakeService) -> None:
    service = make_service(identity={"default_user": "ana"})
    gate = IdentityGate(service.settings.identity)
    seen = HTTPConnection({"type": "http", "headers": [], "client": None})
    access = Access(service, gate, gate.principal(seen))
    async with Client(mcp_server(lambda _: access, users_named=True), mode="legacy") as client:
        for tool in (await client.list_tools()).tools:
            assert "user" not in tool.input_schema["required"]
        for arguments, named_by in (({}, "default"), ({"user": "ana"}, "user")):
            answer = await client.call_tool("answer_question", {"question": "Which fruit?", **arguments})
            assert answer.structured_content is not None
            stored = await service.stored_answer("ana", answer.structured_content["answer_id"])
            assert stored["named_by"] == named_by
        for named in ({}, {"user": "ana"}, {"user": None}):
            found = await client.call_tool("search_profile", {"query": "pears", **named})
            assert not found.is_error
            assert ANA[0]["text"] in str(found.content)
        assert (await client.call_tool("search_profile", {"query": "pears", "user": "a/b"})).is_error
