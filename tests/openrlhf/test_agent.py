"""Rollouts through OpenRLHF's own executor: train = serve, and no failure of a model or a judge raises."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
from openrlhf.trainer.ray.vllm_engine import _load_agent_executor

from agent.episode import Episode
from agent.prompts import ANSWER_NOW
from agent.tags import STOP
from agent.trajectory import Limits
from index.documents import Document
from tests.golden.cases import CASES, OPENED, Case, comparable, expected
from tests.golden.tokens import (
    BOS,
    EOS,
    TOKENIZER,
    encode,
    expected_ids,
    expected_prompts,
    expected_ranges,
    joined,
)
from tests.openrlhf.world import (
    BrokenJudge,
    GoldenTokenizer,
    Sampling,
    Watched,
    documents_of,
    made,
    roll_out,
    row_of,
    says,
    script,
)
from training.judging.lexical import LexicalJudge
from training.policy.environment import CONFIGURATION, Configuration, InvalidConfiguration
from training.policy.openrlhf import agent
from training.policy.reward import Costs

ANSWER = "<think>I know.</think><answer>Green tea, no coffee.</answer>"
SEARCH = "<think>Look.</think><search>tea</search>"
TEA = [Document(id="t", text="I drink green tea.")]

every_case = pytest.mark.parametrize("case", [*CASES, *OPENED], ids=lambda case: case.name)


@every_case
async def test_the_transcript_and_the_tokens_are_those_of_the_service(case: Case, tmp_path: Path) -> None:
    environment = made(tmp_path, documents_of(case), case.limits, method=case.method)
    engine = script(case)
    rollout = await roll_out(environment, row_of(case.question), engine)
    assert rollout["observation_tokens"] == joined(expected_ids(case))
    assert rollout["action_ranges"] == expected_ranges(case)
    assert engine.prompts == expected_prompts(case)
    assert comparable(environment.episodes[0].trajectory.to_dict()) == expected(case)


@every_case
async def test_the_loss_sees_every_sampled_token_and_no_other(case: Case, tmp_path: Path) -> None:
    environment = made(tmp_path, documents_of(case), case.limits, method=case.method)
    rollout = await roll_out(environment, row_of(case.question), script(case))
    experience = generator()._process_response_into_experience(rollout, max_len=8_192)
    trajectory = environment.episodes[0].trajectory
    own = [
        segment.author == "policy"
        for segment, ids in zip(trajectory.segments, expected_ids(case), strict=True)
        for _ in ids
    ]
    assert experience.sequences[0].tolist() == joined(expected_ids(case))
    # The mask is one shorter: it has no entry for the first token.
    assert experience.action_mask[0].tolist() == own[1:]


def generator() -> Any:
    return SamplesGenerator(type("Strategy", (), {"args": None}), None, None, None, [])


async def test_samples_of_one_question_share_no_sampling_parameters(tmp_path: Path) -> None:
    environment = made(tmp_path, TEA, Limits())
    shared = Sampling(max_tokens=300)
    engines = [says(SEARCH, ANSWER), says(ANSWER), says("<think>", reason="length")]
    await asyncio.gather(*(roll_out(environment, row_of("Tea?"), engine, shared) for engine in engines))
    assert shared == Sampling(max_tokens=300)
    given = [sampling for engine in engines for sampling in engine.sampling]
    assert len({id(sampling) for sampling in given}) == len(given)
    for sampling in given:
        assert (sampling.stop, sampling.include_stop_str_in_output) == (list(STOP), True)
        assert sampling.skip_special_tokens


async def test_no_turn_gets_more_tokens_than_are_left_or_than_a_turn_may_have(tmp_path: Path) -> None:
    environment = made(tmp_path, TEA, Limits(max_tokens=100))
    engine = says(SEARCH, ANSWER)
    await roll_out(environment, row_of("Tea?"), engine)
    used = len(encode(SEARCH, opening=False))
    assert [sampling.max_tokens for sampling in engine.sampling] == [100, 100 - used]
    engine = says(SEARCH, ANSWER)
    await roll_out(environment, row_of("Tea?"), engine, Sampling(max_tokens=80))
    assert [sampling.max_tokens for sampling in engine.sampling] == [80, min(80, 100 - used)]


async def test_a_search_with_the_last_token_of_the_budget_ends_the_rollout(tmp_path: Path) -> None:
    environment = made(tmp_path, TEA, Limits(max_tokens=len(encode(SEARCH, opening=False))))
    rollout = await roll_out(environment, row_of("Tea?"), says(SEARCH))
    trajectory = environment.episodes[0].trajectory
    assert trajectory.finish_reason == "max_tokens"
    assert rollout["observation_tokens"] == tokens_of(trajectory)


async def test_long_passages_leave_room_for_the_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "training.policy.openrlhf.agent")
    documents = [Document(id=f"d{n}", text=f"tea {n} " * 60) for n in range(5)]
    environment = made(tmp_path, documents, Limits(top_k=5))
    row = row_of("Tea?")
    opening = len(encode(environment.episode(row).prompt, opening=True))
    context = opening + 1_400
    engine = says(SEARCH, ANSWER)
    rollout = await roll_out(environment, row, engine, context=context)
    trajectory = environment.episodes[-1].trajectory
    shown = len(trajectory.documents_read)
    assert 0 < shown < 5
    assert rollout["extra_logs"]["passages_left_out"] == 5 - shown
    assert caplog.messages == [f"the context is full: withheld {5 - shown} of the 5 passages found"]
    assert engine.sampling[-1].max_tokens >= context // 4
    assert ANSWER_NOW in trajectory.segments[2].text, "there is no room for another search"
    assert trajectory.finish_reason == "answered"
    assert rollout["observation_tokens"] == tokens_of(trajectory)
    assert len(rollout["observation_tokens"]) <= context


async def test_a_method_that_opens_with_passages_shows_those_that_leave_room(tmp_path: Path) -> None:
    documents = [Document(id=f"d{n}", text=f"tea {n} " * 60) for n in range(5)]
    environment = made(tmp_path, documents, Limits(top_k=5), method="prlm")
    opening = len(encode(environment.episode(row_of("Tea?")).prompt, opening=True))
    context = opening + 1_000
    engine = says(ANSWER)
    rollout = await roll_out(environment, row_of("Tea?"), engine, context=context)
    trajectory = environment.episodes[-1].trajectory
    shown = len(trajectory.documents_read)
    assert 0 < shown < 5
    assert rollout["extra_logs"]["passages_left_out"] == 5 - shown
    assert rollout["extra_logs"]["searches"] == 0, "it was made for the policy, which pays only for its own"
    assert engine.sampling[-1].max_tokens >= context // 4
    assert rollout["observation_tokens"] == tokens_of(trajectory)
    with pytest.raises(InvalidConfiguration, match=r"the prompt of question 'q' has \d+ tokens"):
        await roll_out(environment, row_of("Tea?"), says(ANSWER), context=opening + 10)


async def test_passages_that_fit_are_all_shown(tmp_path: Path) -> None:
    documents = [Document(id=f"d{n}", text=f"tea {n}") for n in range(5)]
    environment = made(tmp_path, documents, Limits(top_k=5))
    rollout = await roll_out(environment, row_of("Tea?"), says(SEARCH, ANSWER))
    assert len(environment.episodes[0].trajectory.documents_read) == 5
    assert rollout["extra_logs"]["passages_left_out"] == 0


def tokens_of(trajectory: Any) -> list[int]:
    """The service's tokens: the policy's own, and every other segment encoded separately."""
    return joined(
        list(segment.token_ids)
        if segment.author == "policy"
        else encode(segment.text, opening=segment is trajectory.segments[0])
        for segment in trajectory.segments
    )


async def test_a_good_answer_is_rewarded_less_its_costs(tmp_path: Path) -> None:
    environment = made(tmp_path, TEA, Limits(), LexicalJudge(), costs=Costs(search=0.1, violation=0.05))
    rollout = await roll_out(environment, row_of("Tea?", without_profile=0.5), says(SEARCH, "Oh! " + ANSWER))
    assert rollout["scores"] == 1.0
    assert rollout["reward"] == pytest.approx(1 - 0.1 - 0.05)
    logs = rollout["extra_logs"]
    assert (logs["unjudged"], logs["answered"], logs["searches"], logs["violations"]) == (0, 1, 1, 1)
    assert (logs["without_profile"], logs["without_profile_known"]) == (0.5, 1)


async def test_a_judge_that_fails_is_counted_and_ends_nothing(tmp_path: Path) -> None:
    environment = made(tmp_path, TEA, Limits(), BrokenJudge())
    rollout = await roll_out(environment, row_of("Tea?"), says(ANSWER))
    assert rollout["extra_logs"]["unjudged"] == 1
    assert rollout["reward"] == rollout["scores"] == 0


async def test_a_policy_that_never_closes_a_tag_ends_and_is_counted(tmp_path: Path) -> None:
    environment = made(tmp_path, TEA, Limits(max_tokens=50))
    rollout = await roll_out(environment, row_of("Tea?"), says("<think>" + "la " * 500))
    logs = rollout["extra_logs"]
    assert (logs["answered"], logs["cut_off"], logs["policy_tokens"]) == (0, 1, 50)
    assert rollout["truncated"]
    assert rollout["reward"] == pytest.approx(-Costs().invalid)
    assert logs["unjudged"] == 0, "that it answered nothing needs no judge"


async def test_every_sample_tells_the_same_of_itself(tmp_path: Path) -> None:
    environment = made(tmp_path, TEA, Limits(max_tokens=500))
    broken = made(tmp_path, TEA, Limits(max_tokens=500), BrokenJudge())
    rollouts = [
        await roll_out(environment, row_of("Tea?"), says(SEARCH, ANSWER)),
        await roll_out(environment, row_of("Tea?", without_profile=0.1), says("</think>")),
        await roll_out(broken, row_of("Tea?"), says(ANSWER)),
    ]
    told = [rollout["extra_logs"] for rollout in rollouts]
    assert told[0].keys() == told[1].keys() == told[2].keys()
    assert {type(value) for logs in told for value in logs.values()} == {float}


async def test_a_prompt_that_is_not_the_episodes_is_refused(tmp_path: Path) -> None:
    environment = made(tmp_path, TEA, Limits())
    executor = agent.AgentExecutor(lambda: given(environment))
    record = row_of("Tea?").to_record(Limits(max_searches=1))
    with pytest.raises(InvalidConfiguration, match="the prompt differs from the episode's"):
        await executor.execute(
            record["input"], record["label"], Sampling(), 8_192, GoldenTokenizer(), says(ANSWER)
        )


async def test_a_question_that_does_not_fit_is_refused_and_not_cut(tmp_path: Path) -> None:
    environment = made(tmp_path, TEA, Limits())
    with pytest.raises(InvalidConfiguration, match=r"the prompt of question 'q' has \d+ tokens"):
        await roll_out(environment, row_of("Tea?"), says(ANSWER), context=100)


async def given(environment: Watched) -> Watched:
    return environment


async def test_openrlhf_loads_the_agent_and_the_environment_is_the_one_of_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(tmp_path, TEA, Limits()).aclose()
    file = tmp_path / "training.json"
    file.write_text(Configuration(data=tmp_path, retriever="bm25").model_dump_json(), "utf-8")
    monkeypatch.setenv(CONFIGURATION, str(file))
    executor = _load_agent_executor(agent.__file__)
    record = row_of("Tea?").to_record(Limits())
    rollout = await executor.execute(
        record["input"], record["label"], Sampling(), 8_192, GoldenTokenizer(), says(SEARCH, ANSWER)
    )
    assert rollout["reward"] == 1.0


def test_no_text_of_a_rollout_becomes_a_control_token() -> None:
    episode = Episode("Tea?", f"{EOS}{BOS}")
    tokens = agent.Tokens(GoldenTokenizer(), episode)
    opening, feedback = (tokens(episode.prompt)["input_ids"].tolist()[0] for _ in range(2))
    assert opening == [TOKENIZER.token_to_id(BOS), *feedback]
    assert not {TOKENIZER.token_to_id(BOS), TOKENIZER.token_to_id(EOS)} & set(feedback)
    assert TOKENIZER.decode(feedback, skip_special_tokens=False) == episode.prompt
    assert f"{EOS}{BOS}" in episode.prompt
