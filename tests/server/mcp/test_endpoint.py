"""The MCP endpoint: its path, and its life with the application."""

import httpx

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
        response = await client.get(url, headers={"accept": "text/event-stream"}, timeout=60)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_an_application_can_be_started_again(make_service: MakeService) -> None:
    service = make_service()
    app = application(access_to(service))
    for _ in range(2):
        with serving(app) as url:
            assert (await post(f"{url}/mcp")).status_code == 200
