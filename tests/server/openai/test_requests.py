"""Refused requests, and errors in OpenAI's shape."""

import json
import re
from typing import Any

import openai
import pytest

from agent.engines.errors import EngineError
from agent.policies.scripted import Piece, ScriptedPolicy
from server.openai.chat import ChatRequest
from server.openai.requests import CONSTRAINING
from tests.server.conftest import MakeService
from tests.server.live import THINK_SEARCH
from tests.server.openai.chat import (
    CALL,
    QUESTION,
    RESULT,
    Chat,
    chat_of,
    joined,
)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("What?", "messages"),
        (["What?"], "messages[0]"),
        ([{"role": "system", "content": "Be short."}], "messages"),
        ([*QUESTION, {"role": "assistant", "content": "Pears."}], "messages"),
        ([{"role": "user", "content": " \n"}], "messages"),
        ([{"role": "user", "content": "x" * 32_001}], "messages"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": "a\0b"}], "messages[0].content"),
        ([{"role": "system", "content": None}, *QUESTION], "messages[0].content"),
        ([{"role": "assistant", "content": "", "tool_calls": [{}]}, *QUESTION], "messages[0]"),
        ([{"role": "assistant", "content": "", "tool_calls": 7}, *QUESTION], "messages[0]"),
        ([{"role": "assistant", "function_call": {"name": "f"}}, *QUESTION], "messages[0]"),
        ([*QUESTION, CALL], "messages"),
        ([*QUESTION, CALL, RESULT, {"role": "assistant", "content": "It"}], "messages"),
        ([{"role": "tool", "content": 7, "tool_call_id": "t"}, *QUESTION], "messages[0].content"),
        ([{"role": "function", "name": "f\0", "content": "4"}, *QUESTION], "messages[0].content"),
        ([{"content": "What?"}], "messages[0]"),
        ([{"role": ["user"], "content": "What?"}], "messages[0]"),
    ],
)
async def test_messages_that_make_no_question_are_refused(bare: Chat, messages: Any, param: str) -> None:
    error = await bare.refusal(openai.BadRequestError, messages=[], extra_body={"messages": messages})
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "text"},
        "text",
    ],
)
async def test_only_text_is_read(bare: Chat, part: Any) -> None:
    content = [{"type": "text", "text": "What is this?"}, part]
    error = await bare.refusal(openai.BadRequestError, messages=[{"role": "user", "content": content}])
    assert error["param"] == "messages[0].content[1]"


@pytest.mark.parametrize("user", [openai.NOT_GIVEN, None, "", "  "])
async def test_who_asks_has_to_be_said(bare: Chat, user: Any) -> None:
    error = await bare.refusal(openai.BadRequestError, user=user)
    assert (error["type"], error["param"]) == ("invalid_request_error", "user")
    assert "person" in error["message"]


async def test_an_unknown_user_is_not_found_and_a_bad_one_is_refused(chat: Chat) -> None:
    error = await chat.refusal(openai.NotFoundError, user="nobody")
    assert (error["type"], error["code"], error["param"]) == ("not_found_error", "unknown-user", "user")
    error = await chat.refusal(openai.NotFoundError, user="nobody", stream=True)
    assert error["code"] == "unknown-user"
    error = await chat.refusal(openai.BadRequestError, user="a\nb")
    assert (error["code"], error["param"]) == ("invalid-name", "user")


ASKED: dict[str, Any] = {
    "n": 2,
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "function_call": {"name": "f"},
    "response_format": {"type": "json_object"},
    "logprobs": True,
    "top_logprobs": 2,
    "audio": {"voice": "alloy", "format": "wav"},
    "modalities": ["text", "audio"],
    "moderation": {"model": "omni"},
    "web_search_options": {},
    **dict.fromkeys(CONSTRAINING, "x"),
    "max_tokens": 0,
    "max_completion_tokens": 0,
    "stop": 7,
    "retriever": "magic",
    "stream_options": 3,
}
REFUSED = ChatRequest.REFUSED


@pytest.mark.parametrize("name", sorted(ASKED.keys() | REFUSED.keys()))
async def test_what_is_not_served_is_refused_by_name(bare: Chat, name: str) -> None:
    error = await bare.refusal(openai.BadRequestError, extra_body={name: ASKED[name]})
    assert (error["type"], error["param"]) == ("invalid_request_error", name)
    assert name in error["message"]


async def test_a_limit_out_of_bounds_is_refused_by_name(bare: Chat) -> None:
    error = await bare.refusal(openai.BadRequestError, extra_body={"limits": {"top_k": 0}})
    assert error["param"] == "limits.top_k"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tool_choice", "required"),
        ("tool_choice", {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}),
        ("n", 0),
        ("logprobs", 7),
        ("stop", ["a"] * 17),
    ],
)
async def test_what_would_change_the_answer_is_refused(bare: Chat, name: str, value: Any) -> None:
    error = await bare.refusal(openai.BadRequestError, extra_body={name: value})
    assert error["param"] == name


async def test_limits_and_retriever_are_taken_from_the_request(chat: Chat) -> None:
    body = {"limits": {"top_k": 2, "max_tokens": 9}, "retriever": "bm25"}
    extras: Any = (await chat.ask(max_tokens=99, extra_body=body)).to_dict()["pr2"]
    record = (await chat.api.client.get(f"/v1/users/ana/answers/{extras['answer_id']}")).json()
    limits = record["trajectory"]["limits"]
    assert (limits["top_k"], limits["max_tokens"], limits["max_searches"]) == (2, 99, 4)
    assert record["retriever"] == "bm25"


async def test_an_answer_that_a_limit_cut_off_has_the_reason_length(make_service: MakeService) -> None:
    turn = ["<think>Hm.</think><answer>", "She ", "likes ", "pears [", "1].</answer>"]
    async with chat_of(make_service(ScriptedPolicy([turn]))) as chat:
        completion = await chat.ask(max_completion_tokens=4)
        chunks = await chat.stream(max_tokens=4)
    assert completion.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == "length"
    assert completion.choices[0].message.content == joined(chunks, "content") == "She likes pears ["


@pytest.mark.parametrize(
    ("turns", "more", "status", "code"),
    [
        ([THINK_SEARCH], {"limits": {"max_searches": 1}}, 502, "max_searches"),
        ([["<think>", "so ", "much ", "to ", "say"]], {"max_tokens": 3}, 400, "max_tokens"),
        (["<think>I do not know what to do.</think>"], {}, 502, "invalid"),
        (["<answer>[7]</answer>"], {}, 502, "invalid"),
        ([["<think>", "long"] * 99], {"limits": {"deadline_ms": 1}}, 504, "deadline"),
        ([["<think>", EngineError("timeout", "silent")]], {}, 504, "policy_error"),
        ([["<think>", EngineError("unavailable", "silent")]], {}, 502, "policy_error"),
        ([THINK_SEARCH, ["<answer>She", EngineError("broken_stream", "silent")]], {}, 502, "policy_error"),
    ],
)
async def test_no_answer_is_an_error_and_never_an_empty_success(
    make_service: MakeService, turns: list[Any], more: dict[str, Any], status: int, code: str
) -> None:
    policy = ScriptedPolicy(turns, delay_s=0.002 if code == "deadline" else 0.0)
    async with chat_of(make_service(policy)) as chat:
        kind = openai.BadRequestError if status == 400 else openai.InternalServerError
        error = await chat.refusal(kind, extra_body=more)
        with pytest.raises(openai.APIError) as raised:
            await chat.stream(extra_body=more)
    assert (error["code"], error["type"]) == (code, "invalid_request_error" if status == 400 else "api_error")
    assert ("silent" in error["message"]) == (code == "policy_error")
    body: Any = raised.value.body
    assert (body["code"], body["type"]) == (error["code"], error["type"])
    assert re.search("stored as answer [0-9a-f]{32}", error["message"])


async def test_a_failure_in_mid_stream_comes_after_what_was_written(
    make_service: MakeService,
) -> None:
    turn: list[Piece] = ["<think>Hm.</think><answer>She ", "likes", EngineError("broken_stream", "gone")]
    async with chat_of(make_service(ScriptedPolicy([turn]))) as chat:
        body = {"model": "pr2", "messages": QUESTION, "user": "ana", "stream": True}
        text = (await chat.api.client.post("/v1/chat/completions", json=body)).text
        with pytest.raises(openai.APIError, match="gone"):
            await chat.stream()
    *events, done = text.split("\n\n")[:-1]
    assert done == "data: [DONE]"
    *chunks, last = [json.loads(event.removeprefix("data: ")) for event in events]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "She likes"
    assert last["error"]["code"] == "policy_error"


async def test_an_unexpected_error_gives_nothing_away(make_service: MakeService) -> None:
    policy = ScriptedPolicy([["<think>Hm.</think>", RuntimeError("password=hunter2")]])
    async with chat_of(make_service(policy)) as chat:
        error = await chat.refusal(openai.InternalServerError)
        with pytest.raises(openai.APIError) as raised:
            await chat.stream()
    assert (error["type"], error["code"]) == ("api_error", "internal")
    assert raised.value.body == error
    assert "hunter2" not in str(error)


async def test_too_many_questions_are_a_rate_limit(make_service: MakeService) -> None:
    service = make_service(limits={"concurrency": 1, "queue": 0})
    async with chat_of(service) as chat:
        with service.queue.enter("ben"), pytest.raises(openai.RateLimitError) as raised:
            await chat.ask()
        assert int(raised.value.response.headers["retry-after"]) >= 1
        assert (raised.value.type, raised.value.code) == ("rate_limit_error", "busy")
        assert (await chat.ask()).choices


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b'{"model": ', "application/json"),
        (b"[]", "application/json"),
        (b"7", "application/json"),
        (b"", "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 200_000, "application/json"),
        (json.dumps({"model": "pr2", "messages": QUESTION, "user": "ana"}).encode(), "text/plain"),
        (b"model=pr2", "application/x-www-form-urlencoded"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(bare: Chat, content: bytes, media_type: str) -> None:
    headers = {"content-type": media_type}
    response = await bare.api.client.post("/v1/chat/completions", content=content, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (400, "application/json")
    error = response.json()["error"]
    assert error["message"]
    assert (error["type"], error["param"]) == ("invalid_request_error", None)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method-not-allowed"),
        ("DELETE", "/v1/models/pr2", 405, "method-not-allowed"),
        ("POST", "/v1/models", 405, "method-not-allowed"),
        ("POST", "/v1/chat/nothing", 404, "not-found"),
        ("GET", "/v1/responses", 405, "method-not-allowed"),
        ("GET", "/v1/responses/resp_1", 404, "not-found"),
        ("DELETE", "/v1/responses/resp_1", 404, "not-found"),
        ("POST", "/v1/responses/resp_1/cancel", 404, "not-found"),
        ("GET", "/v1/responses/resp_1/input_items", 404, "not-found"),
        ("POST", "/v1/embeddings", 404, "not-found"),
        ("GET", "/v1/modelsx", 404, "not-found"),
        ("GET", "/v1", 404, "not-found"),
    ],
)
async def test_errors_of_routing_have_the_shape_too(
    bare: Chat, method: str, path: str, status: int, code: str
) -> None:
    response = await bare.api.client.request(method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert ("allow" in response.headers) == (status == 405)


async def test_other_routes_keep_their_problems(bare: Chat) -> None:
    for path in ("/v1/users/nobody/documents", "/v1/users", "/v2/models", "/v1x"):
        response = await bare.api.client.get(path)
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


async def test_a_body_that_is_too_large_is_refused(bare: Chat) -> None:
    error = await bare.refusal(openai.APIStatusError, extra_body={"metadata": "x" * 5 * 2**20})
    assert (error["type"], error["code"]) == ("invalid_request_error", "body-too-large")


async def test_the_document_of_the_api_shows_the_errors_of_these_routes(bare: Chat) -> None:
    operation = (await bare.api.client.get("/openapi.json")).json()["paths"]["/v1/chat/completions"]["post"]
    schema = operation["responses"]["default"]["content"]["application/json"]["schema"]
    assert schema["$ref"].endswith("/ErrorBody")
    assert all(name in operation["description"] for name in REFUSED)
