"""The metrics, read by Prometheus' own parser: figures of known answers, and nothing of a user's."""

import asyncio
import urllib.request
from contextlib import aclosing
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from agent.engines.errors import EngineError
from agent.policies.scripted import ScriptedPolicy
from server.cli.errors import BadInput
from server.cli.serve import metrics_served
from server.settings import Settings
from tests.server.conftest import MakeService
from tests.server.live import ANA, THINK_ANSWER, THINK_SEARCH, Api, api_of
from tests.waiting import soon

Labels = frozenset[tuple[str, str]]


def samples(text: str) -> dict[tuple[str, Labels], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


async def read(api: Api) -> dict[tuple[str, Labels], float]:
    response = await api.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return samples(response.text)


def of(name: str, **labels: str) -> tuple[str, Labels]:
    return name, frozenset(labels.items())


async def test_an_answer_is_counted_with_its_steps_searches_and_tokens(api: Api) -> None:
    await api.put("ana", ANA)
    body = (await api.ask("ana")).json()
    path = f"/v1/users/ana/answers/{body['id']}/feedback"
    assert (await api.client.post(path, json={"rating": "down"})).status_code == 200
    found = await read(api)
    assert found[of("pr2_ratings_total", rating="down")] == 1
    assert found[of("pr2_answers_total", method="pr2", finish_reason="answered")] == 1
    assert found[of("pr2_answer_seconds_count", method="pr2")] == 1
    assert found[of("pr2_answer_seconds_sum", method="pr2")] == pytest.approx(
        body["trajectory"]["total_ms"] / 1e3
    )
    kinds = [step["kind"] for step in body["trajectory"]["steps"]]
    for kind in set(kinds):
        assert found[of("pr2_step_seconds_count", kind=kind)] == kinds.count(kind)
    ends = [step["at_ms"] for step in body["trajectory"]["steps"]]
    total = sum(found[of("pr2_step_seconds_sum", kind=kind)] for kind in set(kinds))
    assert total == pytest.approx(ends[-1] / 1e3)
    assert found[of("pr2_searches_per_answer_bucket", le="0.0")] == 0
    assert found[of("pr2_searches_per_answer_bucket", le="1.0")] == 1
    assert found[of("pr2_tokens_total", direction="written")] == body["trajectory"]["policy_tokens"]
    assert found[of("pr2_tokens_total", direction="read")] == body["trajectory"]["prompt_tokens"]
    assert found[of("pr2_running_answers")] == found[of("pr2_waiting_answers")] == 0


async def test_responses_are_counted_by_route_and_status_and_name_nobody(api: Api) -> None:
    await api.put("ana-the-canary", ANA)
    for path in (
        "/v1/users/ana-the-canary/documents/a1",
        "/v1/users/canary/documents",
        "/canary",
        "/mcp/canary",
    ):
        await api.client.get(path, params={"q": "canary"})
    await api.client.request("CANARY", "/healthz")
    await api.client.get("/healthz", headers={"Host": "canary.example"})
    await api.client.post("/v1/users/canary/search", headers={"Origin": "https://canary.example"}, json={})
    found = await read(api)
    one = "/v1/users/{user:name}/documents/{document_id:last_name}"
    assert found[of("pr2_http_requests_total", method="GET", route=one, status="200")] == 1
    all_of = "/v1/users/{user:name}/documents"
    assert found[of("pr2_http_requests_total", method="GET", route=all_of, status="404")] == 1
    assert found[of("pr2_http_requests_total", method="PUT", route=all_of, status="200")] == 1
    assert found[of("pr2_http_requests_total", method="GET", route="other", status="404")] == 1
    assert found[of("pr2_http_requests_total", method="POST", route="other", status="403")] == 1
    assert found[of("pr2_http_requests_total", method="other", route="other", status="405")] == 1
    assert "canary" not in (await api.client.get("/metrics")).text.lower()


async def test_a_failing_policy_is_counted_by_its_fault(make_service: MakeService) -> None:
    async with api_of(make_service(ScriptedPolicy([[EngineError("unavailable", "gone")]]))) as api:
        await api.put("ana", ANA)
        body = (await api.ask("ana")).json()
        found = await read(api)
    assert found[of("pr2_answers_total", method="pr2", finish_reason="policy_error")] == 1
    assert found[of("pr2_policy_faults_total", fault=body["fault"])] == 1


async def test_an_answer_whose_reader_leaves_is_cancelled(make_service: MakeService) -> None:
    service = make_service(ScriptedPolicy([THINK_SEARCH, THINK_ANSWER]))
    async with api_of(service) as api:
        await api.put("ana", ANA)
        request = await service.prepare("ana", "What do I like?")
        async with aclosing(aiter(service.answer(request))) as events:
            await anext(events)
        found = await read(api)
    assert found[of("pr2_answers_total", method="pr2", finish_reason="cancelled")] == 1


async def test_a_question_that_waits_and_one_that_runs_are_shown(make_service: MakeService) -> None:
    release = asyncio.Event()

    class Waiting(ScriptedPolicy):
        async def generate(self, *args: Any, **kwargs: Any) -> Any:
            await release.wait()
            async for chunk in super().generate(*args, **kwargs):
                yield chunk

    service = make_service(Waiting([THINK_ANSWER] * 2), limits={"concurrency": 1})
    async with api_of(service) as api:
        await api.put("ana", ANA)
        asked = [asyncio.create_task(api.ask("ana")) for _ in range(2)]
        await soon(lambda: service.queue.waiting == 1)
        found = await read(api)
        assert (found[of("pr2_running_answers")], found[of("pr2_waiting_answers")]) == (1, 1)
        release.set()
        await asyncio.gather(*asked)


async def test_a_client_that_asks_for_openmetrics_gets_it(api: Api) -> None:
    response = await api.client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    families = parse_openmetrics(response.text)  # type: ignore[no-untyped-call]
    assert "pr2_answers" in {family.name for family in families}


async def test_the_metrics_need_the_token_at_the_servers_port_and_none_at_their_own(
    make_service: MakeService,
) -> None:
    async with api_of(make_service(token="s3cret")) as api:
        assert (await api.client.get("/metrics")).status_code == 401
        given = {"Authorization": "Bearer s3cret"}
        assert (await api.client.get("/metrics", headers=given)).status_code == 200
    service = make_service(metrics_port=0)
    async with api_of(service) as api:
        assert (await api.client.get("/metrics")).status_code == 404
        with metrics_served(service.settings, service.metrics) as port:
            url = f"http://127.0.0.1:{port}/metrics"
            text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
            assert samples(text)[of("pr2_running_answers")] == 0
            taken = Settings(metrics_port=port)
            with (
                pytest.raises(BadInput, match="cannot serve the metrics"),
                metrics_served(taken, service.metrics),
            ):
                pass


async def test_a_request_keeps_its_id_or_is_given_one(api: Api) -> None:
    assert (await api.client.get("/healthz", headers={"X-Request-Id": "job-7.a"})).headers[
        "x-request-id"
    ] == "job-7.a"
    for strange in ("a b", "x" * 65, "é", ""):
        given = (await api.client.get("/healthz", headers={b"X-Request-Id": strange.encode()})).headers[
            "x-request-id"
        ]
        assert len(given) == 32
        assert given.isalnum()
