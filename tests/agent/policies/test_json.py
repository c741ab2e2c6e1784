"""LaMP-QA's baselines: a chat model behind a real server reads passages and replies with JSON."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent import prompts
from agent.driver import drive
from agent.engines.openai import OpenAIServer
from agent.methods import METHODS
from agent.planning import as_plan
from agent.policies.json import ROUNDS, JSONPolicy, json_messages
from agent.tags import escape
from agent.trajectory import Limits, Plan, Thought, Trajectory
from tests.agent.test_methods import HISTORY, QUESTION, Finds
from tests.chat_engine import chat_engine, delta, replies, says, usage
from tests.engine import Engine, Reply, fails, in_order

ANSWER = "No aubergine, </answer> she said."
GOOD = json.dumps({"personalized_answer": ANSWER})


@asynccontextmanager
async def chatting(engine: Engine, **options: Any) -> AsyncIterator[JSONPolicy]:
    server = OpenAIServer(engine.base_url, "tiny", connect_timeout_s=1.0, idle_timeout_s=5.0, retries=0)
    policy = JSONPolicy(server, **options)
    try:
        yield policy
    finally:
        await policy.aclose()


def asked_of(engine: Engine) -> list[Any]:
    """The requests for a reply, in order."""
    return [request.json for request in engine.requests if request.writes]


async def ask(
    policy: JSONPolicy, method: str = "rag", limits: Limits | None = None, **options: Any
) -> Trajectory:
    episode = METHODS[method].begin(
        QUESTION, limits or Limits(), protocol="json", planner_protocol="json", **options
    )
    async for _ in drive(episode, policy, Finds(*HISTORY)):
        pass
    return episode.trajectory


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f'Here it is: {{"note": 1}} {GOOD} That was all.',
        json.dumps({"thought": "{", "personalized_answer": ANSWER}, indent=2),
        '{"personalized_answer": "No aubergine,\n\n\tand </answer> she said."}',
    ],
)
async def test_the_answer_is_taken_out_of_the_json(reply: str) -> None:
    with chat_engine(in_order(says(reply))) as engine:
        async with chatting(engine) as policy:
            trajectory = await ask(policy)
            request = asked_of(engine)[-1]
    assert trajectory.finish_reason == "answered"
    assert trajectory.answer is not None
    assert "No aubergine" in trajectory.answer.text
    assert trajectory.answer.text.endswith("she said.")
    assert trajectory.violations == {}
    assert (trajectory.prompt_tokens, trajectory.policy_tokens) == (200, 20)
    system, user = request["messages"]
    assert system["content"] == prompts.JSON_INSTRUCTIONS
    assert user["content"] == "\n\n".join([*(passage.text for passage in HISTORY), QUESTION])


async def test_without_the_history_the_question_stands_alone() -> None:
    with chat_engine(in_order(says(GOOD))) as engine:
        async with chatting(engine) as policy:
            await ask(policy, "none")
            assert asked_of(engine)[-1]["messages"][1]["content"] == QUESTION


@pytest.mark.parametrize(
    "reply", ["No aubergine.", "{}", '{"personalized_answer": 3}', '{"answer": "x"}', "{{{"]
)
async def test_a_reply_without_the_answer_is_asked_for_again_a_little_warmer(reply: str) -> None:
    with chat_engine(in_order(says(reply), says(reply), says(GOOD))) as engine:
        async with chatting(engine) as policy:
            trajectory = await ask(policy)
            asked = [request["temperature"] for request in asked_of(engine)]
    assert trajectory.finish_reason == "answered"
    assert asked == [0.0, 0.1, 0.2]
    assert trajectory.policy_tokens == 60


async def test_a_model_that_never_gives_the_answer_has_none() -> None:
    with chat_engine(in_order(*[says("I would rather not.")] * ROUNDS)) as engine:
        async with chatting(engine) as policy:
            trajectory = await ask(policy)
            asked = [request["temperature"] for request in asked_of(engine)]
    assert (trajectory.finish_reason, trajectory.detail) == ("invalid", "malformed_reply")
    assert len(asked) == ROUNDS
    assert max(asked) == 1.0


async def test_a_reply_that_was_cut_off_is_no_answer_however_it_reads() -> None:
    cut = replies(delta(content=GOOD), delta("length"), usage(10, 50))
    with chat_engine(in_order(cut)) as engine:
        async with chatting(engine) as policy:
            trajectory = await ask(policy, limits=Limits(max_tokens=50))
    assert trajectory.finish_reason == "max_tokens"
    assert trajectory.answer is None


async def test_prlms_reasoning_stands_in_the_same_object_and_becomes_a_thought() -> None:
    reply = json.dumps({"reasoning": "She hates </answer> aubergine.", "personalized_answer": ANSWER})
    with chat_engine(in_order(says(reply), says(GOOD))) as engine:
        async with chatting(engine) as policy:
            reasoned, silent = [await ask(policy, "prlm") for _ in range(2)]
            request = asked_of(engine)[0]["messages"]
    assert request[0]["content"] == prompts.REASONING_JSON_INSTRUCTIONS
    assert [step.kind for step in reasoned.steps] == ["information", "thought", "answer"]
    assert isinstance(reasoned.steps[1], Thought)
    assert reasoned.steps[1].text == escape("She hates </answer> aubergine.")
    assert reasoned.answer is not None
    assert reasoned.answer.text == escape(ANSWER)
    assert [step.kind for step in silent.steps] == ["information", "answer"]


async def test_a_plan_is_written_in_plain_words_and_shown_behind_the_question() -> None:
    plan = as_plan(["No aubergine"])
    with chat_engine(in_order(says(plan), says(GOOD))) as engine:
        async with chatting(engine) as policy:
            trajectory = await ask(policy, "planpers")
            first, second = (request["messages"] for request in asked_of(engine))
    assert isinstance(trajectory.steps[0], Plan)
    assert trajectory.steps[0].text == plan
    assert first[0]["content"] == prompts.PLAIN_PLAN_INSTRUCTIONS
    assert first[1]["content"].endswith(QUESTION)
    assert second[1]["content"].endswith(f"{QUESTION}\n\n{prompts.PLANNED}\n{plan}")


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (fails(400, "no"), "refused"),
        (replies(delta(content="{"), delta("content_filter")), "refused"),
        (Reply((delta(content="{"),)), "broken_stream"),
    ],
)
async def test_a_server_that_fails_is_no_reply_without_an_answer(reply: Reply, fault: str) -> None:
    with chat_engine(in_order(reply)) as engine:
        async with chatting(engine) as policy:
            trajectory = await ask(policy)
            assert len(asked_of(engine)) == 1
    assert (trajectory.finish_reason, trajectory.fault) == ("policy_error", fault)


async def test_passages_that_do_not_fit_are_left_out_the_first_ones_first() -> None:
    episode = METHODS["rag"].begin(QUESTION, Limits(), protocol="json")
    episode.provide(HISTORY)
    episode.drop_oldest_passage()
    assert json_messages(episode)[1]["content"] == "\n\n".join([*(p.text for p in HISTORY[1:]), QUESTION])


async def test_the_server_is_asked_for_a_token_when_it_is_checked() -> None:
    with chat_engine(in_order(says("Hello"))) as engine:
        async with chatting(engine, context=4096) as policy:
            assert await policy.check() == "context 4096, chat that replies with JSON"
            assert policy.name == "json:tiny"
