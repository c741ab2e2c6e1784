"""Opens the judge that a configuration names, for evaluating and for training alike."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from agent.engines.errors import EngineError
from agent.engines.factory import chat_model
from agent.engines.openai import OpenAIServer, Refused
from agent.engines.registry import ChatModel, chat_models
from agent.engines.settings import EngineSettings
from index.documents import first_fault
from index.numbers import Integer, Number
from training.errors import TrainingError
from training.judging.cache import CachedJudge, VerdictCache
from training.judging.judge import Judge
from training.judging.lexical import LexicalJudge
from training.judging.llm import LLMJudge

LEXICAL = "lexical"
JUDGE_KEY = "PR2_JUDGE_API_KEY"
"""The environment variable with the API key of the judge's server, if it requires one."""


class InvalidJudge(TrainingError, ValueError):
    """The configuration lacks something that this kind of judge requires."""


class JudgeUnavailable(TrainingError):
    """The judge cannot be reached or does not grade. The message names its address."""


def _known(kind: str) -> str:
    kinds = [LEXICAL, *chat_models()]
    if kind not in kinds:
        raise ValueError(f"must be one of {', '.join(kinds)}")
    return kind


class JudgeConfiguration(BaseModel):
    """Which judge scores the answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[str, AfterValidator(_known)] = LEXICAL
    """`lexical`, or the engine that runs the judge's model."""
    url: str | None = None
    """Of an OpenAI-compatible server, up to and including /v1."""
    model: str = ""
    timeout_s: Number = 120.0
    at_once: Integer = 256
    """Calls in flight. Engines queue what they cannot do at once."""
    engine_args: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda arguments: not arguments)
    """For `vllm`: its own engine arguments. Left out where there are none, as in files from before."""


async def open_judge(configuration: JudgeConfiguration, verdicts: Path) -> Judge:
    """The judge, with the verdicts of earlier runs in the file `verdicts`.

    Raises InvalidJudge, JudgeUnavailable, CacheUnavailable.
    """
    if configuration.kind == LEXICAL:
        return LexicalJudge()
    if configuration.kind == "openai" and configuration.url is None:
        raise InvalidJudge("judge.url: the judge is a server, and its address is missing")
    try:
        model = chat_model(_engine(configuration))
    except EngineError as error:
        raise JudgeUnavailable(f"the judge: {error}") from None
    try:
        await _reach(model)
        judge = await LLMJudge.connect(
            model, timeout_s=configuration.timeout_s, concurrency=configuration.at_once
        )
        return CachedJudge(judge, VerdictCache(verdicts))
    except EngineError as error:
        await model.aclose()
        raise JudgeUnavailable(f"the judge: {error}") from None
    except BaseException:
        await model.aclose()
        raise


def _engine(configuration: JudgeConfiguration) -> EngineSettings:
    settings: dict[str, Any] = {
        "engine": configuration.kind,
        "model": configuration.model,
        "idle_timeout_s": configuration.timeout_s,
        "engine_args": configuration.engine_args,
    }
    if configuration.url is not None:
        settings["base_url"] = configuration.url
    if key := os.environ.get(JUDGE_KEY):
        settings["api_key"] = SecretStr(key)
    try:
        return EngineSettings(**settings)
    except ValidationError as error:
        raise InvalidJudge(f"judge: {first_fault(error, 'judge')}") from None


async def _reach(model: ChatModel) -> None:
    """Raises EngineError at once if a server is away, instead of once for each aspect after long waits."""
    if isinstance(model, OpenAIServer):
        # A server that refuses to list its models is there all the same.
        with suppress(Refused):
            await model.models(retries=0)
