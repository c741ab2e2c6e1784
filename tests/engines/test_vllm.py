"""Whole episodes through vLLM itself: as a server, in this process, and as OpenRLHF's rollouts drive it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import torch
from openrlhf.utils.agent import AgentInstanceBase, MultiTurnAgentExecutor
from transformers import AutoModelForCausalLM, AutoTokenizer, StopStringCriteria

from agent.driver import Event, drive
from agent.engines.errors import EngineError
from agent.engines.openai import OpenAIServer
from agent.episode import Episode
from agent.policies.tags import TagsPolicy
from agent.policies.vllm import VLLMPolicy
from agent.tags import STOP
from agent.trajectory import AnswerDelta, Limits, Search, Trajectory
from index.documents import Passage
from tests.engines.conftest import Server
from tests.engines.model import BOS, CONTEXT, ENDLESS, EOS
from tests.golden.cases import CASES, Case, comparable, expected, passages

Writer = TagsPolicy | VLLMPolicy

pytestmark = pytest.mark.asyncio(loop_scope="session")
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


async def run(policy: Writer, case: Case, seen: Callable[[Event], None] = lambda event: None) -> Trajectory:
    episode = Episode(case.question, limits=case.limits, today=case.today)
    found = iter(case.found)

    async def search(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
        return passages(case, next(found))

    async for event in drive(episode, policy, search):
        seen(event)
    return episode.trajectory


def ids_of(trajectory: Trajectory) -> list[tuple[int, ...]]:
    """The tokens of each segment, in order."""
    ids = [segment.token_ids for segment in trajectory.segments]
    assert None not in ids
    return [part for part in ids if part is not None]


def is_as_sampled(served: Sequence[int] | None, sampled: Sequence[int], trajectory: Trajectory) -> bool:
    """Whether the tokens are the same. A forged block is cut off early: then, whether its prefix is."""
    served = list(served or ())
    forged = trajectory.detail == "forged_information"
    return served == list(sampled[: len(served)] if forged else sampled)


async def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


@every_case
async def test_the_golden_trajectories_come_out_of_the_engine(policy: Writer, case: Case) -> None:
    assert comparable((await run(policy, case)).to_dict()) == expected(case)


@every_case
async def test_the_server_and_the_engine_in_process_give_the_same_tokens(
    over_http: TagsPolicy, in_process: VLLMPolicy, case: Case
) -> None:
    ids = ids_of(await run(over_http, case))
    assert ids == ids_of(await run(in_process, case))
    assert len(ids) == len(expected(case)["segments"])


async def test_the_engines_know_which_strings_are_control_tokens(
    server: Server, in_process: VLLMPolicy, model_dir: Path
) -> None:
    text = f"a {EOS} <b> [1] {BOS}"
    broken = "a &lt;|end|> <b> [1] &lt;|begin|>"
    asked = OpenAIServer(f"{server.url}/v1", "tiny")
    try:
        assert await asked.controls.broken(text) == broken
    finally:
        await asked.aclose()
    texts = await in_process.engine.text_tokenizer()
    assert texts.broken(text) == broken
    ids = texts.encode(text, opening=False)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    assert not {tokenizer.bos_token_id, tokenizer.eos_token_id} & {*ids}
    assert tokenizer.decode(ids) == text


@every_case
async def test_the_tokens_are_those_of_a_plain_greedy_run(
    in_process: VLLMPolicy, model_dir: Path, case: Case
) -> None:
    model = AutoModelForCausalLM.from_pretrained(model_dir)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    trajectory = await run(in_process, case)
    segments = trajectory.segments
    for number, segment in enumerate(segments):
        if segment.author == "policy":
            before = [token for earlier in segments[:number] for token in earlier.token_ids or ()]
            written = model.generate(
                torch.tensor([before]),
                attention_mask=torch.ones(1, len(before), dtype=torch.long),
                do_sample=False,
                max_new_tokens=200,
                stopping_criteria=[StopStringCriteria(tokenizer, list(STOP))],
                pad_token_id=tokenizer.eos_token_id,
            )
            assert is_as_sampled(segment.token_ids, written[0, len(before) :].tolist(), trajectory)


@every_case
async def test_openrlhfs_rollouts_see_the_same_transcript_and_tokens(
    in_process: VLLMPolicy, model_dir: Path, case: Case
) -> None:
    from vllm import SamplingParams

    episode = Episode(case.question, limits=case.limits, today=case.today)
    found = iter(case.found)

    class Instance(AgentInstanceBase):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

        async def step(self, states: dict[str, Any], **_: Any) -> dict[str, Any]:
            action = episode.feed(states["action_text"]) or episode.end_turn()
            feedback = episode.provide(passages(case, next(found))) if isinstance(action, Search) else ""
            reward = torch.tensor(0.0)
            done = episode.finish_reason is not None
            return {"rewards": reward, "environment_feedback": feedback, "done": done}

    rollout = await MultiTurnAgentExecutor(Instance).execute(
        prompt=BOS + episode.prompt,
        label="",
        sampling_params=SamplingParams(
            temperature=0.0, max_tokens=200, stop=list(STOP), include_stop_str_in_output=True
        ),
        max_length=CONTEXT,
        hf_tokenizer=AutoTokenizer.from_pretrained(model_dir),
        llm_engine=Rollouts(in_process),
    )
    assert comparable(episode.trajectory.to_dict()) == expected(case)
    served = await run(in_process, case)
    tokens = rollout["observation_tokens"]
    assert is_as_sampled([token for ids in ids_of(served) for token in ids], tokens, served)
    own = [segment.token_ids for segment in served.segments if segment.author == "policy"]
    for (start, end), ids in zip(rollout["action_ranges"], own, strict=True):
        assert is_as_sampled(ids, tokens[start:end], served)


class Rollouts:
    """The interface of OpenRLHF's vLLM actor to an executor."""

    def __init__(self, policy: VLLMPolicy) -> None:
        self._policy = policy

    async def generate(self, ids: list[int], sampling: Any, multi_modal_data: Any = None) -> Any:
        from vllm import TokensPrompt

        engine = await self._policy.engine.started()
        last = None
        async for output in engine.generate(
            TokensPrompt(prompt_token_ids=ids), sampling, os.urandom(8).hex()
        ):
            last = output
        return last


async def test_what_the_engine_can_do_is_found_out(over_http: TagsPolicy, in_process: VLLMPolicy) -> None:
    assert await over_http.check() == f"context {CONTEXT} tokens, completions, token ids, stop strings kept"
    assert str(CONTEXT) in await in_process.check()


async def test_the_answer_is_streamed_while_it_is_written(policy: Writer) -> None:
    case = next(case for case in CASES if case.name == "one_search")
    pieces: list[str] = []
    await run(
        policy, case, lambda event: pieces.append(event.text) if isinstance(event, AnswerDelta) else None
    )
    assert len(pieces) > 1


async def test_a_turn_reads_what_the_turn_before_has_computed_from_the_cache(
    over_http: TagsPolicy, server: Server
) -> None:
    case = next(case for case in CASES if case.name == "three_searches_with_citations")
    hits = [server.metric("vllm:prefix_cache_hits_total")]

    def count(event: Event) -> None:
        if isinstance(event, Search):
            hits.append(server.metric("vllm:prefix_cache_hits_total"))

    await run(over_http, case, count)
    await asyncio.sleep(1.0)  # The engine reports at intervals.
    hits.append(server.metric("vllm:prefix_cache_hits_total"))
    gained = [after - before for before, after in pairwise(hits)]
    assert gained == sorted(gained)
    assert gained[-1] > gained[0]


async def test_thirty_two_episodes_run_at_once_and_none_disturbs_another(policy: Writer) -> None:
    cases = [CASES[number % len(CASES)] for number in range(32)]
    for case, trajectory in zip(
        cases, await asyncio.gather(*(run(policy, case) for case in cases)), strict=True
    ):
        assert comparable(trajectory.to_dict()) == expected(case)


async def test_a_closed_generation_is_aborted_in_the_server(over_http: TagsPolicy, server: Server) -> None:
    aborted = server.log.read_text().count("aborted")
    async with aclosing(over_http.generate(Episode(ENDLESS), CONTEXT)) as chunks:
        for _ in range(5):
            await anext(chunks)
        assert server.metric("vllm:num_requests_running") == 1
    assert await within(1.0, lambda: server.metric("vllm:num_requests_running") == 0)
    assert await within(1.0, lambda: server.log.read_text().count("aborted") == aborted + 1)


async def test_a_closed_generation_is_aborted_in_process(in_process: VLLMPolicy) -> None:
    engine = await in_process.engine.started()
    async with aclosing(in_process.generate(Episode(ENDLESS), CONTEXT)) as chunks:
        for _ in range(5):
            await anext(chunks)
        assert engine.output_processor.get_num_unfinished_requests() == 1
    assert await within(1.0, lambda: engine.output_processor.get_num_unfinished_requests() == 0)


async def test_a_deadline_ends_an_endless_answer(policy: Writer) -> None:
    began = time.monotonic()
    episode = Episode(ENDLESS, limits=Limits(deadline_ms=500, max_tokens=CONTEXT))
    async for _ in drive(episode, policy, nothing):
        pass
    assert episode.finish_reason == "deadline"
    assert time.monotonic() - began < 1.0


async def test_a_full_context_ends_the_turn_as_too_long(policy: Writer) -> None:
    episode = Episode(ENDLESS, limits=Limits(max_tokens=10 * CONTEXT))
    async for _ in drive(episode, policy, nothing):
        pass
    trajectory = episode.trajectory
    assert trajectory.finish_reason == "max_tokens"
    assert sum(len(ids) for ids in ids_of(trajectory)) == CONTEXT


async def nothing(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
    return []


async def test_a_client_that_leaves_our_api_has_its_request_aborted_within_a_second(
    server: Server, tmp_path: Path
) -> None:
    async with our_api(server, tmp_path) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        await client.put("/v1/users/ana/documents", json=[{"id": "a", "text": "I sing."}])
        asked = {"question": ENDLESS, "stream": True}
        leaving = asyncio.create_task(client.post("/v1/users/ana/answers", json=asked))
        assert await within(10.0, lambda: server.metric("vllm:num_requests_running") == 1)
        leaving.cancel()
        assert await within(1.0, lambda: server.metric("vllm:num_requests_running") == 0)
        ready = (await client.get("/readyz")).json()
        assert "token ids" in ready["engine"]


@asynccontextmanager
async def our_api(server: Server, folder: Path) -> AsyncIterator[str]:
    """`pr2 serve` with the vLLM server behind it, from the environment that has no vLLM."""
    process = await asyncio.create_subprocess_exec(
        *[os.environ["PR2"], "serve", "--port", "0", "--data", str(folder)],
        *["--policy", "openai", "--base-url", f"{server.url}/v1"],
        stdout=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert process.stdout is not None
    try:
        said = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        url = said.split()[2]
        assert url.startswith("http://"), said
        async with httpx.AsyncClient() as client:
            for _ in range(100):
                try:
                    await client.get(f"{url}/healthz")
                    break
                except httpx.HTTPError:
                    await asyncio.sleep(0.1)
        yield url
    finally:
        process.terminate()
        await process.wait()


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """Kill the processes and their children, which would survive them."""
    for process in [*processes, *(child for one in processes for child in one.children(recursive=True))]:
        process.kill()


async def test_a_server_that_dies_in_mid_answer_is_a_typed_failure(
    over_http: TagsPolicy, server: Server
) -> None:
    async with aclosing(over_http.generate(Episode(ENDLESS), CONTEXT)) as chunks:
        await anext(chunks)
        kill_all([psutil.Process(server.process.pid)])
        server.process.wait()
        with pytest.raises(EngineError) as failed:
            async for _ in chunks:
                pass
    assert failed.value.fault == "broken_stream"


async def test_an_engine_that_dies_in_mid_answer_is_a_typed_failure_in_process(
    in_process: VLLMPolicy,
) -> None:
    async with aclosing(in_process.generate(Episode(ENDLESS), CONTEXT)) as chunks:
        await anext(chunks)
        kill_all(psutil.Process().children())
        with pytest.raises(EngineError) as failed:
            async for _ in chunks:
                pass
    assert failed.value.fault == "unavailable"
