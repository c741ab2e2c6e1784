"""The simulated engine of benchmarks/episodes.py: its schedule by hand, and as a server. No timings here."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.driver import drive
from agent.engines.openai import OpenAIServer
from agent.engines.sse import EventDecoder
from agent.episode import Episode
from agent.policies.tags import TagsPolicy
from agent.trajectory import Answer, Information, Search, Thought
from benchmarks import batching, engine
from benchmarks import episodes as agent

QUICK: dict[str, Any] = {
    "first_token_s": 0,
    "prompt_token_s": 0,
    "prompt_tokens_per_step": 100,
    "step_s": [[1, 1.0], [2, 1.5]],
    "max_batch": 2,
    "turn_tokens": [30, 30, 40],
}
PROMPT = "Instructions.\n\nQuestion: Which one?\n\n"


def ends(*episodes: list[tuple[int, int]], **changed: Any) -> list[list[float]]:
    return batching.finishes(batching.Parameters.model_validate(QUICK | changed), episodes)


def test_one_stream_gets_one_token_a_step() -> None:
    assert ends([(10, 3)]) == [[3.0]]


def test_a_prompt_is_read_in_the_first_step_and_the_next_turn_follows_at_once() -> None:
    # Ready at 0.5; the first step takes 1 s and 10 × 0.1 s more, the second 1 s. Then the same again.
    assert ends([(10, 2), (10, 2)], first_token_s=0.5, prompt_token_s=0.1) == [[3.5, 7.0]]


def test_two_streams_share_steps_that_take_longer() -> None:
    # Two steps of 1.5 s for both, two of 1 s for the one that is left.
    assert ends([(10, 2)], [(10, 4)]) == [[3.0], [5.0]]


def test_between_two_points_of_the_curve_it_is_linear() -> None:
    curve = batching.Parameters.model_validate(QUICK | {"step_s": [[1, 1.0], [5, 3.0]]})
    assert [curve.step(batch) for batch in (1, 2, 4, 5)] == [1.0, 1.5, 2.5, 3.0]


def test_beyond_the_largest_batch_a_stream_waits() -> None:
    assert ends([(10, 2)], [(10, 2)], max_batch=1) == [[2.0], [4.0]]


def test_beyond_the_prompt_tokens_of_a_step_a_stream_joins_the_next() -> None:
    # The first alone for 1 s, both for 1.5 s, the second alone for 1 s.
    assert ends([(8, 2)], [(8, 2)], prompt_tokens_per_step=10) == [[2.5], [3.5]]


def test_a_prompt_that_is_longer_than_a_step_reads_is_read_all_the_same() -> None:
    assert ends([(500, 1)]) == [[1.0]]


def test_a_stream_that_is_cancelled_gets_nothing_more() -> None:
    batch: batching.Batch[batching.Stream] = batching.Batch(batching.Parameters.model_validate(QUICK))
    stays, leaves = batching.Stream(1, 2), batching.Stream(1, 2)
    batch.submit(stays, 0.0)
    batch.submit(leaves, 0.0)
    batch.advance()
    batch.cancel(leaves)
    assert batch.advance() == [stays]
    batch.advance()
    assert batch.advance() == [stays]
    assert (batch.due, leaves.written) == (None, 0)


def test_lengths_differ_between_questions_and_never_for_one() -> None:
    parameters = batching.Parameters.model_validate(QUICK | {"turn_tokens": [100], "spread": 0.5})

    def length(question: str) -> int:
        return len(engine.Turn.after(f"\nQuestion: {question}\n\n", parameters).pieces)

    lengths = [length(question) for question in agent.questions(20)]
    assert lengths == [length(question) for question in agent.questions(20)]
    assert len(set(lengths)) > 5
    assert all(50 <= length <= 150 for length in lengths)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Invalid JSON"),
        (json.dumps(QUICK | {"max_batch": 0}), "max_batch: "),
        (json.dumps(QUICK | {"max_bach": 2}), "max_bach: field is not permitted"),
        (json.dumps(QUICK | {"step_s": [[2, 1.0], [1, 1.0]]}), "batches must increase"),
        (json.dumps(QUICK | {"max_batch": 9}), "must cover 1 to max_batch (9)"),
    ],
)
def test_a_bad_parameter_file_is_named_with_what_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"bad\.json: ") as caught:
        batching.Parameters.read(file)
    assert said in str(caught.value)


def test_a_missing_parameter_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.json: No such file"):
        batching.Parameters.read(Path("nowhere.json"))


def test_the_shipped_parameters_are_read() -> None:
    assert batching.Parameters.read(batching.PARAMETERS).max_batch >= max(agent.AT_ONCE)


@pytest.fixture(scope="module")
def quick_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("engine") / "quick.json"
    file.write_text(json.dumps(QUICK | {"step_s": [[1, 0.0005], [2, 0.0005]]}))
    return file


@pytest.fixture(scope="module")
def base_url(quick_file: Path) -> Iterator[str]:
    with engine.running(quick_file) as url:
        yield url


async def test_an_episode_of_three_turns_is_answered_as_planned(base_url: str, quick_file: Path) -> None:
    policy = TagsPolicy(OpenAIServer(base_url, engine.MODEL))
    episode, search = Episode("Which one?", limits=agent.LIMITS), agent.memory()
    kinds = [type(step) async for step in drive(episode, policy, search) if step.kind != "answer.delta"]
    await policy.aclose()
    looks = [Thought, Search, Information]
    assert (episode.finish_reason, kinds) == ("answered", [*looks, *looks, Thought, Answer])
    planned = await agent.planned("Which one?", search, batching.Parameters.read(quick_file))
    assert episode.policy_tokens == sum(tokens for _, tokens in planned)


async def test_questions_at_once_are_answered_in_lockstep_too(base_url: str) -> None:
    policy = TagsPolicy(OpenAIServer(base_url, engine.MODEL))
    run = await agent.ask_all(agent.questions(3), policy, agent.lockstep(agent.memory(), 3))
    await policy.aclose()
    assert len(run.thoughts) == 9


def completion(base_url: str, **more: Any) -> tuple[list[str], dict[str, Any]]:
    """The pieces of a turn, and its last event."""
    body = {"prompt": PROMPT, "stream": True, "stop": ["</search>", "</answer>"], **more}
    reply = httpx.post(f"{base_url}/completions", json=body, trust_env=False)
    *events, done = EventDecoder().decode(reply.content)
    assert (reply.status_code, done) == (200, "[DONE]")
    read = [json.loads(event) for event in events]
    return [event["choices"][0]["text"] for event in read], read[-1]


def test_the_stop_string_is_trimmed_and_named(base_url: str) -> None:
    pieces, last = completion(base_url)
    text = "".join(pieces)
    assert (text.startswith("<think>"), "</sea" in text) == (True, False)
    assert (last["choices"][0]["finish_reason"], last["choices"][0]["stop_reason"]) == ("stop", "</search>")
    assert last["usage"]["completion_tokens"] == len(pieces) == 30


def test_the_stop_string_is_kept_on_request(base_url: str) -> None:
    pieces, last = completion(base_url, include_stop_str_in_output=True)
    assert "".join(pieces).endswith("</search>")
    assert last["choices"][0]["stop_reason"] == "</search>"


def test_text_that_may_become_a_stop_string_is_held_back_only_where_it_would_be_trimmed(
    base_url: str,
) -> None:
    assert [completion(base_url)[0][0], completion(base_url, include_stop_str_in_output=True)[0][0]] == [
        "",
        "<",
    ]


def test_max_tokens_end_a_turn(base_url: str) -> None:
    pieces, last = completion(base_url, max_tokens=5)
    assert (len(pieces), last["choices"][0]["finish_reason"]) == (5, "length")
    assert last["choices"][0]["stop_reason"] is None


def test_the_schedule_tells_when_a_thought_went_out_once(base_url: str) -> None:
    httpx.get(f"{base_url}/schedule", trust_env=False)
    completion(base_url)
    told = [httpx.get(f"{base_url}/schedule", trust_env=False).json() for _ in range(2)]
    (turn,) = told[0]["turns"]
    assert (turn["question"], turn["turn"], told[1]["turns"]) == ("Which one?", 0, [])
    assert turn["arrived"] <= turn["first"] <= turn["thought"] <= turn["finished"]
    assert set(told[0]["late_s"]) == {"p50", "p99"}


def test_what_the_engine_does_not_do_is_refused(base_url: str) -> None:
    bad = httpx.post(f"{base_url}/completions", json={"prompt": PROMPT}, trust_env=False)
    unknown = httpx.post(f"{base_url}/chat/completions", json={}, trust_env=False)
    models = httpx.get(f"{base_url}/models", trust_env=False).json()
    assert (bad.status_code, unknown.status_code) == (400, 404)
    assert [model["id"] for model in models["data"]] == [engine.MODEL]
