"""MCP, as the SDK's own client sees it: over HTTP against a real server, and over the pipes of `pr2 mcp`."""

import asyncio
import dataclasses
import json
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import typer
from fastapi import FastAPI
from mcp import Client, MCPError, StdioServerParameters, types
from starlette.requests import HTTPConnection
from typer.testing import CliRunner

from agent.engines.errors import EngineError
from agent.policies.scripted import ScriptedPolicy
from index.documents import Document, parse_document
from index.encoding.encoders import SentenceTransformerEncoder
from index.profiles import Profiles
from index.storage.store import Store
from server.access.access import Access
from server.access.gate import LOCAL, OpenGate
from server.cli.mcp import mcp
from server.mcp.endpoint import AccessOf, MCPEndpoint, mcp_server
from server.mcp.tools import Added, Answered, Found
from server.service import Service
from server.settings import Settings
from tests.server.conftest import MakeService
from tests.server.live import ANA, BEN, THINK_ANSWER, THINK_SEARCH, full_disk, serving, soon

Mode = Literal["auto", "legacy"]
TOOLS = ["search_profile", "add_documents", "answer_question"]
QUESTION = "Which fruit do I like?"
LONG = [THINK_SEARCH, ["<think>Let me see.</think><answer>", *["Pears. "] * 1_000]]
ROOT = Path(__file__).parents[3]


def access_to(service: Service) -> AccessOf:
    return lambda connection: Access(service, OpenGate(), LOCAL)


def application(access_of: AccessOf) -> FastAPI:
    """As the server has it: without redirects, at /mcp."""
    endpoint = MCPEndpoint(access_of)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        async with endpoint.running():
            yield

    app = FastAPI(lifespan=lifespan, redirect_slashes=False)
    app.router.routes.append(endpoint.route("/mcp"))
    return app


def introduce(profiles: Profiles) -> None:
    for user, documents in (("ana", ANA), ("ben", BEN)):
        profiles.put(user, [parse_document(item) for item in documents])


@contextmanager
def served(service: Service) -> Iterator[str]:
    introduce(service.profiles)
    with serving(application(access_to(service))) as url:
        yield f"{url}/mcp"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, minilm: SentenceTransformerEncoder) -> Iterator[str]:
    """One server for all tests that change nothing of Ana's and Ben's."""
    settings = Settings(data=tmp_path_factory.mktemp("served"))
    profiles = Profiles(Store(settings.url, minilm.manifest), minilm)
    service = Service(profiles, ScriptedPolicy([THINK_SEARCH, THINK_ANSWER]), settings)
    with served(service) as url:
        yield url
    asyncio.run(service.aclose())


def said(result: types.CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return content.text


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


async def test_the_tools_are_described_with_their_arguments_and_results(url: str) -> None:
    async with Client(url) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == TOOLS
    for tool in tools.values():
        assert tool.description
        assert tool.annotations is not None
        assert tool.input_schema["additionalProperties"] is False
        assert tool.input_schema["required"][0] == "user"
        for name, argument in tool.input_schema["properties"].items():
            assert argument["description"], name
        assert tool.output_schema is not None
        assert set(tool.output_schema["required"]) == set(tool.output_schema["properties"])
        assert tool.annotations.read_only_hint is (tool.name != "add_documents")
    assert tools["search_profile"].input_schema["properties"]["k"]["maximum"] == 100
    item = tools["add_documents"].input_schema["properties"]["documents"]["items"]
    assert set(item["properties"]) == set(Document.model_fields)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_searching_gives_passages_in_words_and_as_values(url: str, mode: Mode) -> None:
    async with Client(url, mode=mode) as client:
        assert client.protocol_version.startswith("2026" if mode == "auto" else "2025")
        assert "answer_question" in (client.instructions or "")
        await client.list_tools()  # So that the client checks results by their schemas.
        result = await client.call_tool(
            "search_profile", {"user": "ana", "query": "the river, the dentist", "k": 2}
        )
    assert not result.is_error
    passages = Found.model_validate(result.structured_content).passages
    assert {passage.document_id for passage in passages} == {"a2", "a3"}
    shown = []
    for number, passage in enumerate(passages, 1):
        document = next(document for document in ANA if document["id"] == passage.document_id)
        assert (passage.text, passage.title) == (document["text"], document.get("title"))
        about = ", ".join(["document " + document["id"], *filter(None, [passage.title])])
        shown.append(f"[{number}] {about}\n{document['text']}")
    assert said(result) == "\n\n".join(shown)
    assert passages[0].score > passages[1].score > 0


async def test_what_is_added_is_found_and_can_be_read(url: str) -> None:
    note = {"id": "ä 1%", "text": "Violet plays the cello on Mondays.", "title": "Note", "metadata": {"n": 1}}
    async with Client(url) as client:
        await client.list_tools()
        arguments = {"user": "cleo", "documents": [note | {"text": "To be replaced."}, note]}
        result = await client.call_tool("add_documents", arguments)
        assert Added.model_validate(result.structured_content) == Added(put=1, duplicates=["ä 1%"])
        assert said(result).startswith("Documents stored: 1. Given more than once")
        # As a string that holds an array, like some assistants send it.
        more = {"user": "cleo", "documents": json.dumps(BEN)}
        assert (await client.call_tool("add_documents", more)).structured_content == {
            "put": 1,
            "duplicates": [],
        }
        result = await client.call_tool("search_profile", {"user": "cleo", "query": "the cello"})
        assert Found.model_validate(result.structured_content).passages[0].document_id == "ä 1%"
        assert "Note" in said(result)
        assert await read(client, "pr2://users/cleo/documents/%C3%A4%201%25") == note


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_answer_comes_with_the_lines_it_rests_on(url: str, mode: Mode) -> None:
    steps: list[tuple[float, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, message))

    async with Client(url, mode=mode) as client:
        await client.list_tools()
        arguments = {"user": "ana", "question": QUESTION}
        result = await client.call_tool("answer_question", arguments, progress_callback=on_progress)
        again = await client.call_tool("answer_question", arguments | {"method": "pr2"})
    assert not result.is_error
    answer = Answered.model_validate(result.structured_content)
    assert answer.answer.startswith("She likes pears")
    assert answer.finish_reason == "answered"
    [cited] = answer.citations
    document = next(document for document in ANA if document["id"] == cited.document_id)
    assert cited.quote in document["text"]
    assert f"[{cited.number}] document {cited.document_id}: {cited.quote}" in said(result)
    assert answer.answer in said(result)
    assert again.structured_content is not None
    assert again.structured_content["answer_id"] != answer.answer_id
    assert steps == [
        (1, "thinking: What does she like?"),
        (2, "searching: favourite food"),
        (3, "passages found: 1"),
        (4, "thinking: Now I know."),
        (5, "answered"),
    ]


async def test_documents_are_found_by_their_template(url: str) -> None:
    async with Client(url) as client:
        assert client.server_capabilities.resources is not None
        [template] = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "pr2://users/{user}/documents/{document_id}"
        assert template.uri_template in (client.instructions or "")
        assert (await client.list_resources()).resources == []
        for document in ANA:
            assert await read(client, f"pr2://users/ana/documents/{document['id']}") == document


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("pr2://users/ana/documents/zz", "'ana' has no document 'zz'"),
        ("pr2://users/nobody/documents/a1", "nothing is stored for the user 'nobody'"),
        ("pr2://users/ben/documents/a1", "'ben' has no document 'a1'"),
        ("pr2://users/ana/documents/a%2F1", "'a/1' cannot be an id"),
        ("pr2://users/ana/documents/a%001", "cannot be an id"),
        ("pr2://users/ana/pictures/a1", "there are pr2://users/{user}/documents/{document_id}"),
    ],
)
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_resource_that_is_not_there_is_refused_in_words(
    url: str, uri: str, words: str, mode: Mode
) -> None:
    async with Client(url, mode=mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
    assert words in caught.value.message
    assert (caught.value.code, caught.value.data) == (types.INVALID_PARAMS, {"uri": uri})


async def test_a_call_that_cannot_be_served_says_why_and_how_to_go_on(url: str) -> None:
    def search(**more: Any) -> Any:
        return refused(client, "search_profile", **{"user": "ana", "query": "pears"} | more)

    def ask(**more: Any) -> Any:
        return refused(client, "answer_question", **{"user": "ana", "question": QUESTION} | more)

    async with Client(url) as client:
        for nobody in (search(user="nobody"), ask(user="nobody")):
            text = await nobody
            assert "nothing is stored for the user 'nobody'. Check the name; add_documents" in text
        assert "k: Input should be less than or equal to 100. Correct this" in await search(k=101)
        assert "k: Input should be greater than or equal to 1" in await search(k=0)
        assert "query: String should match" in await search(query=" ")
        assert "limit: field is not permitted" in await search(limit=3)
        assert "'a/b' cannot be an id" in await search(user="a/b")
        assert "question: Field required" in await refused(client, "answer_question", user="ana")
        assert "the question is empty" in await ask(question="  ")
        assert "the limit is 8000" in await ask(question="x" * 8_001)
        assert "there is no method 'magic'" in await ask(method="magic")
        with pytest.raises(MCPError, match="there is no tool 'forget'; there are search_profile, add_doc"):
            await client.call_tool("forget", {})


async def test_one_faulty_document_keeps_all_of_them_out(url: str) -> None:
    good = {"id": "c1", "text": "Cleo collects stamps."}
    bad = [{"id": "c2"}, {"id": "c/3", "text": "x"}, "just text", {"id": "c4", "text": "x", "\ud800": 1}]

    def add(documents: Any) -> Any:
        return refused(client, "add_documents", user="dora", documents=documents)

    async with Client(url) as client:
        text = await add([good, *bad[:3]])
        assert text.startswith(
            "A document does not fit the schema: nothing is stored, because of document 2:"
        )
        assert "document 2: text: Field required; document 3: id: 'c/3' cannot be an id" in text
        assert "document 4: a document is a JSON object, not str. Correct this and try again." in text
        assert "and 3 more" in await add([good, *[bad[0]] * 8])
        assert "at most 1000 items" in await add([good] * 1_001)
        assert "at least 1 item" in await add([])
        assert "valid list" in await add("many")
        assert "'dora'" in await refused(client, "search_profile", user="dora", query="stamps")


async def test_the_users_are_apart(url: str) -> None:
    async with Client(url) as client:
        found = [
            await client.call_tool("search_profile", {"user": user, "query": "favourite food", "k": 100})
            for user in ("ana", "ben")
        ]
        asked = await client.call_tool("answer_question", {"user": "ben", "question": QUESTION})
    assert "octopus" not in str(found[0])
    ids = {passage.document_id for passage in Found.model_validate(found[1].structured_content).passages}
    assert ids == {"b1"}
    cited = Answered.model_validate(asked.structured_content).citations
    assert {line.document_id for line in cited} == {"b1"}


@pytest.mark.parametrize(
    ("turns", "limits", "words"),
    [
        (
            [[EngineError("unavailable", "no engine at http://engine")]],
            {},
            "The policy has failed: no engine at http://engine. This is not your fault; try again later.",
        ),
        ([[EngineError("bad_reply", "half a \ud83d")]], {}, "The policy has failed: half a ?."),
        ([THINK_SEARCH, [EngineError("timeout", "30 s of silence")]], {}, "The policy was silent too long"),
        (["<think>I do not know.</think>"], {}, "No answer was found (invalid"),
        ([THINK_SEARCH], {"max_searches": 1}, "No answer was found (max_searches"),
    ],
)
async def test_no_answer_is_an_error_and_never_an_empty_success(
    make_service: MakeService, turns: list[Any], limits: dict[str, int], words: str
) -> None:
    with served(make_service(ScriptedPolicy(turns), limits=limits)) as url:
        async with Client(url) as client:
            assert words in await refused(client, "answer_question", user="ana", question=QUESTION)


async def test_an_answer_that_a_limit_cut_off_says_so(make_service: MakeService) -> None:
    with served(make_service(ScriptedPolicy(LONG), limits={"max_tokens": 4})) as url:
        async with Client(url) as client:
            await client.list_tools()
            result = await client.call_tool("answer_question", {"user": "ana", "question": QUESTION})
    assert not result.is_error
    assert Answered.model_validate(result.structured_content).finish_reason == "max_tokens"
    assert "(The answer was cut off: max_tokens.)" in said(result)


async def test_a_full_disk_is_an_error_that_says_to_come_back(make_service: MakeService) -> None:
    service = make_service()
    with served(service) as url, full_disk(service):
        async with Client(url) as client:
            filler = {"filler": "x" * 50_000}
            documents = [{"id": f"n{n}", "text": f"note {n}", "metadata": filler} for n in range(20)]
            text = await refused(client, "add_documents", user="ana", documents=documents)
    assert text.startswith("The database cannot be used now")
    assert text.endswith("try again later.")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_fault_of_ours_is_logged_and_not_given_away(
    make_service: MakeService, caplog: pytest.LogCaptureFixture, mode: Mode
) -> None:
    def broken(connection: HTTPConnection | None) -> Access:
        raise RuntimeError("the password is swordfish")

    policy = ScriptedPolicy([[RuntimeError("the key is swordfish")]])
    with served(make_service(policy)) as url:
        async with Client(url, mode=mode) as client:
            text = await refused(client, "answer_question", user="ana", question=QUESTION)
    assert text.startswith("The server has failed: The fault is in the server's log.")
    assert "RuntimeError: the key is swordfish" in caplog.text
    assert "Traceback" in caplog.text
    with serving(application(broken)) as url:
        async with Client(f"{url}/mcp", mode=mode) as client:
            with pytest.raises(MCPError) as caught:
                await client.read_resource("pr2://users/ana/documents/a1")
    assert caught.value.code == types.INTERNAL_ERROR
    assert "The fault is in the server's log" in caught.value.message
    assert "swordfish" not in caught.value.message
    assert "RuntimeError: the password is swordfish" in caplog.text


async def amid_its_answer(client: Client) -> asyncio.Task[types.CallToolResult]:
    """A call for which the policy has written the first words."""
    writing = asyncio.Event()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        if message == "thinking: Let me see.":
            writing.set()

    arguments = {"user": "ana", "question": QUESTION}
    call = asyncio.create_task(client.call_tool("answer_question", arguments, progress_callback=on_progress))
    await asyncio.wait_for(writing.wait(), 5)
    return call


async def test_cancelling_a_call_over_http_stops_the_generation(make_service: MakeService) -> None:
    policy = ScriptedPolicy(LONG, delay_s=0.01)
    with served(make_service(policy)) as url:
        async with Client(url) as client:
            call = await amid_its_answer(client)
            assert policy.cancelled == []
            call.cancel()
            assert await soon(lambda: policy.cancelled == [QUESTION])
    assert call.cancelled()


async def test_a_client_that_leaves_stops_the_generation(make_service: MakeService) -> None:
    policy = ScriptedPolicy(LONG, delay_s=0.01)
    with served(make_service(policy)) as url:
        async with Client(url, mode="legacy") as client:
            call = await amid_its_answer(client)
            assert policy.cancelled == []
        assert await soon(lambda: policy.cancelled == [QUESTION])
        with pytest.raises(MCPError, match="Connection closed"):
            await call


async def test_cancelling_a_call_over_a_pipe_stops_the_generation(make_service: MakeService) -> None:
    policy = ScriptedPolicy(LONG, delay_s=0.01)
    service = make_service(policy)
    introduce(service.profiles)
    async with Client(mcp_server(access_to(service)), mode="legacy") as client:
        call = await amid_its_answer(client)
        assert policy.cancelled == []
        call.cancel()
        assert await soon(lambda: policy.cancelled == [QUESTION])


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


@dataclass
class Seen:
    """What one assistant has seen through `pr2 mcp`."""

    arguments: dict[str, list[str]] = field(default_factory=dict)
    template: str = ""
    results: list[types.CallToolResult] = field(default_factory=list)
    document: Any = None
    refusals: list[str] = field(default_factory=list)
    steps: list[str | None] = field(default_factory=list)
    noise: list[Exception] = field(default_factory=list)


async def assist(data: Path, user: str | None) -> Seen:
    seen = Seen()

    async def on_message(message: Any) -> None:
        if isinstance(message, Exception):
            seen.noise.append(message)

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.steps.append(message)

    program = "import typer; from server.cli.mcp import mcp; typer.run(mcp)"
    flags = ["--user", user] if user else ["--policy", "extractive"]
    environment = {"PYTHONPATH": str(ROOT), "PR2_DATA": str(data), "HF_HUB_OFFLINE": "1"}
    process = StdioServerParameters(
        command=sys.executable, args=["-c", program, *flags], env=environment, cwd=data
    )
    whose = {} if user else {"user": "ana"}
    other = {"user": "ben", "query": "favourite food"}
    documents = "pr2://documents/" if user else "pr2://users/ana/documents/"
    # One of each era.
    async with Client(process, mode="legacy" if user else "auto", message_handler=on_message) as client:
        for tool in (await client.list_tools()).tools:
            seen.arguments[tool.name] = list(tool.input_schema["properties"])
        [template] = (await client.list_resource_templates()).resource_templates
        seen.template = template.uri_template
        new = {"id": "n1", "text": "My sister collects old maps."}
        question = "What does my sister collect?"
        seen.results = [
            await client.call_tool("add_documents", {**whose, "documents": [new]}),
            await client.call_tool("search_profile", {**whose, "query": "sister", "k": 1}),
            await client.call_tool(
                "answer_question", {**whose, "question": question}, progress_callback=on_progress
            ),
            await client.call_tool("search_profile", other),
        ]
        seen.document = await read(client, f"{documents}n1")
        for absent in ("b1", "a/b"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(f"{documents}{absent}")
            seen.refusals.append(caught.value.message)
    return seen


@pytest.fixture(scope="module")
def assisted(tmp_path_factory: pytest.TempPathFactory, minilm: SentenceTransformerEncoder) -> list[Seen]:
    """Two assistants at a time, each on a store of its own: for everybody, and for Ana alone."""

    async def both() -> list[Seen]:
        return list(
            await asyncio.gather(*(assist(data, user) for data, user in zip(folders, users, strict=True)))
        )

    users = (None, "ana")
    folders = [tmp_path_factory.mktemp("mcp") for _ in users]
    for data in folders:
        store = Store(Settings(data=data).url, minilm.manifest)
        introduce(Profiles(store, minilm))
        store.close()
    return asyncio.run(both())


def test_an_assistant_can_do_the_same_over_a_pipe(assisted: list[Seen]) -> None:
    for seen in assisted:
        added, found, answered, _ = seen.results
        assert Added.model_validate(added.structured_content).put == 1
        assert Found.model_validate(found.structured_content).passages[0].document_id == "n1"
        answer = Answered.model_validate(answered.structured_content)
        assert ("n1", "My sister collects old maps.") in {(c.document_id, c.quote) for c in answer.citations}
        assert "searching: What does my sister collect?" in seen.steps
        assert seen.document == {"id": "n1", "text": "My sister collects old maps."}
        assert "'ana' has no document 'b1'" in seen.refusals[0]
        assert "there is no resource" in seen.refusals[1]
        assert seen.noise == []


def test_without_a_user_the_assistant_names_one_each_time(assisted: list[Seen]) -> None:
    seen, _ = assisted
    assert list(seen.arguments) == TOOLS
    assert {arguments[0] for arguments in seen.arguments.values()} == {"user"}
    assert seen.template == "pr2://users/{user}/documents/{document_id}"
    assert "octopus" in said(seen.results[-1])


def test_with_a_user_the_tools_work_for_nobody_else(assisted: list[Seen]) -> None:
    _, seen = assisted
    assert list(seen.arguments) == TOOLS
    assert all("user" not in arguments for arguments in seen.arguments.values())
    assert seen.template == "pr2://documents/{document_id}"
    assert seen.results[-1].is_error
    assert "user: field is not permitted" in said(seen.results[-1])


def test_what_keeps_it_from_starting_is_said_in_one_line_on_stderr(
    tmp_path: Path, minilm: SentenceTransformerEncoder
) -> None:
    app = typer.Typer()
    app.command()(mcp)
    other = Store(Settings(data=tmp_path).url, dataclasses.replace(minilm.manifest, name="other"))
    other.open()
    other.close()
    for flags, words in (
        (["--user", "a/b"], "'a/b' cannot be an id"),
        (["--data", str(tmp_path)], "made with the encoder other"),
    ):
        result = CliRunner().invoke(app, flags)
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1
