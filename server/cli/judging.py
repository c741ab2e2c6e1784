"""The judge that the command line names."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from server.cli.errors import BadInput

if TYPE_CHECKING:
    from agent.engines.registry import ChatModel
    from training.judging.judge import Judge

JudgeName = Literal["lexical", "openai", "vllm"]

_TIMEOUT_S = 120.0
_CALLS = 256
"""At a time: all that the questions under way bring. Its engine queues what it cannot do at once."""


@dataclass(frozen=True)
class JudgeChoice:
    """Which judge, and where its model is."""

    kind: JudgeName = "lexical"
    url: str | None = None
    model: str = ""
    engine_args: Mapping[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def open_judge(choice: JudgeChoice, verdicts: Path) -> "AsyncIterator[Judge]":
    """The judge, with the verdicts of earlier runs in the file `verdicts`. Raises BadInput."""
    from training.judging.lexical import LexicalJudge

    if choice.kind == "lexical":
        yield LexicalJudge()
        return
    from agent.engines.errors import EngineError
    from training.judging.cache import CachedJudge, VerdictCache
    from training.judging.llm import LLMJudge

    model = _model(choice)
    with VerdictCache(verdicts) as cache:
        try:
            judge = await LLMJudge.connect(model, timeout_s=_TIMEOUT_S, concurrency=_CALLS)
        except EngineError as error:
            await model.aclose()
            raise BadInput(f"the judge: {error}") from None
        async with aclosing(CachedJudge(judge, cache)) as cached:
            yield cached


def _model(choice: JudgeChoice) -> "ChatModel":
    if choice.kind == "vllm":
        if not choice.model:
            raise BadInput("--judge vllm needs --judge-model: a folder, or a name on the hub")
        from agent.engines.vllm import VLLMEngine
        from agent.engines.vllm_chat import VLLMChat

        return VLLMChat(VLLMEngine(choice.model, choice.engine_args))
    if choice.url is None:
        raise BadInput("--judge openai needs --judge-url, the address of the judge's server")
    from agent.engines.openai import OpenAIServer

    key = os.environ.get("PR2_JUDGE_API_KEY")
    return OpenAIServer(choice.url, choice.model, key, idle_timeout_s=_TIMEOUT_S)
