"""The SDK's client and a running server: which origins it may come from, and which user the replies name."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client, MCPError, types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from server.http.app import create_app
from server.mcp.tools import Added, Answered, Found, OfWhom
from tests.server.conftest import MakeService
from tests.server.live import serving
from tests.server.mcp.served import Mode, said, told_user

ALLOWED, FOREIGN = "https://notes.example", "https://evil.example"
HEADER = "X-OpenWebUI-User-Id"

pytestmark = pytest.mark.usefixtures("history")


@asynccontextmanager
async def connected(url: str, headers: dict[str, str], mode: Mode = "auto") -> AsyncGenerator[Client, None]:
    async with (
        create_mcp_http_client(headers) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
async def test_a_client_on_a_page_of_an_allowed_origin_is_served(
    make_service: MakeService, path: str, mode: Mode
) -> None:
    service = make_service(allowed_origins=[ALLOWED], token="secret")
    headers = {"origin": ALLOWED, "authorization": "Bearer secret"}
    with serving(create_app(service.settings, service)) as url:
        async with connected(url + path, headers, mode) as client:
            found = await client.call_tool("search_profile", {"user": "ana", "query": "ripe pears", "k": 1})
            document = await client.read_resource("pr2://users/ana/documents/a1")
    assert Found.model_validate(found.structured_content).passages[0].document_id == "a1"
    [contents] = document.contents
    assert isinstance(contents, types.TextResourceContents)
    assert "ripe pears" in contents.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_on_a_foreign_page_is_refused(make_service: MakeService, mode: Mode) -> None:
    service = make_service(allowed_origins=[ALLOWED])
    statuses: list[int] = []

    async def watch(response: Any) -> None:
        statuses.append(response.status_code)

    with serving(create_app(service.settings, service)) as url:
        http = create_mcp_http_client({"origin": FOREIGN})
        http.event_hooks = {"response": [watch]}
        with pytest.raises(ExceptionGroup) as caught:
            async with http, Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode):
                pass
    assert caught.group_contains(MCPError)
    assert set(statuses) == {403}


CALLS: list[tuple[str, dict[str, Any], Any]] = [
    ("search_profile", {"query": "ripe pears"}, Found),
    ("add_documents", {"documents": [{"text": "I play chess."}]}, Added),
    ("answer_question", {"question": "Which fruit do I like?"}, Answered),
]


@pytest.mark.parametrize(
    ("settings", "headers", "argument", "named_by"),
    [
        ({"default_user": "ana"}, {}, {}, "default"),
        ({"header": HEADER}, {HEADER: "ana"}, {}, "header"),
        ({"user": "ana"}, {"authorization": "Bearer secret"}, {}, "token"),
        ({"default_user": "ben"}, {}, {"user": "ana"}, "user"),
    ],
)
async def test_every_reply_names_the_user_for_whom_the_tool_acted(
    make_service: MakeService,
    settings: dict[str, str],
    headers: dict[str, str],
    argument: dict[str, str],
    named_by: str,
) -> None:
    service = make_service(identity=settings, token="secret" if "user" in settings else None)
    with serving(create_app(service.settings, service)) as url:
        async with connected(f"{url}/mcp", headers) as client:
            await client.list_tools()  # So that the client checks results by their schemas.
            for tool, arguments, shape in CALLS:
                result = await client.call_tool(tool, {**arguments, **argument})
                shape.model_validate(result.structured_content)
                whose = OfWhom.model_validate(result.structured_content)
                assert (whose.user, whose.user_from) == ("ana", named_by)
                assert told_user(result) == f"User: ana (from {named_by})"
            refused = await client.call_tool("search_profile", {"query": " ", **argument})
            unknown = await client.call_tool("answer_question", {"question": "?", "method": "x", **argument})
    assert (refused.is_error, told_user(refused)) == (True, None)
    assert "query" in said(refused)
    assert (unknown.is_error, told_user(unknown)) == (True, f"User: ana (from {named_by})")
