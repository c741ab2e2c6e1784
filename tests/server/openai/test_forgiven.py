"""Fields besides the question: ignored or clamped, and named, if the answer means the same without them."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from agent.policies.scripted import ScriptedPolicy
from server.openai.chat import ChatRequest
from server.openai.conversation import CONVERSATION_CHARACTERS, Conversation
from server.openai.requests import MOST_NAMES, AskBody
from server.openai.responses import ResponsesRequest
from tests.server.conftest import MakeService
from tests.server.live import THINK_ANSWER
from tests.server.openai.chat import (
    CALL,
    CALL_ITEM,
    EXCHANGE,
    INPUT,
    QUESTION,
    RESULT,
    RESULT_ITEM,
    Chat,
    Listening,
    chat_of,
    joined,
    refused,
)

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
GUIDE = Path(__file__).parents[3] / "docs" / "openai.md"
TODAY = re.compile(r"(?<=\n)Today is \w+, \d{4}-\d\d-\d\d \(UTC\)\.\n")
NO_CONVERSATION = Conversation("", (), False)
PATHS = ("chat/completions", "responses")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_ignored_fields_are_named_in_a_header(chat: Chat, path: str, stream: bool) -> None:
    extra = {"top_k": 40, "chat_template_kwargs": {"enable_thinking": False}}
    headers = await chat.headers(path, **extra, stream=stream)
    assert headers["pr2-ignored"] == "top_k, chat_template_kwargs"
    assert "pr2-clamped" not in headers
    assert "pr2-ignored" not in await chat.headers(path, stream=stream)


@pytest.mark.parametrize(
    ("path", "body", "ignored"),
    [
        ("chat/completions", {"tools": [TOOL]}, "tools"),
        ("chat/completions", {"tools": [TOOL], "tool_choice": "auto"}, "tools"),
        ("chat/completions", {"tool_choice": "auto"}, None),
        ("chat/completions", {"functions": [TOOL["function"]], "function_call": "auto"}, "functions"),
        ("chat/completions", {"tools": [], "tool_choice": None, "logit_bias": {}, "seed": None}, None),
        ("chat/completions", {"temperature": 0, "store": False}, "temperature, store"),
        ("chat/completions", {"prediction": {"type": "content", "content": "x"}}, "prediction"),
        (
            "chat/completions",
            {"stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
        ),
        ("responses", {"tools": [{"type": "web_search"}], "tool_choice": "auto"}, "tools"),
        ("responses", {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, None),
        ("responses", {"text": {"format": {"type": "text"}}, "background": False}, None),
        ("responses", {"text": {"verbosity": "low"}, "store": True}, "store, text.verbosity"),
        ("responses", {"include": ["reasoning.encrypted_content"]}, "include"),
        ("responses", {"reasoning": {"effort": "low"}, "truncation": "auto"}, "reasoning, truncation"),
    ],
)
async def test_what_may_be_left_undone_is_ignored(
    chat: Chat, path: str, body: dict[str, Any], ignored: str | None
) -> None:
    assert (await chat.headers(path, **body)).get("pr2-ignored") == ignored


async def test_a_name_that_is_no_text_is_named_all_the_same(chat: Chat) -> None:
    body = json.dumps({"model": "pr2", "messages": QUESTION, "user": "ana", "é\r\n": 1, "": 2})
    headers = {"content-type": "application/json"}
    response = await chat.api.client.post("/v1/chat/completions", content=body, headers=headers)
    assert (response.status_code, response.headers["pr2-ignored"]) == (200, '%C3%A9%0D%0A, ""')


async def test_what_asks_for_nothing_is_accepted(chat: Chat) -> None:
    neutral = {
        "n": 1,
        "tool_choice": "none",
        "function_call": "none",
        "response_format": {"type": "text"},
        "logprobs": False,
        "top_logprobs": 0,
        "modalities": ["text"],
    }
    assert "pr2-ignored" not in await chat.headers("chat/completions", **neutral)
    nulls = dict.fromkeys([*ChatRequest.REFUSED, "stream", "stop", "max_tokens", "limits", "retriever"])
    assert "pr2-ignored" not in await chat.headers("chat/completions", **nulls)
    nulls = dict.fromkeys([*ResponsesRequest.REFUSED, "stream", "stop", "max_output_tokens", "metadata"])
    assert "pr2-ignored" not in await chat.headers("responses", **nulls)


@given(st.dictionaries(st.text(), st.integers(), max_size=MOST_NAMES + 3))
def test_any_names_fit_a_header(extra: dict[str, int]) -> None:
    fields = ChatRequest.model_fields.keys() | ChatRequest.REFUSED.keys()
    extra = {name: value for name, value in extra.items() if name not in fields}
    body = ChatRequest.model_validate({"model": "pr2", "messages": [{}], **extra})
    header = body.headers(NO_CONVERSATION, "messages").get("PR2-Ignored", "")
    assert re.fullmatch(r"([!-~]([ -~]*[!-~])?)?", header)
    shown = header.split(", ") if extra else []
    assert len(shown) == min(len(extra), MOST_NAMES + 1)
    quoted = [quote(name.encode("utf-8", "replace"))[:64] or '""' for name in extra]
    assert shown[:MOST_NAMES] == quoted[:MOST_NAMES]
    if len(extra) > MOST_NAMES:
        assert shown[-1] == f"and {len(extra) - MOST_NAMES} more"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("chat/completions", "max_tokens"),
        ("chat/completions", "max_completion_tokens"),
        ("responses", "max_output_tokens"),
    ],
)
async def test_too_many_tokens_are_as_many_as_allowed(chat: Chat, path: str, field: str) -> None:
    for sent in (128_000, 32_769, -1, 10**30):
        for stream in (False, True):
            headers = await chat.headers(path, **{field: sent}, stream=stream)
            assert headers["pr2-clamped"] == f"{field}=32768"


async def test_tokens_within_the_bounds_are_taken_as_they_are(chat: Chat) -> None:
    bodies: list[dict[str, Any]] = [
        {"max_tokens": 32_768},
        {"max_tokens": 128_000, "max_completion_tokens": 9},
    ]
    for body in bodies:
        completion = await chat.ask(**body)
        extras: Any = completion.to_dict()["pr2"]
        record = (await chat.api.client.get(f"/v1/users/ana/answers/{extras['answer_id']}")).json()
        assert record["trajectory"]["limits"]["max_tokens"] == list(body.values())[-1]
        assert "pr2-clamped" not in await chat.headers("chat/completions", **body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", {"messages": [CALL | {"content": "x" * 8_001}, RESULT, *QUESTION]}),
        ("responses", {"instructions": "x" * 8_001}),
    ],
)
async def test_a_conversation_that_was_shortened_is_named(
    chat: Chat, path: str, body: dict[str, Any]
) -> None:
    field = "messages" if "messages" in body else "input"
    assert (await chat.headers(path, **body))["pr2-clamped"] == f"{field}={CONVERSATION_CHARACTERS}"


BEFORE = [{"role": "user", "content": "How cold is it?"}]
AFTER = {"role": "assistant", "content": "It is cold."}


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([*BEFORE, {"role": "assistant", "content": None}, *QUESTION], ["user: How cold is it?"]),
        (
            [*BEFORE, CALL, RESULT, AFTER, *QUESTION],
            ["user: How cold is it?", *(f"assistant: {text}" for text in EXCHANGE), "assistant: It is cold."],
        ),
        ([*QUESTION, CALL, RESULT], [f"assistant: {text}" for text in EXCHANGE]),
        (
            [*QUESTION, CALL, RESULT, {"role": "system", "content": "Be short."}],
            [*(f"assistant: {text}" for text in EXCHANGE), "system: Be short."],
        ),
        ([*QUESTION, {"role": "developer", "content": "Be kind."}], ["system: Be kind."]),
        (
            [
                {
                    "role": "assistant",
                    "content": "Let me see.",
                    "function_call": {"name": "f", "arguments": "{}"},
                },
                {"role": "function", "name": "f", "content": "4"},
                *QUESTION,
            ],
            [
                "assistant: Let me see.\n    The tool f was called with {}",
                "assistant: The tool f returned: 4",
            ],
        ),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "a"}}],
                },
                {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "4"}]},
                *QUESTION,
            ],
            ["assistant: The tool f was called with a", "assistant: The tool f returned: 4"],
        ),
        (
            [{"role": "tool", "tool_call_id": "lost", "content": None}, *QUESTION],
            ["assistant: A tool returned:"],
        ),
        (
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, *QUESTION],
            ["assistant: No."],
        ),
    ],
)
async def test_a_finished_tool_exchange_is_a_part_of_the_conversation(
    make_service: MakeService, messages: list[Any], said: list[str]
) -> None:
    policy = Listening([THINK_ANSWER])
    async with chat_of(make_service(policy)) as chat:
        await chat.ask(messages=messages)
    [prompt] = policy.prompts
    earlier = "".join(f"{line}\n" for line in said)
    dated = re.sub(r" +\n", "\n", TODAY.sub("", prompt))
    assert f"Earlier in this conversation:\n{earlier}\nQuestion: Which fruit do I like?" in dated


async def test_items_are_read_like_messages(make_service: MakeService) -> None:
    policy = Listening([THINK_ANSWER])
    items = [
        *BEFORE,
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        CALL_ITEM,
        RESULT_ITEM,
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "It is cold.", "annotations": []}],
        },
        {"type": "custom_tool_call", "call_id": "c2", "name": "f", "input": "a"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "4"}]},
        {"role": "user", "content": [{"type": "input_text", "text": INPUT}]},
    ]
    async with chat_of(make_service(policy)) as chat:
        await chat.respond(input=items, instructions="Be short.")
    [prompt] = policy.prompts
    said = ["system: Be short.", "user: How cold is it?", *(f"assistant: {text}" for text in EXCHANGE)]
    said += [
        "assistant: It is cold.",
        "assistant: The tool f was called with a",
        "assistant: The tool f returned: 4",
    ]
    expected = "conversation:\n" + "".join(f"{line}\n" for line in said) + "\nQuestion: Which fruit"
    assert expected in TODAY.sub("", prompt)


async def test_a_pasted_question_of_9000_characters_is_answered(chat: Chat) -> None:
    pasted = "Which fruit do I like? " + "x" * 9_000
    assert (await chat.ask(messages=[{"role": "user", "content": pasted}])).choices[0].message.content
    assert (await chat.respond(input=pasted)).output_text
    assert (await chat.api.ask("ana", pasted)).json()["answer"]


async def test_the_longest_question_is_a_setting_that_the_error_names(make_service: MakeService) -> None:
    async with chat_of(make_service(limits={"question_characters": len(INPUT)})) as chat:
        assert (await chat.ask()).choices
        longer = f"{INPUT}!"
        asked = chat.ask(messages=[{"role": "user", "content": longer}])
        errors = [await refused(openai.BadRequestError, call) for call in (asked, chat.respond(input=longer))]
        rest = (await chat.api.ask("ana", longer)).json()
    assert [error["param"] for error in errors] == ["messages", "input"]
    assert {error["code"] for error in errors} == {"invalid-question"}
    why = f"the question has {len(longer)} characters; the limit is {len(INPUT)} (limits.question_characters)"
    assert {*(error["message"] for error in errors), rest["detail"]} == {why}


STOPPED = "<answer>She likes pears [1]. Figs too [1].</answer>"


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("Figs", "She likes pears [1]. "),
        (["too", " pears"], "She likes"),
        (["\n", "User:"], "She likes pears [1]. Figs too [1]."),
        ([""], "She likes pears [1]. Figs too [1]."),
        ("[1]", "She likes pears "),
        ("She", ""),
    ],
)
async def test_an_answer_ends_before_the_first_stop_sequence(
    make_service: MakeService, stop: Any, text: str
) -> None:
    turns = ["<search>favourite food</search>", list(STOPPED)]
    async with chat_of(make_service(ScriptedPolicy(turns))) as chat:
        completion = await chat.ask(stop=stop)
        chunks = await chat.stream(stop=stop)
        response = await chat.respond(extra_body={"stop": stop})
        events = await chat.respond_in_events(extra_body={"stop": stop})
        extras: Any = completion.to_dict()["pr2"]
        stored = (await chat.api.client.get(f"/v1/users/ana/answers/{extras['answer_id']}")).json()
    message = completion.choices[0].message
    assert message.content == joined(chunks, "content") == response.output_text == text
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == text
    assert completion.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == "stop"
    assert (response.status, events[-1].type) == ("completed", "response.completed")
    assert len(message.annotations or []) == text.count("[1]")
    assert stored["answer"] == "She likes pears [1]. Figs too [1]."


@pytest.mark.parametrize(
    ("path", "client"),
    [
        ("chat", completion_create_params.CompletionCreateParamsBase),
        ("responses", response_create_params.ResponseCreateParamsBase),
    ],
)
def test_the_guide_says_what_becomes_of_every_field_of_the_client(path: str, client: Any) -> None:
    rows = [line.split("|")[1:-1] for line in GUIDE.read_text().splitlines() if line.startswith("| `")]
    column = 1 if path == "chat" else 2
    told = {name: row[column].strip() for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    body: type[AskBody] = ChatRequest if path == "chat" else ResponsesRequest
    names = set(client.__annotations__) | body.model_fields.keys() | body.REFUSED.keys()
    assert not names - told.keys()
    for name, becomes in told.items():
        is_known = name in body.model_fields or name in body.REFUSED
        assert name == "include" or is_known == (becomes not in ("ignored", "")), name
