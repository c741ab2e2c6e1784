"""Unmodified clients in front of a running server: openai-python and langchain-openai."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage, BaseMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, OpenAI

from agent.engines.errors import EngineError
from agent.policies.extractive import ExtractivePolicy
from agent.policies.scripted import Piece, ScriptedPolicy
from tests.server.conftest import MakeService
from tests.server.live import ANA, THINK_ANSWER
from tests.server.openai.chat import CLIENT, INPUT, QUESTION, Listening, annotations_of, joined, listening
from tests.waiting import soon

HEADER = "X-Trusted-User"
ANSWER = "She likes pears [1]."


@pytest.fixture
def url(make_service: MakeService) -> Iterator[str]:
    with listening(make_service()) as url:
        yield f"{url}/v1"


def test_chat_from_openai_sync(url: str) -> None:
    asks: Any = {"model": "pr2", "messages": QUESTION, "user": "ana"}
    with OpenAI(**CLIENT, base_url=url) as client:
        completion = client.chat.completions.create(**asks)
        chunks = list(client.chat.completions.create(**asks, stream=True))
    assert completion.choices[0].message.content == joined(chunks, "content") == ANSWER
    assert annotations_of(chunks) == [
        one.to_dict() for one in completion.choices[0].message.annotations or []
    ]


async def test_chat_from_openai_async(url: str) -> None:
    asks: Any = {"model": "pr2", "messages": QUESTION, "user": "ana"}
    async with AsyncOpenAI(**CLIENT, base_url=url) as client:
        completion = await client.chat.completions.create(**asks)
        chunks = [chunk async for chunk in await client.chat.completions.create(**asks, stream=True)]
    assert completion.choices[0].message.content == joined(chunks, "content") == ANSWER


def test_responses_from_openai_sync(url: str) -> None:
    asks: Any = {"model": "pr2", "input": INPUT, "user": "ana"}
    with OpenAI(**CLIENT, base_url=url) as client:
        response = client.responses.create(**asks)
        events = list(client.responses.create(**asks, stream=True))
        with client.responses.stream(**asks) as stream:
            gathered = stream.get_final_response()
        # Its output is a valid input of the next question.
        follow_up: Any = [*QUESTION, *response.output, {"role": "user", "content": "And what else?"}]
        assert client.responses.create(model="pr2", input=follow_up, user="ana").output_text
        answer: Any = response.output[-1]
        [annotation] = answer.content[0].annotations
        assert httpx.get(annotation.url).json() == ANA[0]
    assert response.output_text == gathered.output_text == ANSWER
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == ANSWER
    end: Any = gathered.output[-1]
    assert end.content[0].annotations == [annotation]


async def test_responses_from_openai_async(url: str) -> None:
    asks: Any = {"model": "pr2", "input": INPUT, "user": "ana"}
    async with AsyncOpenAI(**CLIENT, base_url=url) as client:
        response = await client.responses.create(**asks)
        events = [event async for event in await client.responses.create(**asks, stream=True)]
        async with client.responses.stream(**asks) as stream:
            gathered = await stream.get_final_response()
    assert response.output_text == gathered.output_text == ANSWER
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == ANSWER


def test_headers_of_ignored_fields_reach_the_client(url: str) -> None:
    with OpenAI(**CLIENT, base_url=url) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="pr2", messages=QUESTION, user="ana", max_tokens=128_000, extra_body={"top_k": 4}
        )
    assert raw.headers["PR2-Ignored"] == "top_k"
    assert raw.headers["PR2-Clamped"] == "max_tokens=32768"
    completion: Any = raw.parse()
    assert completion.choices[0].message.content == ANSWER


def test_errors_are_raised_with_our_message(url: str) -> None:
    with OpenAI(**CLIENT, base_url=url) as client:
        with pytest.raises(openai.BadRequestError, match="n is not supported"):
            client.chat.completions.create(model="pr2", messages=QUESTION, user="ana", n=2)
        with pytest.raises(openai.BadRequestError, match="previous_response_id is not supported") as caught:
            client.responses.create(model="pr2", input=INPUT, user="ana", previous_response_id="resp_1")
        assert caught.value.param == "previous_response_id"
        with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-5'; there are pr2, "):
            client.responses.create(model="gpt-5", input=INPUT, user="ana")
        with pytest.raises(openai.NotFoundError) as missing:
            client.responses.retrieve("resp_1")
        assert missing.value.code == "not-found"
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="pr2", input="pears", encoding_format="float")


async def test_a_client_that_leaves_a_stream_of_events_cancels_the_generation(
    make_service: MakeService,
) -> None:
    policy = ScriptedPolicy([["<think>Hm.</think>", "<answer>", *["more "] * 2_000]], delay_s=0.02)
    with listening(make_service(policy)) as url:
        async with AsyncOpenAI(**CLIENT, base_url=f"{url}/v1") as client:
            stream = await client.responses.create(model="pr2", input=INPUT, user="ana", stream=True)
            async with stream:
                async for event in stream:
                    if event.type == "response.output_text.delta":
                        break
        assert await soon(lambda: policy.cancelled == [INPUT])


@contextmanager
def served(make_service: MakeService, **settings: Any) -> Iterator[str]:
    with listening(make_service(ExtractivePolicy(), **settings)) as url:
        yield f"{url}/v1"


@pytest.mark.parametrize("responses", [False, True])
async def test_langchain_asks_without_a_user(make_service: MakeService, responses: bool) -> None:
    with served(make_service, identity={"default_user": "ana"}) as url:
        model = langchain(url, use_responses_api=responses)
        whole = model.invoke(INPUT)
        pieces = list(model.stream(INPUT))
        later = await model.ainvoke([SystemMessage("Be short."), HumanMessage(INPUT)])
        later_pieces = [piece async for piece in model.astream(INPUT)]
    assert "I love ripe pears from our garden." in whole.text
    assert whole.text == later.text == text_of(pieces) == text_of(later_pieces)
    assert len(pieces) > 1


@pytest.mark.parametrize("responses", [False, True])
def test_langchain_asks_with_a_trusted_header(make_service: MakeService, responses: bool) -> None:
    with served(make_service, identity={"header": HEADER}) as url:
        model = langchain(url, use_responses_api=responses, default_headers={HEADER: "ana"})
        assert "pears" in model.invoke(INPUT).text
        with pytest.raises(openai.BadRequestError, match="or identity"):
            langchain(url, use_responses_api=responses).invoke(INPUT)
        with pytest.raises(openai.NotFoundError, match="ben"):
            langchain(url, use_responses_api=responses, default_headers={HEADER: "ben"}).invoke(INPUT)


@pytest.mark.parametrize("responses", [False, True])
def test_langchain_sends_tools_and_a_finished_exchange(make_service: MakeService, responses: bool) -> None:
    call = {"id": "c1", "name": "get_weather", "args": {"city": "Oslo"}}
    messages = [
        HumanMessage("How cold is it?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("4 °C", tool_call_id="c1"),
        AIMessage("It is cold."),
        HumanMessage(INPUT),
    ]
    tool = {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {}},
    }
    policy = Listening([THINK_ANSWER])
    with listening(make_service(policy, identity={"default_user": "ana"})) as url:
        model = langchain(f"{url}/v1", use_responses_api=responses, temperature=0, stop=["Figs"])
        answer = model.bind_tools([tool]).invoke(messages)
    assert answer.text == "She likes pears."
    assert "The tool get_weather returned: 4 °C\nassistant: It is cold.\n" in policy.prompts[0]


@pytest.mark.parametrize(("responses", "kind"), [(False, openai.APIError), (True, ValueError)])
def test_langchain_raises_when_a_stream_fails(
    make_service: MakeService, responses: bool, kind: type[Exception]
) -> None:
    turn: list[Piece] = ["<answer>She ", "likes", EngineError("broken_stream", "the engine is gone")]
    with listening(make_service(ScriptedPolicy([turn]), identity={"default_user": "ana"})) as url:
        read: list[BaseMessageChunk] = []
        with pytest.raises(kind, match="the engine is gone"):
            read.extend(langchain(f"{url}/v1", use_responses_api=responses).stream(INPUT))
    assert text_of(read) == "She likes"


def langchain(url: str, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model="pr2", base_url=url, api_key="sk-any", max_retries=0, **options)


def text_of(pieces: Sequence[BaseMessageChunk]) -> str:
    return "".join(piece.text for piece in pieces)
