"""Chat models behind servers that parse nothing: thoughts and calls arrive as text."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.methods import METHODS
from agent.policies.tool_reply import Reply as ToolReply
from agent.trajectory import Limits
from tests.agent.policies.test_json import GOOD
from tests.agent.policies.test_json import ask as ask_json
from tests.agent.policies.test_json import chatting as chatting_json
from tests.agent.policies.test_tools import ANSWER, QUESTION, UNLIMITED, ask
from tests.agent.test_replies import CAFE, CALLS, THOUGHTS
from tests.chat_engine import call, chat_engine, delta, replies, says
from tests.engine import in_order


@pytest.mark.parametrize("text", CALLS.values(), ids=CALLS)
async def test_a_call_written_as_text_is_searched_for(text: str) -> None:
    asked = await ask(says(text), says(ANSWER))
    assert asked.queries == ["café"]
    assert asked.outcome == ("answered", ANSWER)


@pytest.mark.parametrize("method", ["pr2", "none"])
@pytest.mark.parametrize("text", THOUGHTS.values(), ids=THOUGHTS)
async def test_a_thought_written_as_text_is_a_thought(text: str, method: str) -> None:
    asked = await ask(says(text), episode=METHODS[method].begin(QUESTION, UNLIMITED, protocol="tools"))
    assert asked.outcome == ("answered", "The Strandcafé.")
    assert "café?" not in "".join(asked.deltas)
    if not text.startswith("The"):
        assert len(asked.thoughts) == 1


async def test_a_model_whose_template_opens_its_thoughts_streams_once_they_are_closed() -> None:
    episode = METHODS["none"].begin(QUESTION, UNLIMITED, protocol="tools")
    text = "You liked the Strandcafé."
    asked = await ask(says(f"Hm.</think>{text}"), episode=episode, after=says("Hello?</think>Hello."))
    assert asked.outcome == ("answered", text)
    assert asked.thoughts == ["Hm."]
    assert len(asked.deltas) > 3


async def test_a_thought_that_the_template_opened_and_a_limit_cut_off_is_no_answer() -> None:
    cut = replies(delta(content="Let me think"), delta("length"))
    episode = METHODS["none"].begin(QUESTION, Limits(max_tokens=50), protocol="tools")
    asked = await ask(cut, episode=episode, after=says("Hello?</think>Hello."))
    assert asked.outcome == ("max_tokens", None)
    assert asked.thoughts == ["Let me think"]


async def test_a_written_call_where_no_tool_is_offered_ends_the_episode() -> None:
    for text in CALLS.values():
        episode = METHODS["none"].begin(QUESTION, UNLIMITED, protocol="tools")
        asked = await ask(says(text), episode=episode, after=says("Hello."))
        assert asked.outcome == ("max_searches", None)
        assert asked.deltas == []


async def test_an_answer_in_json_is_an_answer() -> None:
    answer = json.dumps({"name": "Ines", "age": 7})
    for method in ("pr2", "none"):
        asked = await ask(says(answer), episode=METHODS[method].begin(QUESTION, UNLIMITED, protocol="tools"))
        assert asked.outcome == ("answered", answer)


NATIVE = {
    "arguments in a string": call(json.dumps('{"query": "café"}')),
    "arguments in a fence": call('```json\n{"query": "café"}\n```'),
    "a name in a namespace": call('{"query": "café"}', "functions.search_profile"),
    "a control token on the name": call('{"query": "café"}', "search_profile<|channel|>commentary"),
}


@pytest.mark.parametrize("part", NATIVE.values(), ids=NATIVE)
async def test_a_call_is_understood_whatever_surrounds_it(part: bytes) -> None:
    asked = await ask(replies(part, delta("tool_calls")), says(ANSWER))
    assert asked.queries == ["café"]


async def test_thoughts_in_the_text_before_a_call_are_without_their_tags() -> None:
    asked = await ask(
        replies(delta(content="Hm.</think>"), call('{"query": "café"}'), delta("tool_calls")), says(ANSWER)
    )
    assert asked.thoughts == ["Hm."]


DRAFT = json.dumps({"personalized_answer": "A draft."})


@pytest.mark.parametrize("before", [f"<think>{DRAFT}</think>", f"{DRAFT}</think>"])
async def test_the_answer_in_json_is_the_one_after_the_thought(before: str) -> None:
    with chat_engine(in_order(says(before + GOOD))) as engine:
        async with chatting_json(engine) as policy:
            trajectory = await ask_json(policy)
    assert trajectory.answer is not None
    assert trajectory.answer.text.startswith("No aubergine")


_WORDS = st.text("abc é.\n", max_size=30)
_THOUGHT = st.sampled_from(
    ["{}", "<think>{}</think>", "{}</think>", "[THINK]{}[/THINK]", "<|channel|>analysis<|message|>{}<|end|>"]
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    thought=_WORDS.map(lambda text: f"SECRET {text}"),
    form=_THOUGHT,
    answer=_WORDS.map(lambda text: f"Answer {text}"),
    size=st.integers(1, 20),
    offered=st.booleans(),
)
def test_no_thought_is_rendered_as_an_answer_and_no_answer_is_lost(
    thought: str, form: str, answer: str, size: int, offered: bool
) -> None:
    text = (form.format(thought) if form != "{}" else "") + answer
    reply, rendered = ToolReply(offered, None), ""
    for at in range(0, len(text), size):
        reply.take({"content": text[at : at + size]})
        rendered += reply.render()
    reply.end(False, None)
    rendered += reply.render()
    before, _, after = rendered.partition("<answer>")
    assert after == f"{answer}</answer>"
    assert ("SECRET" in before) == (form != "{}")


def test_text_that_may_become_a_call_is_held_back_and_released_if_it_is_none() -> None:
    reply, shown = ToolReply(False), []
    for piece in ("See ", "<tool_", "call>", " tags."):
        reply.take({"content": piece})
        shown.append(reply.render())
    assert shown == ["<answer>See ", "", "", ""]
    reply.end(False, None)
    assert reply.render() == "&lt;tool_call> tags.</answer>"
    assert reply.problem == ""


def test_a_call_after_text_that_was_shown_makes_the_turn_invalid() -> None:
    reply, shown = ToolReply(False), ""
    for piece in ("See ", f"<tool_call>{CAFE}", "</tool_call>"):
        reply.take({"content": piece})
        shown += reply.render()
    reply.end(False, None)
    assert shown + reply.render() == "<answer>See "
    assert reply.problem == "max_searches"
