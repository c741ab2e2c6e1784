import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.training.reward_model.scripted import MODEL, ScriptedScorer, client
from training.reward_model.client import InvalidScore, RewardClient, RewardModelUnavailable
from training.reward_model.records import Response

TEA = Response("What do I drink?", "Green tea.")


class Clock:
    """Time that passes only while someone sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def answering(
    handler: Callable[[httpx.Request], httpx.Response], clock: Clock | None = None, patience_s: float = 0.0
) -> RewardClient:
    clock = clock or Clock()
    return RewardClient(
        "http://reward/",
        MODEL,
        patience_s=patience_s,
        transport=httpx.MockTransport(handler),
        sleep=clock.sleep,
        clock=clock,
    )


def replies(content: Any = None, status: int = 200) -> RewardClient:
    return answering(lambda request: httpx.Response(status, text=content))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (f'{{"scores": [NaN], "model": "{MODEL}"}}', "gave nan, which is no score"),
        (f'{{"scores": [Infinity], "model": "{MODEL}"}}', "gave inf"),
        (f'{{"scores": [null], "model": "{MODEL}"}}', "gave None"),
        (f'{{"scores": ["1.0"], "model": "{MODEL}"}}', "gave 1.0, which"),
        (f'{{"scores": [true], "model": "{MODEL}"}}', "gave True"),
        (f'{{"scores": [], "model": "{MODEL}"}}', "no list of one score"),
        (f'{{"scores": [1, 2], "model": "{MODEL}"}}', "no list of one score"),
        (f'{{"model": "{MODEL}"}}', "no list of one score"),
        ('{"scores": [1.0], "model": "other"}', "has the reward model other"),
        ('{"scores": [1.0]}', "has the reward model None"),
    ],
)
async def test_an_answer_that_is_no_score_is_never_a_number(content: str, why: str) -> None:
    with pytest.raises(InvalidScore, match=why):
        await replies(content).score(TEA)


@pytest.mark.parametrize(
    ("content", "status", "why"),
    [
        ("{}", 500, "answered 500"),
        ("{}", 404, "answered 404"),
        ("{}", 422, "answered 422"),
        ("<html>", 200, "did not answer with a JSON object"),
        ("[1.0]", 200, "did not answer with a JSON object"),
        ("", 200, "did not answer with a JSON object"),
    ],
)
async def test_a_server_that_fails_is_named_with_what_to_do(content: str, status: int, why: str) -> None:
    with pytest.raises(RewardModelUnavailable, match=rf"http://reward {why}: start it \(pr2 train reward"):
        await replies(content, status).score(TEA)


async def test_a_lost_connection_is_retried_until_the_server_is_back() -> None:
    outcomes: Iterator[Exception | int] = iter(
        [httpx.ConnectError("refused"), httpx.ReadError("reset"), 503, 200]
    )

    def handler(request: httpx.Request) -> httpx.Response:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return httpx.Response(outcome, json={"scores": [0.5], "model": MODEL})

    clock = Clock()
    assert await answering(handler, clock, patience_s=30).score(TEA) == 0.5
    assert clock.waits == [0.1, 0.2, 0.4]


async def test_retrying_ends_when_patience_does() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    clock = Clock()
    with pytest.raises(RewardModelUnavailable, match="is away"):
        await answering(handler, clock, patience_s=30).score(TEA)
    assert 28 < clock.now <= 30


async def test_a_call_that_takes_too_long_is_not_repeated() -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        raise httpx.ReadTimeout("slow")

    with pytest.raises(RewardModelUnavailable, match="did not answer in time"):
        await answering(handler, patience_s=30).score(TEA)
    assert len(calls) == 1


async def test_nobody_at_the_address_is_a_typed_failure() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    reward = RewardClient(url, MODEL, patience_s=0.0)
    with pytest.raises(RewardModelUnavailable, match=url):
        await reward.check()
    await reward.aclose()


async def test_a_check_asks_for_the_model_and_for_a_score() -> None:
    scorer = ScriptedScorer()
    await client(scorer).check()
    assert [len(batch) for batch in scorer.batches] == [1]


async def test_a_check_refuses_another_model_and_says_what_to_do() -> None:
    scorer = ScriptedScorer(fingerprint="0" * 64)
    with pytest.raises(InvalidScore, match=r"reward model 0{12}, but .* for ffffffffffff: serve that"):
        await client(scorer).check()
    assert not scorer.batches


async def test_a_check_refuses_a_model_that_gives_nan() -> None:
    with pytest.raises(InvalidScore, match="no score"):
        await client(ScriptedScorer(lambda response: float("nan"))).check()
