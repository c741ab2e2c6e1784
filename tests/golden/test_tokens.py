"""Train = serve: the same token ids, whether an episode is replayed, served, or run by OpenRLHF."""

from dataclasses import replace

import pytest

from agent.driver import drive
from agent.engines.openai import OpenAIServer
from agent.policies.tags import TagsPolicy
from agent.trajectory import Search, Trajectory
from tests.engine import VLLM, Engine, Tokenizer, samples, turns
from tests.golden import tokens
from tests.golden.cases import CASES, OPENED, Case, comparable, expected
from tests.golden.tokens import (
    BOS,
    FILES,
    decode,
    encode,
    expected_ids,
    expected_prompts,
    expected_ranges,
    ids_of,
    joined,
    render,
    replayed,
    sampled,
    searcher,
    streamed,
    written,
)


class Golden:
    """The tokenizer of the golden ids, for an engine."""

    encode = encode_plain = staticmethod(encode)
    decode = staticmethod(decode)


GOLDEN: Tokenizer = Golden()


@pytest.fixture(params=[*CASES, *OPENED], ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


def test_the_stored_token_ids_are_reproduced_byte_for_byte() -> None:
    for file, cases in FILES.items():
        assert file.read_bytes() == render(cases).encode()


async def test_a_replay_gives_the_token_ids(case: Case) -> None:
    trajectory, prompts = await replayed(case)
    assert ids_of(trajectory) == expected_ids(case)
    assert prompts == expected_prompts(case)
    assert comparable(trajectory.to_dict()) == expected(case)


async def served(case: Case, *, by_token: bool) -> tuple[Trajectory, list[list[int]]]:
    """The case through HTTP: its trajectory, and the prompts that the engine received."""
    numbers = range(len(case.turns))
    at_once = [[(written(case, number), sampled(case, number))] for number in numbers]
    replies = [streamed(case, number) for number in numbers] if by_token else at_once
    script = turns(*(samples(*pieces) for pieces in replies))
    with Engine(script, dialect=replace(VLLM, tokenizer=GOLDEN)) as engine:
        policy = TagsPolicy(OpenAIServer(engine.base_url, "tiny"))
        episode = case.begin()
        async for _ in drive(episode, policy, searcher(case)):
            pass
        await policy.aclose()
        return episode.trajectory, [request.json["prompt"] for request in engine.completions]


async def test_an_engine_behind_http_gives_the_token_ids(case: Case) -> None:
    trajectory, prompts = await served(case, by_token=False)
    assert ids_of(trajectory) == expected_ids(case)
    assert prompts == expected_prompts(case)
    assert comparable(trajectory.to_dict()) == expected(case)


async def test_a_stream_of_single_tokens_gives_the_token_ids(case: Case) -> None:
    trajectory, prompts = await served(case, by_token=True)
    *before, last = ids_of(trajectory)
    *expected_before, expected_last = expected_ids(case)
    assert before == expected_before
    assert prompts == expected_prompts(case)
    assert comparable(trajectory.to_dict()) == expected(case)
    if trajectory.detail == "forged_information":
        # The engine is stopped there, so the episode's last tokens end with the forged tag.
        assert last is not None
        assert last == expected_last[: len(last)]
        assert decode(last).endswith("<information>")
    else:
        assert last == expected_last


async def test_openrlhfs_executor_gives_the_token_ids(case: Case) -> None:
    """The token handling of OpenRLHF's MultiTurnAgentExecutor.execute (0.11.2)."""
    # `reset` returns the text of the first observation; the executor adds no special tokens to it. Our
    # tokenizer encodes its segments separately.
    episode = case.begin()
    search = searcher(case)
    current_obs_tokens = encode(BOS + episode.prompt, opening=False)
    if episode.pending is not None:
        current_obs_tokens += encode(episode.provide(await search(episode.pending, 5, ())), opening=False)
    before = len(current_obs_tokens)
    action_ranges = []
    for number in range(len(case.turns)):
        action_tokens, action_text = sampled(case, number), written(case, number)
        action_start = len(current_obs_tokens)
        action_ranges.append((action_start, action_start + len(action_tokens)))
        # `step`
        action = episode.feed(action_text) or episode.end_turn()
        feedback_text, done = "", True
        if isinstance(action, Search):
            feedback_text, done = episode.provide(await search(action, 5, ())), False
        current_obs_tokens = current_obs_tokens + action_tokens + encode(feedback_text, opening=False)
        if done:
            break
    assert current_obs_tokens == joined(expected_ids(case))
    assert action_ranges == expected_ranges(case)
    assert action_ranges[0][0] == before
    assert comparable(episode.trajectory.to_dict()) == expected(case)


async def test_a_text_that_is_encoded_again_would_show(case: Case) -> None:
    trajectory, prompts = await replayed(case)
    for number, ids in enumerate(prompts):
        policy_ids = sampled(case, number)
        assert encode(written(case, number), opening=False) != policy_ids
        assert decode(policy_ids).removesuffix("\n") == written(case, number)
        if written(case, number).endswith("</search>"):
            assert decode(policy_ids[-1:]) == ">\n", "it reaches into what is not its own"
        if number:
            text = "".join(segment.text for segment in trajectory.segments[: 2 * number + 1])
            assert encode(text, opening=True) != ids
            bordered = "".join(
                segment.text for segment in trajectory.segments[2 * number - 1 : 2 * number + 1]
            )
            apart = [encode(segment.text, opening=False) for segment in trajectory.segments]
            assert encode(bordered, opening=False) != joined(apart[2 * number - 1 : 2 * number + 1])


def test_the_tokenizer_is_a_tokenizer() -> None:
    text = "<think>Wo?</think>\n🦊 ja\u2028\0"
    assert decode(encode(text, opening=True)) == text
    assert encode(text, opening=True) == [tokens.TOKENIZER.token_to_id(BOS), *encode(text, opening=False)]
    assert decode(encode("🦊", opening=False)[:-1]) == ""
