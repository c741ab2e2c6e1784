"""`true` is no number: not in a request, a tool's arguments, the settings, or a configuration of training."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent.engines.settings import EngineSettings
from agent.trajectory import Limits
from index.numbers import Integer, Number
from server.access.settings import IdentitySettings
from server.http.bodies import AnswerRequestBody, SearchRequest
from server.http.settings import ConnectionSettings
from server.mcp.tools import TOOLS
from server.openai.chat import ChatRequest
from server.openai.responses import ResponsesRequest
from server.settings import LimitSettings, QuestionLimits, Settings
from training.judging.factory import JudgeConfiguration
from training.planner.sft import Recipe
from training.policy.advantage import Formula
from training.policy.environment import Configuration
from training.policy.preset import GPUs, InvalidPreset, Size, changed, load_preset
from training.policy.prlm import Weights
from training.policy.prlm_reward import PrlmSettings
from training.policy.reward import Costs
from training.policy.rows import Row
from training.policy.warmstart import WarmstartExample
from training.retriever.recipe import Recipe as RetrieverRecipe
from training.selector.train import Recipe as SelectorRecipe

READ: list[type] = [
    AnswerRequestBody,
    ChatRequest,
    Configuration,
    ConnectionSettings,
    Costs,
    EngineSettings,
    Formula,
    GPUs,
    IdentitySettings,
    JudgeConfiguration,
    LimitSettings,
    Limits,
    PrlmSettings,
    QuestionLimits,
    Recipe,
    ResponsesRequest,
    RetrieverRecipe,
    Row,
    SearchRequest,
    SelectorRecipe,
    Settings,
    Size,
    WarmstartExample,
    Weights,
    *(tool.arguments for tool in TOOLS),
]
"""Models and dataclasses that are read from what people and programs write."""


def numbers(read: type) -> Iterator[str]:
    """Names of the fields that take numbers."""
    for name, annotation in get_type_hints(read).items():
        types = {annotation, *get_args(annotation)}
        types |= {part for kind in types for part in get_args(kind)}
        if name in fields(read) and types & {int, float} and bool not in types:
            yield name


def fields(read: type) -> set[str]:
    return set(read.__dataclass_fields__ if is_dataclass(read) else read.model_fields)  # type: ignore[attr-defined]


FIELDS = [(read, name) for read in READ for name in numbers(read)]


def test_the_fields_that_take_numbers_are_found() -> None:
    found = {f"{read.__name__}.{name}" for read, name in FIELDS}
    assert found > {
        "SearchRequest.k",
        "QuestionLimits.max_searches",
        "Settings.port",
        "ChatRequest.max_tokens",
        "Costs.invalid",
        "JudgeConfiguration.at_once",
        "Limits.top_k",
        "Recipe.steps",
        "Row.without_profile",
        "Size.layers",
    }
    assert found > {"EngineSettings.temperature", "EngineSettings.context_tokens", "LimitSettings.queue"}


@pytest.mark.parametrize(("read", "name"), FIELDS)
@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_refused(read: type, name: str, value: bool) -> None:
    def validate() -> None:
        if issubclass(read, BaseModel):
            read.__pydantic_validator__.validate_assignment(read.model_construct(), name, value)
        else:
            TypeAdapter(read).validate_python({name: value})

    with pytest.raises(ValidationError) as caught:
        validate()
    assert f"Input should be a number, not {str(value).lower()}" in str(caught.value)


@pytest.mark.parametrize("name", ["vllm.num_engines", "train.micro_batch_size", "ds.zero_stage"])
@pytest.mark.parametrize("value", ["true", "many", "[1]"])
def test_a_flag_that_is_counted_with_is_a_number(name: str, value: str) -> None:
    preset = changed(load_preset("tiny"), [f"{name}={value}"])
    with pytest.raises(InvalidPreset, match=f"{name} must be a number, not"):
        preset.number(name)


@pytest.mark.parametrize(("given", "read"), [(5, 5), ("5", 5), (5.0, 5), (10**30, 10**30)])
def test_other_spellings_of_a_number_are_taken(given: Any, read: int) -> None:
    assert TypeAdapter(Integer).validate_python(given) == read
    assert TypeAdapter(Number).validate_python(given) == float(read)
