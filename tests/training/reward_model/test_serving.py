import asyncio
import math

import httpx
import pytest

from tests.training.reward_model.scripted import MODEL, ScriptedScorer, client
from training.reward_model.client import InvalidScore, RewardModelUnavailable
from training.reward_model.records import Response
from training.reward_model.serving import create_app

TEA = Response("What do I drink?", "Green tea.", ("I like tea.", "Café, naïve 绿茶 <b>"))


def http(scorer: ScriptedScorer, **options: int) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=create_app(scorer, **options), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://reward")


async def test_a_response_reaches_the_model_unchanged_and_its_score_comes_back() -> None:
    scorer = ScriptedScorer(lambda response: -2.5)
    reward = client(scorer)
    assert await reward.score(TEA) == -2.5
    assert scorer.batches == [[TEA]]
    await reward.aclose()


async def test_concurrent_requests_share_a_forward_pass_and_keep_their_scores() -> None:
    scorer = ScriptedScorer(lambda response: float(response.answer))
    scorer.hold.clear()
    async with http(scorer) as asked:

        async def score(answer: str) -> float:
            body = {"responses": [{"question": "?", "answer": answer}]}
            return float((await asked.post("/v1/scores", json=body)).json()["scores"][0])

        first = asyncio.create_task(score("0"))
        assert await asyncio.to_thread(scorer.entered.wait, 60)
        others = [asyncio.create_task(score(str(number))) for number in range(1, 20)]
        # The server's own count is the event.
        while (await asked.get("/healthz")).json()["waiting"] < 20:  # noqa: ASYNC110
            await asyncio.sleep(0)
        scorer.hold.set()
        assert await asyncio.gather(first, *others) == [float(number) for number in range(20)]
    assert [len(batch) for batch in scorer.batches] == [1, 19]


async def test_health_says_which_model_is_served() -> None:
    async with http(ScriptedScorer()) as asked:
        reply = await asked.get("/healthz")
    assert reply.json() == {"status": "ok", "model": MODEL, "reads_history": True, "waiting": 0}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"responses": []},
        {"responses": [{"question": "?"}]},
        {"responses": [{"question": "?", "answer": None}]},
        {"responses": [{"question": "?", "answer": 1}]},
        {"responses": [{"question": "?", "answer": "a", "history": "h"}]},
        {"responses": [{"question": "?", "answer": "a", "profile": []}]},
        {"responses": [{"question": "?", "answer": "a"}] * 257},
    ],
)
async def test_a_request_of_another_form_is_refused_and_never_scored(body: object) -> None:
    scorer = ScriptedScorer()
    async with http(scorer) as asked:
        assert (await asked.post("/v1/scores", json=body)).status_code == 422
    assert not scorer.batches


async def test_what_has_no_finite_score_is_null_and_spoils_no_other() -> None:
    found = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "one": 1.0}
    scorer = ScriptedScorer(lambda response: found[response.answer])
    async with http(scorer) as asked:
        responses = [{"question": "?", "answer": name} for name in found]
        reply = await asked.post("/v1/scores", json={"responses": responses})
    assert reply.json() == {"scores": [None, None, None, 1.0], "model": MODEL}
    reward = client(scorer)
    with pytest.raises(InvalidScore, match="None, which is no score"):
        await reward.score(Response("?", "nan"))


async def test_a_full_queue_turns_requests_away() -> None:
    scorer = ScriptedScorer()
    scorer.hold.clear()
    async with http(scorer, waiting=2) as asked:
        body = {"responses": [{"question": "?", "answer": "a"}]}
        first = asyncio.create_task(asked.post("/v1/scores", json={"responses": body["responses"] * 2}))
        assert await asyncio.to_thread(scorer.entered.wait, 60)
        refused = await asked.post("/v1/scores", json=body)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        scorer.hold.set()
        assert (await first).status_code == 200
        assert (await asked.post("/v1/scores", json=body)).status_code == 200


async def test_a_model_that_breaks_or_miscounts_is_a_failure_for_all_who_wait() -> None:
    class Miscounting(ScriptedScorer):
        def scores(self, responses: object) -> list[float]:
            return [1.0, 2.0, 3.0]

    def broken(response: Response) -> float:
        raise RuntimeError("out of memory")

    for scorer in (Miscounting(), ScriptedScorer(broken)):
        reward = client(scorer)
        with pytest.raises(RewardModelUnavailable, match="answered 500"):
            await reward.score(TEA)
