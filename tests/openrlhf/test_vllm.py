"""The agent with vLLM as the engine: server and training have the same transcripts and tokens."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer
from vllm import SamplingParams

from agent.policies.vllm import VLLMPolicy
from tests.engines.conftest import environment, in_process, model_dir
from tests.engines.model import CONTEXT
from tests.engines.test_vllm import Rollouts, ids_of, is_as_sampled, run
from tests.golden.cases import CASES, Case, comparable, expected
from tests.golden.tokens import joined
from tests.openrlhf.world import documents_of, made, roll_out, row_of

__all__ = ["environment", "in_process", "model_dir"]

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_training_and_serving_have_the_same_tokens(
    in_process: VLLMPolicy,
    model_dir: Path,
    tmp_path: Path,
    case: Case,
) -> None:
    world = made(tmp_path, documents_of(case), case.limits)
    # As OpenRLHF sets them: special tokens stay in the text, and there are no stop strings.
    sampling = SamplingParams(temperature=0.0, max_tokens=200, skip_special_tokens=False, logprobs=1)
    rollout = await roll_out(
        world,
        row_of(case.question),
        Rollouts(in_process),
        sampling,
        context=CONTEXT,
        tokenizer=AutoTokenizer.from_pretrained(model_dir),
    )
    assert comparable(world.episodes[0].trajectory.to_dict()) == expected(case)
    served = await run(in_process, case)
    tokens = rollout["observation_tokens"]
    assert is_as_sampled(joined(ids_of(served)), tokens, served)
    own = [segment.token_ids for segment in served.segments if segment.author == "policy"]
    for (start, end), ids in zip(rollout["action_ranges"], own, strict=True):
        assert is_as_sampled(ids, tokens[start:end], served)
    assert len(rollout["rollout_log_probs"]) == len(tokens)
