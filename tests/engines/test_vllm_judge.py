"""The judge on a model that vLLM runs in this process."""

import pytest

from agent.engines.errors import EngineError
from agent.engines.vllm import VLLMEngine
from agent.engines.vllm_chat import VLLMChat
from agent.policies.vllm import VLLMPolicy
from training.judging.judge import SCALE, Unjudged
from training.judging.llm import LLMJudge
from training.tasks.lampqa.data import Aspect, Question

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = Question(
    id="q",
    question="Tea?",
    category="c",
    narrative="Green.",
    rubric_aspects=(Aspect(aspect="Green tea", reason="Likes it", evidence="Green."),),
    profile=(),
)
ASPECT = QUESTION.rubric_aspects[0]
RESPONSES = ("Green tea.", "Black tea, then.", "")


async def test_every_call_gives_a_verdict_though_the_model_knows_nothing_of_json(
    in_process: VLLMPolicy,
) -> None:
    judge = await LLMJudge.connect(VLLMChat(in_process.engine))
    for response in RESPONSES:
        assert await judge.judge(QUESTION, ASPECT, response) in SCALE
    # At the first attempt, thanks to the choices.
    assert judge.calls == len(RESPONSES)


async def test_what_does_not_fit_is_unjudged_and_not_graded(in_process: VLLMPolicy) -> None:
    judge = await LLMJudge.connect(VLLMChat(in_process.engine))
    with pytest.raises(Unjudged, match="more than its context"):
        await judge.judge(QUESTION, ASPECT, "tea " * 10_000)


async def test_a_model_that_is_not_there_is_said_before_the_first_verdict() -> None:
    chat = VLLMChat(VLLMEngine("/nowhere/judge"))
    with pytest.raises(EngineError, match="vLLM cannot start with /nowhere/judge") as raised:
        await LLMJudge.connect(chat)
    assert raised.value.fault == "unavailable"
