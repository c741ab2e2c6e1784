"""The tools and resources, as the SDK's own client sees them over HTTP."""

import asyncio
import json
from typing import Any

import pytest
from mcp import Client, MCPError, types
from starlette.requests import HTTPConnection

from agent.engines.errors import EngineError
from agent.policies.scripted import ScriptedPolicy
from index.documents import Document
from server.access.access import Access
from server.mcp.endpoint import mcp_server
from server.mcp.tools import Added, Answered, Found
from tests.server.conftest import MakeService
from tests.server.live import ANA, BEN, THINK_SEARCH, full_disk, serving
from tests.server.mcp.served import (
    LONG,
    QUESTION,
    TOOLS,
    Mode,
    access_to,
    application,
    introduce,
    read,
    refused,
    said,
    served,
)
from tests.waiting import soon


async def test_the_tools_are_described_with_their_arguments_and_results(url: str) -> None:
    async with Client(url) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == TOOLS
    for tool in tools.values():
        assert tool.description
        assert tool.annotations is not None
        assert tool.input_schema["additionalProperties"] is False
        assert tool.input_schema["required"][0] == "user"
        assert tool.input_schema["properties"]["user"]["maxLength"] == 256
        for name, argument in tool.input_schema["properties"].items():
            assert argument["description"], name
        assert tool.output_schema is not None
        assert set(tool.output_schema["required"]) == set(tool.output_schema["properties"])
        assert {"user", "user_from"} <= set(tool.output_schema["required"])
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
    note = {"id": "ä/1%", "text": "Violet plays the cello on Mondays.", "title": "Note", "metadata": {"n": 1}}
    async with Client(url) as client:
        await client.list_tools()
        arguments = {"user": "cleo", "documents": [note | {"text": "To be replaced."}, note]}
        result = await client.call_tool("add_documents", arguments)
        added = Added.model_validate(result.structured_content)
        assert (added.put, added.duplicates, added.added.first) == (1, ["ä/1%"], ["ä/1%"])
        assert said(result).startswith("Documents stored: 1. Given more than once")
        # As a string that holds an array, like some assistants send it.
        more = {"user": "cleo", "documents": json.dumps(BEN)}
        added = Added.model_validate((await client.call_tool("add_documents", more)).structured_content)
        assert (added.put, added.duplicates, added.added.count) == (1, [], 1)
        result = await client.call_tool("search_profile", {"user": "cleo", "query": "the cello"})
        assert Found.model_validate(result.structured_content).passages[0].document_id == "ä/1%"
        assert "Note" in said(result)
        assert await read(client, "pr2://users/cleo/documents/%C3%A4%2F1%25") == note


async def test_a_text_that_stands_several_times_is_found_once_with_how_often(url: str) -> None:
    notes = [{"id": str(day), "text": "Happy birthday, Ines!"} for day in range(3)]
    async with Client(url) as client:
        await client.list_tools()
        await client.call_tool("add_documents", {"user": "dana", "documents": notes})
        result = await client.call_tool("search_profile", {"user": "dana", "query": "birthday"})
    (passage,) = Found.model_validate(result.structured_content).passages
    assert passage.copies == 3
    assert said(result) == f"[1] document {passage.document_id}, 3 times\nHappy birthday, Ines!"


async def test_a_document_is_replaced_only_on_request(url: str) -> None:
    def adding(text: str, **options: object) -> dict[str, object]:
        return {"user": "edna", "documents": [{"id": "1", "text": text}], **options}

    async with Client(url) as client:
        await client.list_tools()
        assert not (await client.call_tool("add_documents", adding("first"))).is_error
        assert not (await client.call_tool("add_documents", adding("first"))).is_error
        refused = await client.call_tool("add_documents", adding("second"))
        assert refused.is_error
        assert "under these ids, and nothing is replaced: '1'" in said(refused)
        assert (await read(client, "pr2://users/edna/documents/1"))["text"] == "first"
        replaced = await client.call_tool("add_documents", adding("second", replace=True))
        assert Added.model_validate(replaced.structured_content).replaced.first == ["1"]
        assert (await read(client, "pr2://users/edna/documents/1"))["text"] == "second"
        unnamed = {"user": "edna", "documents": [{"text": "ok"}, {"text": "ok", "created_at": "2024-03-05"}]}
        added = await client.call_tool("add_documents", unnamed)
        assert Added.model_validate(added.structured_content).added.count == 2


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
        ("pr2://users/ana/documents/a%2F1", "'ana' has no document 'a/1'"),
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
        assert "'..' cannot be an id" in await search(user="..")
        assert "question: Field required" in await refused(client, "answer_question", user="ana")
        assert "the question is empty" in await ask(question="  ")
        assert "the limit is 32000 (limits.question_characters)" in await ask(question="x" * 32_001)
        assert "there is no method 'magic'" in await ask(method="magic")
        assert "there is no time zone 'Europe/Atlantis'" in await ask(time_zone="Europe/Atlantis")
        with pytest.raises(MCPError, match="there is no tool 'forget'; there are search_profile, add_doc"):
            await client.call_tool("forget", {})


async def test_one_faulty_document_keeps_all_of_them_out(url: str) -> None:
    good = {"id": "c1", "text": "Cleo collects stamps."}
    bad = [{"id": "c2"}, {"id": "c\n3", "text": "x"}, "just text", {"id": "c4", "text": "x", "\ud800": 1}]

    def add(documents: Any) -> Any:
        return refused(client, "add_documents", user="dora", documents=documents)

    async with Client(url) as client:
        text = await add([good, *bad[:3]])
        assert text.startswith(
            "A document does not fit the schema: nothing is stored, because of document 2:"
        )
        assert "document 2: text: Field required; document 3: id: 'c\\n3' cannot be an id" in text
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


async def test_a_question_can_be_asked_on_another_day(make_service: MakeService) -> None:
    service = make_service(ScriptedPolicy(["<think>a</think><answer>Pears.</answer>"]))
    on = {"as_of": "2024-02-29", "time_zone": "Asia/Tokyo"}
    with served(service) as url:
        async with Client(url) as client:
            result = await client.call_tool("answer_question", {"user": "ana", "question": QUESTION, **on})
    assert result.structured_content is not None
    record = service.profiles.store.answer("ana", result.structured_content["answer_id"])
    assert record["trajectory"]["today"] == {"day": "2024-02-29", "time_zone": "Asia/Tokyo"}


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
    assert text.startswith("The disk is full: the database cannot be used now")
    assert text.endswith("try again later.")


async def test_an_answer_that_cannot_be_stored_says_so(make_service: MakeService) -> None:
    turn = ["<think>" + "long " * 5_000 + "</think>", "<answer>Pears.</answer>"]
    service = make_service(ScriptedPolicy([turn]))
    with served(service) as url, full_disk(service):
        async with Client(url) as client:
            await client.list_tools()
            result = await client.call_tool("answer_question", {"user": "ana", "question": QUESTION})
    answered = Answered.model_validate(result.structured_content)
    assert (answered.answer, answered.stored) == ("Pears.", False)


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
    await asyncio.wait_for(writing.wait(), 60)
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
