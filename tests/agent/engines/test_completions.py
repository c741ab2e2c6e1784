"""Event streams as the various servers send them, against a real HTTP server."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.engines.completions import CHAT, COMPLETIONS, pieces
from agent.engines.errors import EngineError
from agent.engines.openai import OpenAIServer
from agent.engines.settings import EngineSettings
from agent.methods import METHODS
from agent.policies.tools import ToolsPolicy
from tests.agent.policies.test_tools import ANSWER, QUESTION, UNLIMITED, Asked, ask, run
from tests.chat_engine import chat_engine, delta, replies, usage
from tests.engine import DONE, HANG_BEFORE_HEADERS, Part, Reply, event, fails, in_order

REQUEST = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9}


def sent(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@asynccontextmanager
async def serving(reply: Reply, **limits: Any) -> AsyncIterator[OpenAIServer]:
    with chat_engine(in_order(reply)) as engine:
        engine.instead["/v1/completions"] = reply
        server = OpenAIServer(engine.base_url, "tiny", retries=0, **limits)
        try:
            yield server
        finally:
            await server.aclose()


async def read(*parts: Part, path: str = CHAT, **limits: Any) -> tuple[str, str | None, int | None]:
    """The text of a stream, its finish reason, and the number of prompt tokens."""
    text, reason, counted = "", None, None
    async with serving(Reply(parts), **limits) as server, aclosing(pieces(server, path, REQUEST)) as stream:
        async for piece in stream:
            text += piece.choice.written
            reason = piece.choice.finish_reason
            counted = piece.usage.prompt_tokens if piece.usage else None
    return text, reason, counted


COMPLETE = [
    "stop", "eos", "eos_token", "stop_sequence", "end_turn", "tool_use", "tool_calls", "STOP", "COMPLETE",
    "whatever",
]  # fmt: skip


@pytest.mark.parametrize("reason", COMPLETE)
async def test_a_complete_text_is_complete_whatever_the_server_calls_it(reason: str) -> None:
    whole = (ANSWER, "stop", 7)
    assert await read(delta(content=ANSWER), delta(reason), usage(7, 1), DONE) == whole
    assert (
        await read(event(ANSWER), event("", reason, usage={"prompt_tokens": 7}), DONE, path=COMPLETIONS)
        == whole
    )


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
async def test_a_token_limit_is_one_whatever_the_server_calls_it(reason: str) -> None:
    assert await read(delta(content="As far"), delta(reason), DONE) == ("As far", "length", None)


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("abort", "broken_stream"),
        ("error", "broken_stream"),
        ("SAFETY", "refused"),
        ("content_filter", "refused"),
    ],
)
async def test_a_failure_is_not_a_complete_text(reason: str, fault: str) -> None:
    with pytest.raises(EngineError) as raised:
        await read(delta(content="As far"), delta(reason), DONE)
    assert raised.value.fault == fault


async def test_a_text_without_a_finish_reason_is_complete_with_done_and_only_with_it() -> None:
    assert await read(delta(content=ANSWER), usage(7, 1), DONE) == (ANSWER, "stop", 7)
    for parts in ((delta(content=ANSWER),), ()):
        with pytest.raises(EngineError, match="without a finish_reason"):
            await read(*parts)


SHAPES: dict[str, tuple[bytes, ...]] = {
    "content in parts": (delta(content=[{"type": "text", "text": "Tea"}, "."]),),
    "content of other parts": (delta(content=[{"type": "image"}, 7, None, {"text": "Tea."}]),),
    "a message for a delta": (sent({"choices": [{"message": {"role": "assistant", "content": "Tea."}}]}),),
    "a null delta": (sent({"choices": [{"delta": None}]}), delta(content="Tea.")),
    "a first event without choices": (sent({"choices": None}), delta(content="Tea.")),
    "only usage": (sent({"usage": {"prompt_tokens": 7}}), delta(content="Tea.")),
    "null everywhere": (delta(content=None, role=None, tool_calls=None), delta(content="Tea.")),
}  # fmt: skip


@pytest.mark.parametrize("parts", SHAPES.values(), ids=SHAPES)
async def test_text_is_read_in_the_shapes_that_servers_send(parts: tuple[bytes, ...]) -> None:
    text, reason, _ = await read(*parts, delta("stop"), DONE)
    assert (text, reason) == ("Tea.", "stop")
    asked = await ask(replies(*parts, delta("stop")))
    assert asked.outcome == ("answered", "Tea.")


async def test_thoughts_among_the_parts_of_a_message_are_thoughts() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    asked = await ask(replies(delta(content=[thinking]), delta(content=[{"text": "Tea."}]), delta("stop")))
    assert asked.thoughts == ["Hm."]
    assert asked.outcome == ("answered", "Tea.")


async def waited(reply: Reply, **limits: float) -> str:
    """The error of a request that gets this reply."""
    async with serving(reply, **limits) as server:
        with pytest.raises(EngineError) as raised:
            async for _ in pieces(server, CHAT, REQUEST):
                pass
    assert raised.value.fault == "timeout"
    return str(raised.value)


@pytest.mark.parametrize("reply", [HANG_BEFORE_HEADERS, Reply(("hang",))], ids=["no headers", "no byte"])
async def test_silence_before_the_first_byte_has_a_limit_of_its_own(reply: Reply) -> None:
    why = await waited(reply, idle_timeout_s=0.05, first_byte_timeout_s=0.3)
    assert why.endswith("was silent for 0.3 s (first_byte_timeout_s)")


async def test_silence_in_the_middle_names_its_setting() -> None:
    reply = Reply((delta(content="Tea"), "hang"))
    why = await waited(reply, idle_timeout_s=0.1, first_byte_timeout_s=60)
    assert why.endswith("was silent for 0.1 s (idle_timeout_s)")


async def test_a_model_that_is_still_being_loaded_is_waited_for() -> None:
    parts = (1.5, delta(content="Tea."), delta("stop"), DONE)
    assert await read(*parts, idle_timeout_s=1.0, first_byte_timeout_s=60) == ("Tea.", "stop", None)


def test_by_default_a_model_has_minutes_to_be_loaded() -> None:
    settings = EngineSettings()
    assert (settings.first_byte_timeout_s, settings.idle_timeout_s) == (300.0, 30.0)


async def test_requests_at_once_complete_a_base_url_once() -> None:
    with chat_engine(in_order(replies(delta(content="Tea."), delta("stop")))) as engine:
        server = OpenAIServer(engine.base_url.removesuffix("/v1"), "tiny", retries=0)
        await asyncio.gather(*(server.models() for _ in range(8)))
        await server.aclose()
    assert server.address == engine.base_url


@pytest.mark.parametrize("model", ["tiny", ""])
async def test_a_base_url_without_its_version_is_completed(model: str) -> None:
    with chat_engine(in_order(replies(delta(content="Tea."), delta("stop")))) as engine:
        policy = ToolsPolicy(OpenAIServer(engine.base_url.removesuffix("/v1"), model, retries=0))
        for _ in range(2):
            trajectory, _ = await run(policy, METHODS["none"].begin(QUESTION, UNLIMITED, protocol="tools"))
            assert trajectory.finish_reason == "answered"
        await policy.aclose()
    assert engine.asked("/models") == 1
    assert engine.asked("/chat/completions") == 0


async def test_a_base_url_whose_server_lists_its_models_is_left_as_it_is() -> None:
    models = Reply((b'{"data": [{"id": "tiny"}]}',), content_type="application/json")
    for listed in (models, fails(401), fails(404)):
        with chat_engine(in_order(fails(404))) as engine:
            engine.instead["/models"] = listed
            engine.instead["/v1/models"] = fails(404)
            server = OpenAIServer(engine.base_url.removesuffix("/v1"), "tiny", retries=0)
            with pytest.raises(EngineError):
                await server.ask(CHAT, REQUEST)
            await server.aclose()
        assert (engine.asked("/chat/completions"), engine.asked("/v1/chat/completions")) == (1, 0)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.text("a<>[]{}/think|", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "content",
                    "text",
                    "reasoning",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "index",
                    "type",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
_ODD_CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "delta": _JSON,
        "message": _JSON,
        "text": _JSON,
        "finish_reason": st.sampled_from([None, "", "x", 7]),
    },
)
_ODD_EVENT = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.none() | st.lists(_ODD_CHOICE, max_size=2),
        "usage": _JSON,
        "error": st.none() | _JSON,
    },
)
_WORDS = st.text("abc é.\n", max_size=20)
_LIMITS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def asked_of(parts: Sequence[Part], method: str = "none") -> Asked:
    episode = METHODS[method].begin(QUESTION, UNLIMITED, protocol="tools")
    return asyncio.run(ask(Reply(tuple(parts)), episode=episode))


@_LIMITS
@given(st.lists(_ODD_EVENT.map(sent) | st.binary(max_size=20), max_size=6), st.booleans())
def test_no_stream_raises_anything_but_a_typed_error(events: list[bytes], done: bool) -> None:
    trajectory = asked_of([*events, *([DONE] if done else [])]).trajectory
    assert trajectory.finish_reason in ("answered", "invalid", "policy_error", "max_tokens", "max_searches")
    assert (trajectory.finish_reason == "policy_error") == (trajectory.fault is not None)


def _as_delta(text: str) -> bytes:
    return delta(content=text)


def _as_message(text: str) -> bytes:
    return sent({"choices": [{"message": {"content": text}}]})


def _as_parts(text: str) -> bytes:
    return delta(content=[{"type": "text", "text": text}])


@_LIMITS
@given(
    thought=_WORDS.map(lambda text: f"SECRET{text}"),
    answer=_WORDS.map(lambda text: f"Answer{text}"),
    form=st.sampled_from(
        [
            "<think>{}</think>",
            "{}</think>",
            "<thinking>{}</thinking>",
            "[THINK]{}[/THINK]",
            "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
        ]
    ),
    shape=st.sampled_from([_as_delta, _as_message, _as_parts]),
    size=st.integers(1, 30),
    finish=st.sampled_from([*COMPLETE, None]),
    first=st.sampled_from([(), (sent({"choices": None}),), (sent({"choices": []}),), (b": ping\n\n",)]),
    method=st.sampled_from(["pr2", "none"]),
)
def test_no_thought_is_shown_and_no_complete_answer_is_lost(
    thought: str, answer: str, form: str, shape: Any, size: int, finish: str | None, first: Any, method: str
) -> None:
    text = form.format(thought) + answer
    cuts = [shape(text[at : at + size]) for at in range(0, len(text), size)]
    asked = asked_of([*first, *cuts, *([delta(finish)] if finish else []), DONE], method)
    assert asked.outcome == ("answered", answer.strip())
    assert "SECRET" not in "".join(asked.deltas)
    assert [step.startswith("SECRET") for step in asked.thoughts] == [True]
