"""`true` is no number: not in a request, not in a tool's arguments, not in the settings."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent.engines.settings import EngineSettings
from index.numbers import Integer, Number
from server.access.settings import IdentitySettings
from server.http.bodies import AnswerRequestBody, SearchRequest
from server.mcp.tools import TOOLS
from server.openai.chat import ChatRequest
from server.settings import LimitSettings, QuestionLimits, Settings

MODELS: list[type[BaseModel]] = [
    AnswerRequestBody,
    ChatRequest,
    EngineSettings,
    IdentitySettings,
    LimitSettings,
    QuestionLimits,
    SearchRequest,
    Settings,
    *(tool.arguments for tool in TOOLS),
]


def numbers(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Names and types of the fields that take numbers."""
    for name, field in model.model_fields.items():
        types = {field.annotation, *get_args(field.annotation)}
        types |= {part for kind in types for part in get_args(kind)}
        if types & {int, float} and bool not in types:
            yield name, field.rebuild_annotation()


FIELDS = [(model, name) for model in MODELS for name, _ in numbers(model)]


def test_the_fields_that_take_numbers_are_found() -> None:
    found = {f"{model.__name__}.{name}" for model, name in FIELDS}
    assert found > {
        "SearchRequest.k",
        "QuestionLimits.max_searches",
        "Settings.port",
        "ChatRequest.max_tokens",
    }
    assert found > {"EngineSettings.temperature", "EngineSettings.context_tokens", "LimitSettings.queue"}


@pytest.mark.parametrize(("model", "name"), FIELDS)
@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_refused(model: type[BaseModel], name: str, value: bool) -> None:
    with pytest.raises(ValidationError) as caught:
        model.__pydantic_validator__.validate_assignment(model.model_construct(), name, value)
    assert f"Input should be a number, not {str(value).lower()}" in str(caught.value)


@pytest.mark.parametrize(("given", "read"), [(5, 5), ("5", 5), (5.0, 5), (10**30, 10**30)])
def test_other_spellings_of_a_number_are_taken(given: Any, read: int) -> None:
    assert TypeAdapter(Integer).validate_python(given) == read
    assert TypeAdapter(Number).validate_python(given) == float(read)
