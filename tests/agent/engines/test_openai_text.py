"""Plain texts by servers of several kinds: which endpoint is used, and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from agent.engines.errors import EngineError
from agent.engines.factory import text_model
from agent.engines.openai_text import ServerText
from agent.engines.settings import EngineSettings
from agent.engines.text import Decoding, NoLikelihood
from tests.chat_engine import chat_engine, messages, says
from tests.engine import (
    CHAT_ONLY,
    LLAMA_CPP,
    OLLAMA,
    PLAIN,
    VLLM,
    Dialect,
    Engine,
    Piece,
    Reply,
    event,
    fails,
    in_order,
    writes,
)

DECODING = Decoding(temperature=0.5, max_tokens=20)


@asynccontextmanager
async def opened(engine: Engine, **settings: object) -> AsyncIterator[ServerText]:
    configured = EngineSettings.model_validate(
        {"engine": "openai", "base_url": engine.base_url, "model": "tiny", "retries": 0, **settings}
    )
    model = text_model(configured, DECODING)
    assert isinstance(model, ServerText)
    async with aclosing(model):
        yield model


@pytest.mark.parametrize("dialect", [PLAIN, VLLM, LLAMA_CPP])
async def test_a_prompt_goes_to_completions_where_there_are_any(dialect: Dialect) -> None:
    with Engine(lambda request: writes("Tea time"), dialect=dialect) as engine:
        async with opened(engine) as model:
            assert await model.generate("A headline, please.") == "Tea time"
            assert model.description == {
                "engine": "openai",
                "model": "tiny",
                "decoding": {"beams": 1, "temperature": 0.5, "max_tokens": 20},
            }
        (request,) = engine.completions
    assert request.path == "/v1/completions"
    asked = request.json
    assert {name: asked[name] for name in ("prompt", "max_tokens", "temperature", "model")} == {
        "prompt": "A headline, please.",
        "max_tokens": 20,
        "temperature": 0.5,
        "model": "tiny",
    }


@pytest.mark.parametrize("dialect", [CHAT_ONLY, OLLAMA])
async def test_a_server_that_only_chats_gets_one_message(dialect: Dialect) -> None:
    with Engine(lambda request: says("<think>Hm. Tea?</think>Tea time"), dialect=dialect) as engine:
        async with opened(engine) as model:
            assert await model.generate("A headline, please.") == "Tea time"
        (request,) = engine.completions
    assert request.path == "/v1/chat/completions"
    assert messages(request) == [{"role": "user", "content": "A headline, please."}]


async def test_the_server_is_probed_once_for_many_texts() -> None:
    with chat_engine(lambda request: says(request.text.upper())) as engine:
        async with opened(engine) as model:
            texts = await asyncio.gather(*(model.generate(f"tea {number}") for number in range(5)))
            probes = len(engine.requests)
            await model.generate("tea")
        assert texts == [f"TEA {number}" for number in range(5)]
        assert len(engine.requests) == probes + 1


async def test_a_text_that_reaches_the_limit_is_kept_and_one_that_breaks_off_is_an_error() -> None:
    cut = Reply((Piece("Tea ti", finish="length"),))
    broken = Reply((event("Tea"),))
    with Engine(in_order(cut, broken, fails(503)), dialect=VLLM) as engine:
        async with opened(engine) as model:
            assert await model.generate("tea") == "Tea ti"
            for fault in ("broken_stream", "unavailable"):
                with pytest.raises(EngineError) as raised:
                    await model.generate("tea")
                assert raised.value.fault == fault


async def test_a_server_that_was_away_is_probed_again() -> None:
    with Engine(lambda request: writes("Tea"), dialect=VLLM) as engine:
        engine.instead["/v1/models"] = fails(503)
        async with opened(engine) as model:
            with pytest.raises(EngineError):
                await model.generate("tea")
            del engine.instead["/v1/models"]
            assert await model.generate("tea") == "Tea"


@pytest.mark.parametrize("dialect", [VLLM, LLAMA_CPP])
async def test_a_prompt_that_does_not_fit_is_refused_before_it_is_sent(dialect: Dialect) -> None:
    context = dialect.context or 0
    with Engine(lambda request: writes("Tea"), dialect=dialect) as engine:
        async with opened(engine) as model:
            with pytest.raises(EngineError, match=f"more than the {context} of tiny") as raised:
                await model.generate("x" * (context - 10))
            assert raised.value.fault == "refused"
            assert engine.completions == []
            assert await model.generate("x" * (context - 21)) == "Tea"


async def test_without_a_tokenizer_a_server_has_to_refuse_itself() -> None:
    with Engine(lambda request: says("Tea"), dialect=OLLAMA) as engine:
        async with opened(engine) as model:
            with pytest.raises(EngineError, match="maximum context length"):
                await model.generate("x" * 5_000)
        assert len(engine.completions) == 1


@pytest.mark.parametrize("dialect", [VLLM, LLAMA_CPP])
async def test_tokens_are_counted_by_the_servers_tokenizer(dialect: Dialect) -> None:
    with Engine(lambda request: writes("Tea"), dialect=dialect) as engine:
        async with opened(engine) as model:

            def count() -> tuple[int, int, str, str]:
                return model.count("tea"), model.count(""), model.cut("green tea", 5), model.cut("tea", 3)

            # The scripted tokens are bytes. Any thread may count, also that of the event loop.
            assert await asyncio.to_thread(count) == (3, 0, "green", "tea")
            assert count() == (3, 0, "green", "tea")


async def test_a_thread_that_outlives_its_caller_does_not_connect_again() -> None:
    with Engine(lambda request: writes("Tea"), dialect=VLLM) as engine:
        async with opened(engine) as model:
            engine.instead["/tokenize"] = Reply((0.2,), status=200)
            counting = asyncio.create_task(asyncio.to_thread(model.cut, "green tea", 3))
            await engine.until(lambda: engine.asked("/tokenize") > 0)
            counting.cancel()
        asked = len(engine.requests)
        with pytest.raises(EngineError, match="have been closed"):
            model.count("tea")
        assert len(engine.requests) == asked


async def test_a_server_without_a_tokenizer_says_what_to_set() -> None:
    with Engine(lambda request: writes("Tea"), dialect=PLAIN) as engine:
        async with opened(engine) as model:
            with pytest.raises(EngineError, match="no tokenizer endpoint: name the model's tokenizer"):
                model.count("tea")


async def test_a_tokenizer_that_is_away_is_not_taken_for_one_that_is_missing() -> None:
    with Engine(lambda request: writes("Tea"), dialect=VLLM) as engine:
        engine.instead["/tokenize"] = fails(503)
        async with opened(engine) as model:
            with pytest.raises(EngineError) as raised:
                model.count("tea")
            assert raised.value.fault == "unavailable"
            del engine.instead["/tokenize"]
            assert model.count("tea") == 3


@pytest.mark.parametrize(
    ("settings", "decoding", "why"),
    [
        ({"model": "tiny"}, Decoding(beams=4), "has no beam search"),
        ({"model": ""}, Decoding(), "name the model of http://127.0.0.1:8001/v1"),
    ],
)
def test_what_a_server_cannot_do_is_refused_at_once(
    settings: dict[str, str], decoding: Decoding, why: str
) -> None:
    with pytest.raises(EngineError, match=why):
        text_model(EngineSettings(engine="openai", **settings), decoding)


async def test_a_likelihood_is_refused_and_not_guessed() -> None:
    model = text_model(EngineSettings(engine="openai", model="tiny"), Decoding())
    with pytest.raises(NoLikelihood, match="cannot tell the likelihood"):
        await model.likelihood("tea", "time")
    await model.aclose()
