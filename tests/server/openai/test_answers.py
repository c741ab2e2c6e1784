"""Answers in OpenAI's shape, as its own client reads them."""

import re
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from agent.citations import PARTIAL_MARK, resolve
from agent.policies.scripted import ScriptedPolicy
from agent.trajectory import Read
from index.documents import Passage
from server.http.app import create_app
from server.openai.conversation import CONVERSATION_CHARACTERS
from server.openai.marks import Marks
from server.openai.models import MODELS
from tests.agent import texts
from tests.server.conftest import MakeService
from tests.server.live import ANA, BEN, THINK_ANSWER, THINK_SEARCH, full_disk, serving
from tests.server.openai.chat import (
    CLIENT,
    DANGLING,
    QUESTION,
    Chat,
    Listening,
    annotations_of,
    chat_of,
    joined,
    listening,
)
from tests.waiting import soon


def test_the_client_asks_and_streams_over_a_socket(make_service: MakeService) -> None:
    service = make_service()
    with listening(service) as url, OpenAI(**CLIENT, base_url=f"{url}/v1") as client:
        completion = client.chat.completions.create(model="pr2", messages=QUESTION, user="ana")
        with client.chat.completions.create(
            model="pr2",
            messages=QUESTION,
            user="ana",
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            chunks = list(stream)
        with client.chat.completions.stream(model="pr2", messages=QUESTION, user="ana") as events:
            gathered = events.get_final_completion()
        assert [model.id for model in client.models.list()] == [
            *("pr2", "pr2-rag", "pr2-planpers", "pr2-prlm", "pr2-none")
        ]
        link = completion.choices[0].message.annotations[0].url_citation.url  # type: ignore[index]
        assert httpx.get(link).json() == ANA[0]
        answer_id = completion.id.removeprefix("chatcmpl-")
        stored = httpx.get(f"{url}/v1/users/ana/answers/{answer_id}").json()
    message = completion.choices[0].message
    assert message.content == stored["answer"] == "She likes pears [1]."
    assert (completion.choices[0].finish_reason, chunks[-2].choices[0].finish_reason) == ("stop", "stop")
    assert joined(chunks, "content") == gathered.choices[0].message.content == message.content
    assert annotations_of(chunks) == [one.to_dict() for one in message.annotations or []]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == completion.usage
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


async def test_a_completion_has_exactly_openais_shape(chat: Chat) -> None:
    completion = await chat.ask()
    ChatCompletion.model_validate(completion.to_dict())
    assert completion.object == "chat.completion"
    assert completion.usage
    assert (completion.usage.completion_tokens, completion.usage.total_tokens) == (2, 2)
    message: Any = completion.choices[0].message
    assert message.reasoning_content == 'What does she like?\n\nSearched: "favourite food"\n\nNow I know.'
    extras: Any = completion.to_dict()["pr2"]
    stored = (await chat.api.client.get(f"/v1/users/ana/answers/{extras['answer_id']}")).json()
    assert completion.id == f"chatcmpl-{stored['id']}"
    assert {name: extras[name] for name in ("method", "finish_reason", "citations")} == {
        name: stored[name] for name in ("method", "finish_reason", "citations")
    }
    for chunk in await chat.stream():
        ChatCompletionChunk.model_validate(chunk.to_dict())


async def test_a_stream_begins_with_the_role_and_ends_with_the_reason(chat: Chat) -> None:
    chunks = await chat.stream()
    assert chunks[0].choices[0].delta.to_dict() == {"role": "assistant", "content": ""}
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert (chunks[-1].choices[0].finish_reason, chunks[-1].choices[0].delta.to_dict()) == ("stop", {})
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert joined(chunks, "reasoning_content") == (
        'What does she like?\n\nSearched: "favourite food"\n\nNow I know.'
    )
    assert all("usage" not in chunk.to_dict() for chunk in chunks)
    answer_id = chunks[-1].to_dict()["pr2"]["answer_id"]  # type: ignore[index]
    assert (await chat.api.client.get(f"/v1/users/ana/answers/{answer_id}")).status_code == 200


async def test_an_answer_that_cannot_be_stored_says_so(make_service: MakeService) -> None:
    turn = ["<think>" + "long " * 5_000 + "</think>", "<answer>Pears.</answer>"]
    service = make_service(ScriptedPolicy([turn]))
    async with chat_of(service) as chat:
        with full_disk(service):
            extras = (await chat.ask()).to_dict()["pr2"]
        kept = (await chat.ask()).to_dict()["pr2"]
    assert (extras["stored"], kept["stored"]) == (False, True)  # type: ignore[index]


async def test_events_have_no_names_and_done_is_last(chat: Chat) -> None:
    body = {"model": "pr2", "messages": QUESTION, "user": "ana", "stream": True}
    response = await chat.api.client.post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = response.text.removesuffix("\n\n").split("\n\n")
    assert all(event.startswith("data: ") for event in events)
    assert events[-1] == "data: [DONE]"


async def test_a_streamed_answer_is_the_answer_without_the_marks_that_point_nowhere(
    make_service: MakeService,
) -> None:
    async with chat_of(make_service(ScriptedPolicy([THINK_SEARCH, DANGLING]))) as chat:
        completion = await chat.ask(extra_body={"limits": {"top_k": 1}})
        chunks = await chat.stream(extra_body={"limits": {"top_k": 1}})
    assert completion.choices[0].message.content == "She likes pears [1]. Figs [1] [x] [1234567]"
    assert joined(chunks, "content") == completion.choices[0].message.content
    assert sum("content" in chunk.choices[0].delta.to_dict() for chunk in chunks) > 4


READS = {number: (Read(number, Passage("tea", "I drink tea.")), 0) for number in (1, 2, 12)}
MARKS = st.sampled_from(
    [
        "[1]",
        "[7]",
        " [2][9]",
        "[7, 1]",
        " [ 1]",
        "[",
        "]",
        "1",
        "12",
        ",",
        " ",
        "\n",
        "\u2003",
        "١",
        "tea",
        "0" * 7,
        "【1】",
        "[^2]",
        "【2†L3】",
        "【",
        "†",
    ]
)


@given(st.lists(st.one_of(MARKS, MARKS, texts.fragments), max_size=20).map("".join), texts.cuts)
def test_what_is_streamed_is_always_a_beginning_of_the_answer_and_lags_only_behind_marks(
    raw: str, cuts: list[int]
) -> None:
    whole = resolve(raw, READS)[0]
    for pieces in (texts.pieces(raw, cuts), texts.one_by_one(raw)):
        marks = Marks()
        marks.know(read for read, _ in READS.values())
        shown = ""
        for piece in pieces:
            shown += marks.feed(piece)
            assert whole.startswith(shown)
        assert PARTIAL_MARK.fullmatch(whole[len(shown) :].lstrip())


async def test_every_mark_is_annotated_with_the_line_that_it_rests_on(make_service: MakeService) -> None:
    lines = "I love ripe pears. I never drink coffee."
    answer = "She loves ripe pears [1]. Never coffee [1, 2]. Ripe pears again, she loves them [1]."
    async with chat_of(make_service(ScriptedPolicy([THINK_SEARCH, f"<answer>{answer}</answer>"]))) as chat:
        await chat.api.put("cy d", [{"id": "p1 100%?", "text": lines, "title": "Taste"}])
        await chat.api.put("cy d", [{"id": "x", "text": "The bus was late."}])
        message: Any = (await chat.ask("cy d", extra_body={"retriever": "dense"})).choices[0].message
        cited = [annotation.url_citation for annotation in message.annotations]
        documents = [
            (await chat.api.client.get(urlsplit(one.url)._replace(scheme="", netloc="").geturl())).json()
            for one in cited
        ]
    assert message.content == answer
    places = [answer[one.start_index : one.end_index] for one in cited]
    assert places == ["[1]", "[1, 2]", "[1, 2]", "[1]"]
    pears, coffee = "I love ripe pears.", "I never drink coffee."
    assert [one.quote for one in cited] == [pears, coffee, "The bus was late.", pears]
    assert [one.title for one in cited] == ["Taste", "Taste", "x", "Taste"]
    assert [document["id"] for document in documents] == [one.document_id for one in cited]
    assert cited[0].url == "http://api/v1/users/cy%20d/documents/p1%20100%25%3F"


async def test_users_are_as_separate_as_ever(chat: Chat) -> None:
    await chat.api.put("ben", BEN)
    message: Any = (await chat.ask("ben")).choices[0].message
    assert [annotation.url_citation.document_id for annotation in message.annotations] == ["b1"]


async def test_models_are_the_methods(bare: Chat) -> None:
    models = [model async for model in bare.client.models.list()]
    assert [model.id for model in models] == list(MODELS)
    assert {(model.object, model.owned_by) for model in models} == {("model", "pr2")}
    assert await bare.client.models.retrieve("pr2-rag") == models[1]
    with pytest.raises(
        openai.NotFoundError, match="pr2, pr2-rag, pr2-planpers, pr2-prlm, pr2-none"
    ) as raised:
        await bare.client.models.retrieve("gpt-5")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")
    error = await bare.refusal(openai.NotFoundError, model="gpt-5")
    assert (error["type"], error["code"], error["param"]) == ("not_found_error", "model_not_found", "model")


@pytest.mark.parametrize(
    ("model", "steps"), [("pr2-rag", ["information"]), ("pr2-prlm", ["information"]), ("pr2-none", [])]
)
async def test_a_model_answers_in_its_methods_way(
    make_service: MakeService, model: str, steps: list[str]
) -> None:
    async with chat_of(make_service(ScriptedPolicy([THINK_ANSWER]))) as chat:
        completion = await chat.ask(model=model)
        extras: Any = completion.to_dict()["pr2"]
        record = (await chat.api.client.get(f"/v1/users/ana/answers/{extras['answer_id']}")).json()
    assert completion.model == model
    assert f"pr2-{extras['method']}" == f"pr2-{record['method']}" == model
    assert [step["kind"] for step in record["trajectory"]["steps"]] == [*steps, "thought", "answer"]
    assert completion.choices[0].message.content == ("She likes pears [1]." if steps else "She likes pears.")


async def test_earlier_messages_reach_the_prompt(make_service: MakeService) -> None:
    policy = Listening([THINK_ANSWER])
    earlier = [
        {"role": "system", "content": "Be short."},
        {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "kind."}]},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!", "refusal": None, "annotations": [], "tool_calls": None},
    ]
    async with chat_of(make_service(policy)) as chat:
        await chat.ask(messages=[*earlier, *QUESTION])
    [prompt] = policy.prompts
    said = "system: Be short.\nsystem: Be\n    kind.\nuser: Hello\nassistant: Hi!\n"
    assert re.search(rf"{said}\nToday is \w+, [-\d]+ \(UTC\)\.\nQuestion: Which fruit do I like\?", prompt)


async def test_a_long_conversation_keeps_its_system_messages_and_its_newest_end(
    make_service: MakeService,
) -> None:
    policy = Listening([THINK_ANSWER])
    earlier = [{"role": "user", "content": "oldest"}, {"role": "system", "content": "Be short."}] + [
        {"role": "assistant", "content": f"<{number}>" + "x" * 2_996} for number in range(1, 5)
    ]
    async with chat_of(make_service(policy)) as chat:
        await chat.ask(messages=[*earlier, *QUESTION])
        completion = await chat.ask(messages=[{"role": "system", "content": "y" * 99_999}, *QUESTION])
    first, second = policy.prompts
    assert "oldest" not in first
    assert [number for number in "1234" if f"assistant: <{number}>x" in first] == ["2", "3", "4"]
    assert first.index("Be short.") < first.index("<2>")
    kept = sum(len(text) for text in re.findall(r"^(?:system|assistant): (.*)$", first, re.MULTILINE))
    assert kept == second.count("y" * 8_000) * CONVERSATION_CHARACTERS == CONVERSATION_CHARACTERS
    assert completion.choices[0].message.content


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cancels_the_generation(make_service: MakeService, stream: bool) -> None:
    policy = ScriptedPolicy([["<think>Hm.</think>", "<answer>", *["more "] * 2_000]], delay_s=0.02)
    with listening(make_service(policy)) as url:
        arguments: Any = {"model": "pr2", "messages": QUESTION, "user": "ana", "stream": stream}
        async with AsyncOpenAI(**CLIENT, base_url=f"{url}/v1", timeout=60 if stream else 2) as client:
            if stream:
                async with await client.chat.completions.create(**arguments) as chunks:
                    async for chunk in chunks:
                        if chunk.choices[0].delta.content:
                            break
            else:
                with pytest.raises(openai.APITimeoutError):
                    await client.chat.completions.create(**arguments)
        assert await soon(lambda: policy.cancelled == ["Which fruit do I like?"])


async def test_silence_is_filled_with_comments_that_the_client_overlooks(make_service: MakeService) -> None:
    service = make_service(ScriptedPolicy([THINK_ANSWER], delay_s=1.0))
    app = create_app(service.settings, service, keep_alive_s=0.1)
    with serving(app) as url:
        async with AsyncOpenAI(**CLIENT, base_url=f"{url}/v1") as client:
            async with httpx.AsyncClient(base_url=url) as http:
                await http.put("/v1/users/ana/documents", json=ANA)
                body: Any = {"model": "pr2", "messages": QUESTION, "user": "ana", "stream": True}
                text = (await http.post("/v1/chat/completions", json=body)).text
            chunks = [chunk async for chunk in await client.chat.completions.create(**body)]
    assert text.count(": keep-alive\n\n") >= 2
    assert joined(chunks, "content") == "She likes pears."
