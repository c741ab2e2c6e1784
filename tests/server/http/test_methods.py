"""Methods over the API, and the comparison with an answer without the person's history."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import ValidationError

from agent.engines.errors import EngineError
from agent.engines.settings import EngineSettings
from agent.episode import Episode
from agent.methods import METHODS
from agent.planning import as_plan
from agent.policies.extractive import ExtractivePolicy
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Chunk
from agent.trajectory import Trajectory
from server.answers import AnswerRecord
from server.http.bodies import AnswerBody
from server.settings import Settings
from tests.server.conftest import MakeService
from tests.server.http.test_scheduling import Visit, counts, is_busy
from tests.server.http.test_streams import events_of
from tests.server.live import ANA, THINK_ANSWER, THINK_SEARCH, Api, api_of
from tests.waiting import soon

pytestmark = pytest.mark.usefixtures("history")
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["at once", "stream"])
PEARS = ANA[0]["text"]
PLAN = as_plan(["Fruit that she likes"])


class HistoryAware(ScriptedPolicy):
    """Answers differently with and without the history, and keeps the prompts."""

    def __init__(self, with_it: list[Any], without: list[Any], delay_s: float = 0.0) -> None:
        super().__init__(with_it, delay_s)
        self.without = ScriptedPolicy(without, delay_s)
        self.shown: list[str] = []
        self.here = 0

    def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        self.shown.append(episode.prompt)
        reads = episode.limits.max_searches or episode.reads
        return super().generate(episode, max_tokens) if reads else self.without.generate(episode, max_tokens)


GENERAL = "<think>I know nothing of her.</think><answer>Most people like apples.</answer>"


def history_aware(**more: Any) -> HistoryAware:
    return HistoryAware([THINK_SEARCH, THINK_ANSWER], [GENERAL], **more)


async def body_of(api: Api, stream: bool, question: str = "Which fruit do I like?", **more: Any) -> Any:
    """Body of the answer, streamed or not; checked against its shape and the stored answer."""
    response = await api.ask("ana", question, stream=stream, **more)
    assert response.status_code == 200, response.text
    body = events_of(response.text)[-1][1] if stream else response.json()
    AnswerBody.model_validate(body)
    assert (await api.client.get(f"/v1/users/ana/answers/{body['id']}")).json() == body
    return body


def kinds(outcome: Any) -> list[str]:
    return [step["kind"] for step in outcome["trajectory"]["steps"]]


@WAYS
@pytest.mark.parametrize(
    ("method", "steps", "searches", "answer"),
    [
        ("pr2", ["thought", "search", "information", "thought", "answer"], 1, "She likes pears [1]."),
        ("rag", ["information", "thought", "answer"], 0, "She likes pears [1]."),
        ("prlm", ["information", "thought", "answer"], 0, "She likes pears [1]."),
        ("none", ["thought", "answer"], 0, "Most people like apples."),
    ],
)
async def test_a_method_decides_what_is_read_and_who_decides_what_to_look_for(
    make_service: MakeService, stream: bool, method: str, steps: list[str], searches: int, answer: str
) -> None:
    policy = HistoryAware([THINK_SEARCH, THINK_ANSWER] if method == "pr2" else [THINK_ANSWER], [GENERAL])
    async with api_of(make_service(policy)) as api:
        body = await body_of(api, stream, method=method)
    assert (body["method"], body["finish_reason"], body["answer"]) == (method, "answered", answer)
    assert kinds(body) == steps
    assert body["usage"]["searches"] == searches
    assert (body["usage"]["documents_read"] > 0) == (method != "none")
    assert [citation["document_id"] for citation in body["citations"]] == ([] if method == "none" else ["a1"])
    assert (PEARS in body["trajectory"]["transcript"]) == (method != "none")
    assert all((PEARS in prompt) == (method != "none") for prompt in policy.shown[-1:])
    assert body["without_profile"] is None


async def test_without_a_method_it_is_the_first(make_service: MakeService) -> None:
    async with api_of(make_service(history_aware())) as api:
        assert (await body_of(api, False))["method"] == next(iter(METHODS)) == "pr2"
        assert (await body_of(api, False, method=None))["method"] == "pr2"


async def test_rag_reads_what_the_question_finds_with_the_retriever_and_limits_that_were_asked_for(
    make_service: MakeService,
) -> None:
    async with api_of(make_service(ScriptedPolicy([THINK_ANSWER]))) as api:
        body = await body_of(
            api,
            False,
            "Who moved my dentist appointment?",
            method="rag",
            retriever="bm25",
            limits={"top_k": 1},
        )
        assert body["retriever"] == "bm25"
        [passage] = body["trajectory"]["steps"][0]["passages"]
        assert passage["passage"]["document_id"] == "a2"
        assert body["trajectory"]["limits"]["max_searches"] == 0


@pytest.mark.parametrize("method", ["rag", "prlm", "none"])
async def test_a_search_where_none_is_allowed_ends_the_answer(make_service: MakeService, method: str) -> None:
    async with api_of(make_service(ScriptedPolicy([THINK_SEARCH]))) as api:
        body = await body_of(api, False, method=method)
    assert (body["finish_reason"], body["answer"]) == ("max_searches", None)
    assert body["usage"]["searches"] == 0


def planned(method: str) -> dict[str, str]:
    return {"plan": PLAN} if METHODS[method].plans else {}


@WAYS
async def test_a_plan_comes_first_from_the_planner_or_the_caller(
    make_service: MakeService, stream: bool
) -> None:
    planner = ScriptedPolicy([f"<answer>{PLAN}</answer>"])
    policy = HistoryAware([THINK_ANSWER], [THINK_ANSWER])
    async with api_of(make_service(policy, planner=planner)) as api:
        written = await body_of(api, stream, method="planpers")
        given = await body_of(api, stream, method="planpers", plan="Only this:\n- prices")
    assert kinds(written) == kinds(given) == ["plan", "information", "thought", "answer"]
    assert written["trajectory"]["steps"][0]["text"] == PLAN
    assert given["trajectory"]["steps"][0]["text"] == "Only this:\n- prices"
    assert [PLAN in prompt for prompt in policy.shown] == [True, False]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"method": "planpers"}, "needs a model that writes plans, or a plan"),
        ({"method": "pr2", "plan": "x"}, "the method pr2 takes no plan"),
        ({"method": "planpers", "plan": "x" * 32_001}, "the plan has 32001 characters; the limit is 32000"),
    ],
)
async def test_a_plan_that_cannot_be_had_or_used_is_refused_before_the_answer(
    api: Api, asked: dict[str, Any], said: str
) -> None:
    response = await api.ask("ana", "Which fruit?", **asked)
    assert response.status_code == 422
    assert said in response.json()["detail"]
    assert counts(api) == (0, 0)


async def test_the_planner_is_the_policy_with_what_its_own_settings_change() -> None:
    settings = Settings(
        policy={"engine": "openai", "model": "base", "temperature": 0.5}, planner={"model": "planner"}
    )
    assert settings.planning == settings.policy.model_copy(update={"model": "planner"})
    elsewhere = Settings(
        policy={"engine": "openai", "model": "base", "api_key": "secret"},
        planner={"base_url": "http://other/v1"},
    )
    assert elsewhere.planning.api_key is None
    # Without a model there is nothing that a planner could differ from.
    unused = Settings(planner={"model": "planner", "protocol": "tools"})
    assert unused.planning == unused.policy
    with pytest.raises(ValidationError, match="colour"):
        Settings(policy={"engine": "openai"}, planner={"colour": "red"})


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_works_without_a_model(make_service: MakeService, method: str) -> None:
    async with api_of(make_service(ExtractivePolicy())) as api:
        body = await body_of(api, False, method=method, **planned(method))
    assert (body["finish_reason"], body["policy"]) == ("answered", "extractive")
    if method == "none":
        assert (body["citations"], body["usage"]["documents_read"]) == ([], 0)
        assert "pears" not in body["answer"]
    else:
        assert PEARS in body["answer"]
        assert body["citations"][0]["document_id"] == "a1"
    assert (body["usage"]["searches"] > 0) == (method == "pr2")


@WAYS
@pytest.mark.parametrize("method", ["magic", "PR2", "pr2 ", "pr2:rag"])
async def test_an_unknown_method_is_refused_and_those_that_there_are_are_named(
    make_service: MakeService, stream: bool, method: str
) -> None:
    async with api_of(make_service()) as api:
        response = await api.ask("ana", method=method, stream=stream)
        problem = response.json()
        assert (response.status_code, problem["type"]) == (422, "urn:pr2:problem:unknown-method")
        assert response.headers["content-type"] == "application/problem+json"
        assert repr(method) in problem["detail"]
        assert all(name in problem["detail"] for name in METHODS)
        assert counts(api) == (0, 0)


@WAYS
@pytest.mark.parametrize("method", METHODS)
async def test_a_comparison_answers_without_anything_of_the_profile(
    make_service: MakeService, stream: bool, method: str
) -> None:
    policy = HistoryAware([THINK_SEARCH, THINK_ANSWER] if method == "pr2" else [THINK_ANSWER], [GENERAL])
    async with api_of(make_service(policy)) as api:
        body = await body_of(api, stream, method=method, compare=True, **planned(method))
    other = body["without_profile"]
    assert body["answer"] == ("Most people like apples." if method == "none" else "She likes pears [1].")
    assert (other["answer"], other["finish_reason"]) == ("Most people like apples.", "answered")
    assert other["citations"] == []
    assert kinds(other) == ["thought", "answer"]
    assert (other["usage"]["searches"], other["usage"]["documents_read"]) == (0, 0)
    assert other["usage"]["policy_tokens"] == 1
    assert other["usage"]["total_ms"] > 0
    assert other["trajectory"]["question"] == body["question"]
    assert other["trajectory"]["policy"] == body["policy"] == "scripted"
    assert Trajectory.from_dict(other["trajectory"]).answer is not None
    for document in ANA:
        assert document["text"] not in str(other)
        assert document["id"] not in str(other["trajectory"]["steps"])
    assert len(policy.shown) == (3 if method == "pr2" else 2)


async def test_the_steps_of_a_comparison_are_not_among_the_events(make_service: MakeService) -> None:
    async with api_of(make_service(history_aware())) as api:
        events = events_of((await api.ask("ana", stream=True, compare=True)).text)
    names = [name for name, _ in events if name != "answer.delta"]
    assert names == ["thought", "search", "information", "thought", "answer", "done"]
    assert "apples" not in str(events[:-1])
    assert "apples" in str(events[-1])


async def test_an_answer_has_the_id_that_it_was_promised(make_service: MakeService) -> None:
    service = make_service(history_aware())
    for compare in (False, True):
        answering = service.answer(await service.prepare("ana", "Which fruit?", compare=compare))
        [record] = [event async for event in answering if isinstance(event, AnswerRecord)]
        stored = await service.stored_answer("ana", answering.id)
        assert record.id == stored["id"] == answering.id
        assert stored == record.to_dict()


async def test_both_answers_are_written_at_the_same_time(make_service: MakeService) -> None:
    both = asyncio.Barrier(2)

    class Together(HistoryAware):
        async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
            async with aclosing(super().generate(episode, max_tokens)) as chunks:
                if len(self.shown) <= 2:
                    await both.wait()
                async for chunk in chunks:
                    yield chunk

    policy = Together([THINK_SEARCH, THINK_ANSWER], [GENERAL])
    async with api_of(make_service(policy)) as api:
        body = await body_of(api, False, compare=True)
    assert (body["finish_reason"], body["without_profile"]["finish_reason"]) == ("answered", "answered")
    assert len(policy.shown) == 3


@WAYS
async def test_a_comparison_takes_two_places(make_service: MakeService, stream: bool) -> None:
    waiting = asyncio.Event()

    class Waiting(HistoryAware):
        async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
            await waiting.wait()
            yield Chunk(GENERAL, tokens=1, finish="stop")

    service = make_service(Waiting([], []), limits={"concurrency": 3, "queue": 1})
    async with api_of(service) as api:
        first = Visit(api, "First?", stream=stream, compare=True)
        assert await soon(lambda: counts(api) == (2, 0))
        second = Visit(api, "Second?", stream=stream, compare=True)
        assert await soon(lambda: counts(api) == (3, 1))
        for compare in (False, True):
            assert is_busy(await api.ask("ana", stream=stream, compare=compare))
            assert counts(api) == (3, 1)
        await first.leave()
        assert counts(api) == (2, 0)
        third = Visit(api, "Third?")
        assert await soon(lambda: counts(api) == (3, 0))
        # One place would be there, but a comparison needs two: it takes none.
        fourth = Visit(api, "Fourth?", stream=stream)
        assert await soon(lambda: counts(api) == (3, 1))
        await fourth.leave()
        assert is_busy(await api.ask("ana", stream=stream, compare=True))
        assert counts(api) == (3, 0)
        waiting.set()
        for visit in (second, third):
            assert (await visit.end())["answer"] == "Most people like apples."
        assert counts(api) == (0, 0)
        assert (await api.service.erase("ana")).answers == 2


async def test_where_one_is_answered_at_a_time_the_comparison_comes_second(make_service: MakeService) -> None:
    policy = history_aware()
    async with api_of(make_service(policy, limits={"concurrency": 1, "queue": 1})) as api:
        body = await body_of(api, False, compare=True)
        assert (body["finish_reason"], body["without_profile"]["finish_reason"]) == ("answered", "answered")
        assert "Most people" not in policy.shown[1]
        assert counts(api) == (0, 0)


@WAYS
async def test_a_client_that_leaves_cancels_both(make_service: MakeService, stream: bool) -> None:
    long = [["<think>", *["more "] * 2_000]]
    policy = HistoryAware([THINK_SEARCH, *long], long, delay_s=0.02)
    async with api_of(make_service(policy)) as api:
        visit = Visit(api, "Why?", stream=stream, compare=True)
        assert await soon(lambda: len(policy.shown) == 3)
        await visit.leave()
        assert (policy.cancelled, policy.without.cancelled) == (["Why?"], ["Why?"])
        assert counts(api) == (0, 0)
        assert (await api.service.erase("ana")).answers == 0


async def test_closing_the_steps_cancels_both(make_service: MakeService) -> None:
    long = [["<think>", *["more "] * 2_000]]
    policy = HistoryAware([["<think>Hm.</think>", *long[0]]], long, delay_s=0.01)
    service = make_service(policy)
    answering = service.answer(await service.prepare("ana", "Why?", compare=True))
    async for _ in answering:
        break
    await answering.aclose()
    assert (policy.cancelled, policy.without.cancelled) == (["Why?"], ["Why?"])
    assert (service.queue.running, service.queue.waiting) == (0, 0)


BROKEN = ["<think>Well", EngineError("broken_stream", "the engine is gone")]


@WAYS
async def test_where_the_answer_fails_the_comparison_is_kept(make_service: MakeService, stream: bool) -> None:
    async with api_of(make_service(HistoryAware([THINK_SEARCH, BROKEN], [GENERAL]))) as api:
        response = await api.ask("ana", stream=stream, compare=True)
        problem = events_of(response.text)[-2][1] if stream else response.json()
        assert (problem["status"], problem["finish_reason"]) == (502, "policy_error")
        stored = (await api.client.get(f"/v1/users/ana/answers/{problem['answer_id']}")).json()
        AnswerBody.model_validate(stored)
        assert (stored["finish_reason"], stored["answer"]) == ("policy_error", None)
        assert stored["without_profile"]["answer"] == "Most people like apples."
        assert counts(api) == (0, 0)


@WAYS
async def test_where_the_comparison_fails_the_answer_is_kept(make_service: MakeService, stream: bool) -> None:
    async with api_of(make_service(HistoryAware([THINK_SEARCH, THINK_ANSWER], [BROKEN]))) as api:
        body = await body_of(api, stream, compare=True)
    assert (body["finish_reason"], body["answer"]) == ("answered", "She likes pears [1].")
    other = body["without_profile"]
    assert (other["finish_reason"], other["answer"]) == ("policy_error", None)
    assert other["trajectory"]["fault"] == "broken_stream"


@WAYS
@pytest.mark.parametrize("at_fault", ["with_it", "without"])
async def test_a_bug_on_either_side_ends_both(make_service: MakeService, stream: bool, at_fault: str) -> None:
    bug = ["<think>Well", RuntimeError("password=hunter2")]
    long = ["<think>", *["more "] * 5]
    turns = {"with_it": [long], "without": [long]} | {at_fault: [bug]}
    policy = HistoryAware(**turns, delay_s=0.01)
    async with api_of(make_service(policy)) as api:
        response = await api.ask("ana", stream=stream, compare=True)
        assert response.status_code == (200 if stream else 500)
        assert "urn:pr2:problem:internal" in response.text
        assert "hunter2" not in response.text
        assert counts(api) == (0, 0)
        assert (await api.service.erase("ana")).answers == 0


async def test_the_shapes_of_an_answer_and_of_a_comparison_are_documented(make_service: MakeService) -> None:
    async with api_of(make_service()) as api:
        schemas = (await api.client.get("/openapi.json")).json()["components"]["schemas"]
    answer, outcome, asked = (schemas[name] for name in ("AnswerBody", "Outcome", "AnswerRequestBody"))
    assert answer["properties"]["without_profile"]["anyOf"] == [
        {"$ref": "#/components/schemas/Outcome"},
        {"type": "null"},
    ]
    assert set(outcome["properties"]) == {"answer", "citations", "finish_reason", "usage", "trajectory"}
    assert set(outcome["required"]) == set(outcome["properties"])
    assert set(answer["properties"]) > set(outcome["properties"])
    assert set(answer["required"]) == set(answer["properties"])
    assert asked["properties"]["compare"]["default"] is False
    assert asked["properties"]["compare"]["type"] == "boolean"
    assert "method" in asked["properties"]


@pytest.mark.parametrize("compare", ["perhaps", None, 2, []])
async def test_whether_to_compare_is_yes_or_no(make_service: MakeService, compare: Any) -> None:
    async with api_of(make_service()) as api:
        response = await api.ask("ana", compare=compare)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "body.compare")


async def test_a_policy_that_cannot_search_is_not_asked_to(make_service: MakeService) -> None:
    service = make_service(HistoryAware([THINK_ANSWER], [GENERAL]))
    service.settings.policy = EngineSettings(engine="openai", protocol="json")
    async with api_of(service) as api:
        refused = await api.ask("ana", "Which fruit?", method="pr2")
        assert refused.status_code == 422
        assert "pr2 searches, and a policy with the protocol json cannot" in refused.json()["detail"]
        assert (await body_of(api, False, method="rag"))["finish_reason"] == "answered"
