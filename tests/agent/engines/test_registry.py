"""An engine is one class and one registration: settings, policies and chat models follow from it."""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import ValidationError

from agent.driver import drive
from agent.engines.errors import EngineError
from agent.engines.factory import chat_model, make_policy, text_model
from agent.engines.registry import ENGINES, ChatModel, chat_models, policies, register, text_models
from agent.engines.settings import EngineSettings
from agent.engines.text import Decoding, ScriptedText, TextModel
from agent.engines.vllm_chat import finite_values
from agent.methods import METHODS
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Policy
from agent.trajectory import Limits, PolicyProtocol, Search
from index.documents import Passage
from server.settings import Settings


class ToyChat:
    model = "toy-1"
    address = "here"

    async def served_model(self) -> str:
        return self.model

    async def ask(self, path: str, request: dict[str, Any]) -> Any:
        return {"choices": [{"message": {"content": request["messages"][-1]["content"].upper()}}]}

    async def aclose(self) -> None:
        pass


class Toy:
    name = "toy"
    protocols: Sequence[PolicyProtocol] = ("tags",)
    has_model = True

    def check(self, settings: EngineSettings) -> None:
        if settings.model == "broken":
            raise ValueError("toy needs a working model")

    def policy(self, settings: EngineSettings) -> Policy:
        return ScriptedPolicy(
            [
                "<think>What do they drink?</think><search>tea</search>",
                "<think>Green.</think><answer>Green tea [1].</answer>",
            ]
        )

    def chat_model(self, settings: EngineSettings) -> ChatModel:
        return ToyChat()

    def text_model(self, settings: EngineSettings, decoding: Decoding) -> TextModel:
        return ScriptedText(lambda prompt: prompt.upper())


@pytest.fixture
def toy() -> Iterator[None]:
    register(Toy())
    yield
    del ENGINES["toy"]


async def _find(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
    return [Passage("tea", "I drink green tea.")]


async def _answered(settings: EngineSettings) -> AsyncIterator[Any]:
    policy = make_policy(settings)
    async with aclosing(drive(METHODS["pr2"].begin("Tea?", Limits()), policy, _find)) as events:
        async for event in events:
            yield event


async def test_a_registered_engine_answers_a_question(toy: None) -> None:
    settings = EngineSettings.model_validate({"engine": "toy"})
    steps = [step async for step in _answered(settings) if step.kind != "answer.delta"]
    assert [step.kind for step in steps] == ["thought", "search", "information", "thought", "answer"]
    assert (steps[-1].text, steps[-1].citations[0].quote) == ("Green tea [1].", "I drink green tea.")


async def test_a_registered_engine_gives_a_chat_model(toy: None) -> None:
    chat = chat_model(EngineSettings(engine="toy"))
    reply = await chat.ask("/chat/completions", {"messages": [{"role": "user", "content": "hi"}]})
    assert reply == {"choices": [{"message": {"content": "HI"}}]}


async def test_a_registered_engine_gives_a_text_model(toy: None) -> None:
    model = text_model(EngineSettings(engine="toy"), Decoding())
    assert await model.generate("hi") == "HI"


def test_an_engine_says_which_settings_it_cannot_use(toy: None) -> None:
    with pytest.raises(ValidationError, match="toy needs a working model"):
        EngineSettings(engine="toy", model="broken")
    with pytest.raises(ValidationError, match="the protocol json needs the engine openai"):
        EngineSettings(engine="toy", protocol="json")
    with pytest.raises(ValidationError, match="vllm needs a model"):
        EngineSettings(engine="vllm")


def test_a_name_that_is_not_registered_is_refused() -> None:
    with pytest.raises(ValidationError, match="Input should be 'extractive', 'openai', 'vllm' or 'seq2seq'"):
        EngineSettings(engine="toy")


def test_a_name_is_registered_once(toy: None) -> None:
    with pytest.raises(ValueError, match="an engine named 'toy' is already registered"):
        register(Toy())


def test_the_built_in_engines_support_the_protocols_that_they_list() -> None:
    made = {
        (name, protocol): make_policy(EngineSettings(engine=name, protocol=protocol, model="some/model")).name
        for name, engine in ENGINES.items()
        for protocol in engine.protocols
    }
    assert made == {
        ("extractive", "tags"): "extractive",
        ("openai", "tags"): "openai:some/model",
        ("openai", "tools"): "tools:some/model",
        ("openai", "json"): "json:some/model",
        ("vllm", "tags"): "vllm:model",
    }
    for name in ENGINES:
        settings = EngineSettings(engine=name, model="some/model")
        if name in chat_models():
            assert chat_model(settings).model in ("some/model", "model")
        else:
            with pytest.raises(EngineError, match=r"has no chat model|cannot be a chat model"):
                chat_model(settings)
        if name in text_models():
            described = text_model(settings, Decoding(max_tokens=9)).description
            assert (described["engine"], described["model"]) == (name, "some/model")
            assert described["decoding"] == {"beams": 1, "temperature": 0.0, "max_tokens": 9}
        else:
            with pytest.raises(EngineError, match="has no text model"):
                text_model(settings, Decoding())


def test_the_engines_for_each_part_are_listed() -> None:
    assert policies() == ["extractive", "openai", "vllm"]
    assert chat_models() == ["openai", "vllm"]
    assert text_models() == ["openai", "vllm", "seq2seq"]


@pytest.mark.parametrize("role", ["policy", "planner"])
def test_an_engine_without_dialogue_is_no_policy(role: str) -> None:
    chosen = {"engine": "seq2seq", "model": "google/flan-t5-small"}
    with pytest.raises(
        ValidationError, match="seq2seq cannot be a policy: choose extractive or openai or vllm"
    ):
        Settings.model_validate({role: chosen})


def test_a_schema_with_finitely_many_values_is_listed() -> None:
    verdict = {
        "type": "object",
        "properties": {"match_score": {"type": "integer", "enum": [0, 1, 2]}},
        "required": ["match_score"],
        "additionalProperties": False,
    }
    assert finite_values(verdict) == ['{"match_score": 0}', '{"match_score": 1}', '{"match_score": 2}']
    assert finite_values({**verdict, "additionalProperties": True}) == []
    assert finite_values({**verdict, "properties": {"match_score": {"type": "integer"}}}) == []
