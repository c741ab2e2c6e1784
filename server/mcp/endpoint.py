"""The service as an MCP server, with the protocol's official SDK.

Expected errors reach the assistant with advice it can act on; any other is only logged.
"""

import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi.exceptions import RequestValidationError
from mcp import MCPError, UriTemplate, types
from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from pydantic import ValidationError, create_model
from starlette.requests import HTTPConnection
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from index.documents import check_name
from server import installed_version
from server.access.access import Access
from server.http.problems import HANDLED, problem_of
from server.mcp.tools import (
    TOOLS,
    Arguments,
    OfNamedUser,
    OfUser,
    OfWhom,
    Result,
    error_result,
    for_user,
    sendable,
)

INSTRUCTIONS = """\
PR² keeps a person's history: notes, messages, mails and other documents, apart for each user. \
answer_question answers a question from it, with the exact lines that the answer rests on. \
search_profile only finds passages, for reading them yourself. \
add_documents stores what is new. A stored document can be read whole as the resource {template}."""

AccessOf = Callable[[HTTPConnection | None], Access]
"""Resolves the caller of a request; there is no connection over a pipe."""

_log = logging.getLogger(__name__)


def mcp_server(access_of: AccessOf, user: str | None = None, *, users_named: bool = False) -> Server[Any]:
    """The SDK's server with the service's tools and resources. The caller is resolved for every call.

    Each tool takes a `user` argument. With `users_named` it may be left out, because the caller's identity
    can name the user. With `user` given here, no tool takes one: all work for that person only.
    """
    if user is None:
        whose_of = OfNamedUser if users_named else OfUser
        accepts = {tool.name: create_model(tool.name, __base__=(tool.arguments, whose_of)) for tool in TOOLS}
        documents = UriTemplate.parse("pr2://users/{user}/documents/{document_id}")
    else:
        accepts = {tool.name: tool.arguments for tool in TOOLS}
        documents = UriTemplate.parse("pr2://documents/{document_id}")
    tools = {tool.name: tool for tool in TOOLS}
    listed = [
        types.Tool(
            name=tool.name,
            title=tool.title,
            description=tool.description,
            annotations=tool.hints,
            input_schema=accepts[tool.name].model_json_schema(),
            output_schema=create_model(
                tool.shape.__name__, __base__=(OfWhom, tool.shape)
            ).model_json_schema(),
        )
        for tool in TOOLS
    ]

    async def list_tools(context: ServerRequestContext[Any], _: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(context: ServerRequestContext[Any], params: types.CallToolRequestParams) -> Result:
        tool = tools.get(params.name)
        if tool is None:
            message = f"there is no tool {params.name!r}; there are {', '.join(tools)}"
            raise MCPError(types.INVALID_PARAMS, message)
        steps = 0

        async def report(step: str) -> None:
            nonlocal steps
            steps += 1
            await context.session.report_progress(steps, message=sendable(step))

        try:
            arguments: Any = _checked(accepts[tool.name], params.arguments or {})
            access = access_of(context.request)
            whose = access.identify({"user": arguments.user if user is None else user})
        except Exception as error:
            return error_result(_in_words(error))
        try:
            result = await tool.run(access, whose, arguments, report)
        except Exception as error:
            result = error_result(_in_words(error))
        return for_user(whose, result)

    async def list_resources(context: ServerRequestContext[Any], _: Any) -> types.ListResourcesResult:
        # Ids come from searches; a list of thousands is no help. But without this handler the SDK does not
        # announce resources at all.
        return types.ListResourcesResult(resources=[])

    async def list_templates(context: ServerRequestContext[Any], _: Any) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            name="document",
            title="A document",
            description="One stored document, whole. Ids are percent-encoded.",
            uri_template=documents.template,
            mime_type="application/json",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(
        context: ServerRequestContext[Any], params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = params.uri
        names = documents.match(uri)
        if names is None:
            message = f"there is no resource {uri!r}; there are {documents.template}"
            raise MCPError(types.INVALID_PARAMS, message, {"uri": uri})
        try:
            named = {"user": user} | names
            whose, document_id = check_name(str(named["user"])), check_name(str(named["document_id"]))
            document = await access_of(context.request).document(whose, document_id)
        except Exception as error:
            code = types.INVALID_PARAMS if problem_of(error).status < 500 else types.INTERNAL_ERROR
            raise MCPError(code, _in_words(error), {"uri": uri}) from None
        text = json.dumps(document.to_dict(), ensure_ascii=False)
        contents = types.TextResourceContents(uri=uri, mime_type="application/json", text=text)
        return types.ReadResourceResult(contents=[contents])

    return Server(
        "pr2",
        version=installed_version(),
        title="PR²",
        instructions=INSTRUCTIONS.format(template=documents.template),
        # Without it, the SDK lists all tools again on every call over HTTP.
        get_tool_input_schema={tool.name: tool.input_schema for tool in listed}.get,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
    )


def _checked(model: type[Arguments], arguments: Mapping[str, Any]) -> Arguments:
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


def _in_words(error: Exception) -> str:
    """The error and advice on how to go on. Details of an unexpected error go to the log only."""
    if not isinstance(error, HANDLED):
        _log.error("an assistant's request broke off", exc_info=error)
    problem = problem_of(error)
    if problem.status == 404:
        advice = "Check the name; add_documents stores what is missing."
    elif problem.status == 403:
        advice = "Ask whoever runs the server for access."
    elif problem.status == 429 or problem.status >= 500:
        advice = "This is not your fault; try again later."
    else:
        advice = "Correct this and try again."
    return f"{problem.title}: {problem.detail.rstrip('.')}. {advice}"


class MCPEndpoint:
    """MCP over streamable HTTP: an ASGI application that serves while it is `running`.

    It keeps no sessions, so any of several processes can serve any request.
    """

    def __init__(self, access_of: AccessOf, *, users_named: bool = False) -> None:
        self._server = mcp_server(access_of, users_named=users_named)
        self._manager: StreamableHTTPSessionManager | None = None

    def routes(self, path: str) -> list[Route]:
        """Routes for this path, with and without a slash at the end: not every client follows a redirect.

        Only POST: without sessions, nothing would ever come on the stream that a GET opens.
        """
        return [Route(either, self, methods=["POST"]) for either in (path, f"{path}/")]

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Serve within the surrounding application's lifespan. Leaving cancels the calls in progress."""
        # The SDK's manager runs only once, but an application can be restarted. The SDK's own checks of Host
        # and Origin stay off: the guard in front of the application has made them.
        self._manager = StreamableHTTPSessionManager(self._server, stateless=True)
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._manager is None:
            raise RuntimeError("the application has not started")
        await self._manager.handle_request(scope, receive, send)
