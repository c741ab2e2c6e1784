"""OpenAI's responses, as its own client reads them."""

import json
from collections.abc import Sequence
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from agent.engines.errors import EngineError
from agent.policies.scripted import Piece, ScriptedPolicy
from server.openai.output import Output
from server.openai.responses import ResponsesRequest
from tests.server.conftest import MakeService
from tests.server.live import BEN, THINK_SEARCH
from tests.server.openai.chat import CALL_ITEM, DANGLING, INPUT, Chat, chat_of, refused

THOUGHTS = ["What does she like?", 'Searched: "favourite food"', "Now I know."]
TypedEvent: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def last(events: Sequence[ResponseStreamEvent]) -> Response:
    [*_, end] = events
    response: Response = end.response  # type: ignore[union-attr]
    return response


async def test_a_response_has_exactly_openais_shape(chat: Chat) -> None:
    more: dict[str, Any] = {
        "metadata": {"topic": "fruit"},
        "instructions": "Be short.",
        "max_output_tokens": 99,
    }
    response = await chat.respond(**more)
    Response.model_validate(response.to_dict(), strict=True)
    assert response.output_text == "She likes pears [1]."
    assert (response.status, response.error, response.incomplete_details) == ("completed", None, None)
    assert (response.metadata, response.instructions, response.max_output_tokens) == tuple(more.values())
    thought, message = response.output
    assert thought.type == "reasoning"
    assert [part.text for part in thought.summary] == THOUGHTS
    assert message.type == "message"
    assert (message.role, message.status, len(message.content)) == ("assistant", "completed", 1)
    assert response.usage
    assert (response.usage.output_tokens, response.usage.total_tokens) == (2, 2)
    extras: Any = response.to_dict()["pr2"]
    stored = (await chat.api.client.get(f"/v1/users/ana/answers/{extras['answer_id']}")).json()
    assert response.id == f"resp_{stored['id']}"
    assert stored["answer"] == response.output_text


async def test_chat_and_responses_answer_alike(chat: Chat) -> None:
    response, completion = await chat.respond(), await chat.ask()
    message: Any = completion.choices[0].message
    assert response.output_text == message.content
    answer: Any = response.output[1]
    cited = [annotation.to_dict() for annotation in answer.content[0].annotations]
    assert cited == [{"type": "url_citation", **one.url_citation.to_dict()} for one in message.annotations]
    assert cited[0]["quote"] == "I love ripe pears from our garden."
    own, other = response.to_dict()["pr2"], completion.to_dict()["pr2"]
    assert own["citations"] == other["citations"]  # type: ignore[index]


async def test_events_come_in_openais_order_and_are_numbered(chat: Chat) -> None:
    events = await chat.respond_in_events()
    for event in events:
        TypedEvent.validate_python(event.to_dict())
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    summary = [f"reasoning_summary_{kind}" for kind in ("part.added", "text.delta", "text.done", "part.done")]
    assert kinds == [
        *["created", "in_progress", "output_item.added", *(summary * len(THOUGHTS)), "output_item.done"],
        *["output_item.added", "content_part.added", "output_text.delta", "output_text.annotation.added"],
        *["output_text.done", "content_part.done", "output_item.done", "completed"],
    ]
    deltas = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
    assert deltas == THOUGHTS


async def test_the_events_add_up_to_the_response(make_service: MakeService) -> None:
    async with chat_of(make_service(ScriptedPolicy([THINK_SEARCH, DANGLING]))) as chat:
        response = await chat.respond(extra_body={"limits": {"top_k": 1}})
        events = await chat.respond_in_events(extra_body={"limits": {"top_k": 1}})
        async with chat.client.responses.stream(
            model="pr2", input=INPUT, user="ana", extra_body={"limits": {"top_k": 1}}
        ) as stream:
            gathered = await stream.get_final_response()
    text = "She likes pears [1]. Figs [1] [x] [1234567]"
    assert response.output_text == gathered.output_text == last(events).output_text == text
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == text
    assert len(deltas) == 4

    def comparable(one: Response) -> Any:
        return [{**item.to_dict(), "id": ""} for item in one.output]

    assert comparable(last(events)) == comparable(response)
    done = [event.item.to_dict() for event in events if event.type == "response.output_item.done"]
    assert done == [item.to_dict() for item in last(events).output]


async def test_events_have_names_and_no_done(chat: Chat) -> None:
    body = {"model": "pr2", "input": INPUT, "user": "ana", "stream": True}
    response = await chat.api.client.post("/v1/responses", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["pr2-user"] == "ana"
    for event in response.text.removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"


@given(st.lists(st.sampled_from("tw"), max_size=8), st.booleans())
def test_thoughts_and_text_in_any_order_keep_their_items_apart(steps: list[str], is_broken: bool) -> None:
    output = Output("a1")
    for number, step in enumerate(steps):
        (output.think if step == "t" else output.write)(str(number))
    if is_broken:
        output.break_off()
    text = "".join(str(number) for number, step in enumerate(steps) if step == "w")
    messages = [item for item in output.items if item["type"] == "message"]
    assert [part["text"] for item in messages for part in item["content"]] == ([text] if text else [])
    thoughts = [part["text"] for item in output.items for part in item.get("summary", ())]
    assert thoughts == [str(number) for number, step in enumerate(steps) if step == "t"]
    assert not is_broken or "in_progress" not in {item["status"] for item in output.items}
    events = [json.loads(event.split(b"data: ")[1]) for event in output.take_events()]
    added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    assert added == list(range(len(output.items)))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert output.take_events() == []


async def test_an_answer_that_a_limit_cut_off_is_incomplete(make_service: MakeService) -> None:
    turn = ["<think>Hm.</think><answer>", "She ", "likes ", "pears [", "1].</answer>"]
    async with chat_of(make_service(ScriptedPolicy([turn]))) as chat:
        response = await chat.respond(max_output_tokens=4)
        events = await chat.respond_in_events(max_output_tokens=4)
    assert events[-1].type == "response.incomplete"
    for one in (response, last(events)):
        assert (one.status, one.output_text) == ("incomplete", "She likes pears [")
        assert one.incomplete_details
        assert one.incomplete_details.reason == "max_output_tokens"
        assert one.output[-1].status == "incomplete"  # type: ignore[union-attr]
        assert one.to_dict()["pr2"]["finish_reason"] == "max_tokens"  # type: ignore[index]


@pytest.mark.parametrize(
    ("turns", "more", "status", "code"),
    [
        ([THINK_SEARCH], {"limits": {"max_searches": 1}}, 502, "max_searches"),
        ([["<think>", "so ", "much ", "to ", "say"]], {"max_output_tokens": 3}, 400, "max_tokens"),
        ([["<think>", EngineError("timeout", "silent")]], {}, 504, "policy_error"),
        ([THINK_SEARCH, ["<answer>She", EngineError("broken_stream", "silent")]], {}, 502, "policy_error"),
        ([["<think>Hm.</think>", RuntimeError("password=hunter2")]], {}, 500, "internal"),
    ],
)
async def test_no_answer_is_an_error_and_a_stream_that_fails_says_so(
    make_service: MakeService, turns: list[Any], more: dict[str, Any], status: int, code: str
) -> None:
    async with chat_of(make_service(ScriptedPolicy(turns))) as chat:
        kind = openai.BadRequestError if status == 400 else openai.InternalServerError
        error = await refused(kind, chat.respond(extra_body=more))
        events = await chat.respond_in_events(extra_body=more)
    assert error["code"] == code
    assert error["param"] == ("max_output_tokens" if code == "max_tokens" else None)
    assert "hunter2" not in str(error)
    assert events[-1].type == "response.failed"
    failed = last(events)
    Response.model_validate(failed.to_dict())
    assert (failed.status, failed.to_dict()["pr2"]) == ("failed", {"code": code})
    assert failed.error
    assert failed.error.code == ("invalid_prompt" if status == 400 else "server_error")
    assert failed.error.message.split(" (stored as")[0] == error["message"].split(" (stored as")[0]
    assert "in_progress" not in {item.status for item in failed.output}  # type: ignore[union-attr]


async def test_a_failure_in_mid_stream_comes_after_what_was_written(make_service: MakeService) -> None:
    turn: list[Piece] = ["<think>Hm.</think><answer>She ", "likes", EngineError("broken_stream", "gone")]
    async with chat_of(make_service(ScriptedPolicy([turn]))) as chat:
        events = await chat.respond_in_events()
    assert (
        "".join(event.delta for event in events if event.type == "response.output_text.delta") == "She likes"
    )
    assert last(events).output_text == "She likes"
    assert last(events).output[-1].status == "incomplete"  # type: ignore[union-attr]


ASKED: dict[str, Any] = {
    "previous_response_id": "resp_1",
    "conversation": "conv_1",
    "background": True,
    "prompt": {"id": "pmpt_1"},
    "tool_choice": "required",
    "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}},
    "top_logprobs": 2,
    "include": ["message.output_text.logprobs"],
    "moderation": {"model": "omni"},
    "max_output_tokens": 0,
    "retriever": "magic",
}


@pytest.mark.parametrize("name", ASKED)
async def test_what_would_change_the_answer_is_refused_by_name(bare: Chat, name: str) -> None:
    error = await refused(openai.BadRequestError, bare.respond(extra_body={name: ASKED[name]}))
    assert (error["type"], error["param"]) == ("invalid_request_error", name)
    assert name in error["message"]


def test_every_refused_field_is_tried() -> None:
    from_engines = {name for name in ResponsesRequest.REFUSED if "guided" in name}
    assert ResponsesRequest.REFUSED.keys() - ASKED.keys() == from_engines | {"grammar", "structured_outputs"}


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("", "input"),
        (" \n", "input"),
        ([], "input"),
        (7, "input"),
        ([7], "input[0]"),
        ("a\0b", "input[0].content"),
        ([{"role": "assistant", "content": "Pears."}], "input"),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}], "input[0].content[0]"),
        ([{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "?"}], "input[0]"),
        ([{"type": "function_call", "call_id": "c"}, {"role": "user", "content": "?"}], "input[0]"),
        ([{"role": "user", "content": "?"}, CALL_ITEM], "input"),
        ([{"type": ["message"], "role": "user", "content": "?"}], "input[0]"),
    ],
)
async def test_input_that_makes_no_question_is_refused(bare: Chat, value: Any, param: str) -> None:
    error = await refused(openai.BadRequestError, bare.respond(input="", extra_body={"input": value}))
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_who_asks_is_found_as_in_chat(chat: Chat) -> None:
    await chat.api.put("ben", BEN)
    for who in ({"safety_identifier": "ben"}, {"metadata": {"user_id": "ben"}}, {"model": "pr2:ben"}):
        response = await chat.respond("", **who)
        extras: Any = response.to_dict()["pr2"]
        assert [citation["document_id"] for citation in extras["citations"]] == ["b1"]
    error = await refused(openai.BadRequestError, chat.respond(safety_identifier="ben"))
    assert error["code"] == "identity-conflict"
    error = await refused(openai.NotFoundError, chat.respond("nobody"))
    assert (error["code"], error["param"]) == ("unknown-user", "user")
    assert (await refused(openai.NotFoundError, chat.respond(model="gpt-5")))["code"] == "model_not_found"


async def test_too_many_questions_are_a_rate_limit(make_service: MakeService) -> None:
    service = make_service(limits={"concurrency": 1, "queue": 0})
    async with chat_of(service) as chat:
        with service.queue.enter("ben"):
            for stream in (False, True):
                error = await refused(openai.RateLimitError, chat.respond(stream=stream))
                assert (error["type"], error["code"]) == ("rate_limit_error", "busy")
        assert (await chat.respond()).output_text
