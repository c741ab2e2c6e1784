"""VLLMPolicy and its engine, without vLLM; tests/engines has the tests with vLLM."""

import asyncio
import threading

import pytest

from agent.engines.errors import EngineError
from agent.engines.vllm import VLLMEngine
from agent.policies.vllm import VLLMPolicy


class Slow(VLLMEngine):
    """Finishes starting when `go` is set, and counts the starts."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.starts = 0
        self.begun, self.go = threading.Event(), threading.Event()

    def _start(self) -> None:
        self.starts += 1
        self.begun.set()
        self.go.wait()
        self._engine = "an engine"


async def test_who_stops_waiting_does_not_make_the_engine_start_twice() -> None:
    engine = Slow("tiny")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await engine.started()
    engine.go.set()
    assert set(await asyncio.gather(engine.started(), engine.started())) == {"an engine"}
    assert engine.starts == 1


async def test_a_start_that_failed_is_tried_again() -> None:
    class Fails(Slow):
        def _start(self) -> None:
            if self.starts == 0:
                self.starts += 1
                raise EngineError("unavailable", "no memory")
            super()._start()

    engine = Fails("tiny")
    engine.go.set()
    with pytest.raises(EngineError, match="no memory"):
        await engine.started()
    assert await engine.started() == "an engine"


async def test_without_vllm_the_extra_to_install_is_named() -> None:
    with pytest.raises(EngineError, match=r"pip install 'pr2\[vllm\]'") as raised:
        await VLLMPolicy(VLLMEngine("/models/tiny")).check()
    assert raised.value.fault == "unavailable"


def test_it_is_named_after_its_model() -> None:
    assert VLLMPolicy(VLLMEngine("/models/my-policy/")).name == "vllm:my-policy"
    assert VLLMPolicy(VLLMEngine("owner/model")).name == "vllm:model"


async def test_an_engine_that_is_just_starting_is_ended_too() -> None:
    ended: list[object] = []

    class Ends(Slow):
        async def _end(self, engine: object) -> None:
            ended.append(engine)

    engine = Ends("tiny")
    starting = asyncio.create_task(engine.started())
    await asyncio.to_thread(engine.begun.wait)
    ending = asyncio.create_task(engine.aclose())
    engine.go.set()
    await ending
    assert ended == ["an engine"]
    await starting
