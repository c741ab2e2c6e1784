"""The retriever `auto` over MCP, where it is the server's setting."""

from typing import Any

import pytest
from mcp import Client

from server.mcp.tools import Answered, Found
from tests.selector import ScriptedSelector, passages_in
from tests.server.conftest import MakeService
from tests.server.mcp.served import QUESTION, served


@pytest.mark.parametrize("mode", ["pre", "post"])
async def test_an_answer_is_chosen_and_a_search_is_not(make_service: MakeService, mode: Any) -> None:
    selector = ScriptedSelector(mode, lambda prompt, output: passages_in(prompt))
    service = make_service(selector=selector, retriever="auto")
    with served(service) as url:
        async with Client(url) as client:
            await client.list_tools()
            asked = await client.call_tool("answer_question", {"user": "ana", "question": QUESTION})
            found = await client.call_tool("search_profile", {"user": "ana", "query": "pears"})
        answered = Answered.model_validate(asked.structured_content)
        stored = await service.stored_answer("ana", answered.answer_id)
        usual = await service.search("ana", ["pears"], 5, "hybrid")
    assert stored["trajectory"]["selection"]["retriever"] == "recency"
    passages = Found.model_validate(found.structured_content).passages
    assert [one.document_id for one in passages] == [one.document_id for one in usual[0]]
