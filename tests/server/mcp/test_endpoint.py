"""The MCP endpoint: its path and the origins that may call it."""

import httpx
import pytest

from tests.server.conftest import MakeService
from tests.server.live import serving
from tests.server.mcp.served import access_to, application

LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


async def post(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        accept = {"accept": "application/json, text/event-stream"}
        return await client.post(url, json=LIST_TOOLS, headers=accept | headers)


async def test_it_is_served_at_exactly_its_address_without_a_session(url: str) -> None:
    response = await post(url)
    assert (response.status_code, "mcp-session-id" in response.headers) == (200, False)
    assert "answer_question" in response.text
    async with httpx.AsyncClient() as client:
        response = await client.get(url, headers={"accept": "text/event-stream"}, timeout=2)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("host", ["pr2.example", "192.168.1.7:8000", "localhost"])
async def test_it_is_served_under_any_name(url: str, host: str) -> None:
    assert (await post(url, host=host)).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:6274", 200),
        ("http://127.0.0.1", 200),
        ("https://[::1]:8443", 200),
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://localhost:1@evil.example", 403),
        ("null", 403),
    ],
)
async def test_a_web_page_is_let_in_only_from_this_machine(url: str, origin: str, status: int) -> None:
    response = await post(url, origin=origin, host="evil.example")
    assert response.status_code == status
    assert ("search_profile" in response.text) is (status == 200)
    assert ("Origin" in response.text) is (status == 403)


async def test_an_application_can_be_started_again(make_service: MakeService) -> None:
    service = make_service()
    app = application(access_to(service))
    for _ in range(2):
        with serving(app) as url:
            assert (await post(f"{url}/mcp")).status_code == 200
