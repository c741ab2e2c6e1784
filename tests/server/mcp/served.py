"""The MCP endpoint on a real socket, and readers of its replies."""

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI
from mcp import Client, types

from index.documents import parse_document
from index.profiles import Profiles
from server.access.access import Access
from server.access.gate import LOCAL, OpenGate
from server.mcp.endpoint import AccessOf, MCPEndpoint
from server.service import Service
from tests.server.live import ANA, BEN, THINK_SEARCH, serving

Mode = Literal["auto", "legacy"]
TOOLS = ["search_profile", "add_documents", "answer_question"]
QUESTION = "Which fruit do I like?"
LONG = [THINK_SEARCH, ["<think>Let me see.</think><answer>", *["Pears. "] * 1_000]]
ROOT = Path(__file__).parents[3]


def access_to(service: Service) -> AccessOf:
    return lambda connection: Access(service, OpenGate(), LOCAL)


def application(access_of: AccessOf) -> FastAPI:
    """As the server has it: without redirects, at /mcp and /mcp/."""
    endpoint = MCPEndpoint(access_of)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        async with endpoint.running():
            yield

    app = FastAPI(lifespan=lifespan, redirect_slashes=False)
    app.router.routes += endpoint.routes("/mcp")
    return app


def introduce(profiles: Profiles) -> None:
    for user, documents in (("ana", ANA), ("ben", BEN)):
        profiles.put(user, [parse_document(item) for item in documents])


@contextmanager
def served(service: Service) -> Iterator[str]:
    introduce(service.profiles)
    with serving(application(access_to(service))) as url:
        yield f"{url}/mcp"


def said(result: types.CallToolResult) -> str:
    """The first text; one that names the user may follow."""
    return _texts(result)[0]


def told_user(result: types.CallToolResult) -> str | None:
    """The text that names the user, if the call got as far as knowing one."""
    _, *about = _texts(result)
    return about[0] if about else None


def _texts(result: types.CallToolResult) -> list[str]:
    texts = [content.text for content in result.content if isinstance(content, types.TextContent)]
    assert 1 <= len(texts) == len(result.content) <= 2
    return texts


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert result.structured_content is None
    return said(result)


async def read(client: Client, uri: str) -> Any:
    [contents] = (await client.read_resource(uri)).contents
    assert isinstance(contents, types.TextResourceContents)
    assert (contents.uri, contents.mime_type) == (uri, "application/json")
    return json.loads(contents.text)
