"""Whole answers over HTTP: their contents, their failures, and their independence."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import TypeAdapter

from agent.engines.errors import EngineError
from agent.engines.openai import OpenAIServer
from agent.episode import Episode
from agent.policies.scripted import ScriptedPolicy
from agent.policies.tags import TagsPolicy
from agent.policy import Chunk
from agent.trajectory import PolicyFault, Trajectory
from server.http.bodies import AnswerBody, AnswerPage
from tests.engine import Engine, turns, writes
from tests.server.conftest import MakeService
from tests.server.live import ANA, BEN, THINK_ANSWER, THINK_SEARCH, Api, api_of, full_disk


async def test_an_answer_cites_the_line_it_rests_on(api: Api) -> None:
    await api.put("ana", ANA)
    response = await api.ask("ana", "Which fruit do I like?")
    assert response.status_code == 200
    body = response.json()
    assert body["answer"].startswith("She likes pears")
    assert body["finish_reason"] == "answered"
    assert (body["user"], body["method"], body["policy"]) == ("ana", "pr2", "scripted")
    [citation] = body["citations"]
    document = next(document for document in ANA if document["id"] == citation["document_id"])
    assert document["text"][citation["start"] : citation["end"]] == citation["quote"]
    assert body["usage"]["searches"] == 1
    AnswerBody.model_validate(body)
    assert Trajectory.from_dict(body["trajectory"]).question == "Which fruit do I like?"


async def test_an_answer_is_stored_as_it_was_sent(api: Api) -> None:
    await api.put("ana", ANA)
    body = (await api.ask("ana")).json()
    assert (await api.client.get(f"/v1/users/ana/answers/{body['id']}")).json() == body
    response = await api.client.get("/v1/users/ana/answers/other")
    assert (response.status_code, response.json()["type"]) == (404, "urn:pr2:problem:unknown-document")


async def test_past_questions_are_listed_in_pages_newest_first(api: Api) -> None:
    await api.put("ana", ANA)
    await api.put("ben", BEN)
    asked = [(await api.ask("ana", f"Question {number}?")).json() for number in range(5)]
    await api.ask("ben")
    seen: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await api.client.get("/v1/users/ana/answers", params=query)).json()
        AnswerPage.model_validate(page)
        seen += page["answers"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert [one["id"] for one in seen] == [one["id"] for one in reversed(asked)]
    assert seen[0] == {
        **{name: asked[-1][name] for name in ("id", "created_at", "question", "method", "answer")},
        "finish_reason": "answered",
        "redacted": False,
    }


async def test_a_past_question_is_deleted_and_its_documents_stay(api: Api) -> None:
    await api.put("ana", ANA)
    path = f"/v1/users/ana/answers/{(await api.ask('ana')).json()['id']}"
    assert (await api.client.delete(path.replace("ana", "ben"))).status_code == 404
    assert (await api.client.delete(path)).status_code == 204
    for again in (await api.client.get(path), await api.client.delete(path)):
        assert (again.status_code, again.json()["type"]) == (404, "urn:pr2:problem:unknown-document")
    assert (await api.client.get("/v1/users/ana/answers")).json() == {"answers": [], "next_cursor": None}
    assert len((await api.client.get("/v1/users/ana/documents")).json()["documents"]) == len(ANA)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"cursor": "x"},
        {"cursor": "1.5"},
        {"cursor": "1.5-"},
        {"cursor": "1.5-\0"},
        {"cursor": "1e9-x"},
        {"cursor": "nan-x"},
    ],
)
async def test_a_page_of_past_questions_that_cannot_be_is_refused(api: Api, query: dict[str, Any]) -> None:
    await api.put("ana", ANA)
    response = await api.client.get("/v1/users/ana/answers", params=query)
    assert response.status_code == 422
    nobody = await api.client.get("/v1/users/nobody/answers")
    assert (nobody.status_code, nobody.json()["type"]) == (404, "urn:pr2:problem:unknown-user")


async def test_answers_are_as_separate_as_the_users(api: Api) -> None:
    await api.put("ana", ANA)
    await api.put("ben", BEN)
    of_ana, of_ben = [(await api.ask(user)).json() for user in ("ana", "ben")]
    assert "octopus" not in str(of_ana)
    assert "pears from our garden" not in str(of_ben)
    assert {citation["document_id"] for citation in of_ben["citations"]} == {"b1"}
    assert (await api.client.get(f"/v1/users/ben/answers/{of_ana['id']}")).status_code == 404


async def test_a_question_for_nobody_is_a_404(api: Api) -> None:
    response = await api.ask("nobody")
    assert (response.status_code, response.json()["type"]) == (404, "urn:pr2:problem:unknown-user")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("question", ["", " \n", "x" * 32_001])
async def test_a_question_that_is_empty_or_too_long_is_refused(api: Api, question: str, stream: bool) -> None:
    await api.put("ana", ANA)
    response = await api.ask("ana", question, stream=stream)
    assert (response.status_code, response.json()["type"]) == (422, "urn:pr2:problem:invalid-question")
    assert response.headers["content-type"] == "application/problem+json"
    assert ("32000 (limits.question_characters)" if question.strip() else "empty") in response.json()[
        "detail"
    ]


@pytest.mark.parametrize(
    ("field", "kind"), [("method", "unknown-method"), ("retriever", "unknown-retriever")]
)
async def test_an_unknown_method_or_retriever_is_refused(api: Api, field: str, kind: str) -> None:
    await api.put("ana", ANA)
    response = await api.ask("ana", **{field: "magic"})
    assert (response.status_code, response.json()["type"]) == (422, f"urn:pr2:problem:{kind}")


@pytest.mark.parametrize(
    "more",
    [{"limits": {"max_searches": 17}}, {"limits": {"top_k": 0}}, {"limits": {"depth": 1}}, {"colour": 1}],
)
async def test_a_field_that_is_unknown_or_out_of_bounds_is_refused(api: Api, more: dict[str, Any]) -> None:
    await api.put("ana", ANA)
    response = await api.ask("ana", **more)
    assert (response.status_code, response.json()["type"]) == (422, "urn:pr2:problem:invalid-request")


@pytest.mark.parametrize("character", [b"\\ud800", b"\\u0000"])
@pytest.mark.parametrize("stream", [b"false", b"true"])
async def test_a_question_that_is_not_text_is_refused(api: Api, stream: bytes, character: bytes) -> None:
    await api.put("ana", ANA)
    response = await api.client.post(
        "/v1/users/ana/answers",
        content=b'{"question": "%s?", "stream": %s}' % (character, stream),
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "body.question"


async def test_limits_of_a_request_replace_single_defaults(make_service: MakeService) -> None:
    async with api_of(make_service(limits={"top_k": 2, "max_tokens": 999})) as api:
        await api.put("ana", ANA)
        limits = (await api.ask("ana", limits={"max_searches": 1})).json()["trajectory"]["limits"]
    assert (limits["max_searches"], limits["top_k"], limits["max_tokens"]) == (1, 2, 999)


@pytest.mark.parametrize(
    ("turns", "limits", "reason"),
    [
        ([THINK_SEARCH], {"max_searches": 1}, "max_searches"),
        ([["<think>", "so ", "much ", "to ", "say"]], {"max_tokens": 3}, "max_tokens"),
        (["<think>I do not know what to do.</think>"], {}, "invalid"),
    ],
)
async def test_an_answer_that_did_not_come_says_why_in_its_body(
    make_service: MakeService, turns: list[Any], limits: dict[str, int], reason: str
) -> None:
    async with api_of(make_service(ScriptedPolicy(turns))) as api:
        await api.put("ana", ANA)
        response = await api.ask("ana", limits=limits)
    assert (response.status_code, response.json()["finish_reason"]) == (200, reason)
    assert response.json()["answer"] is None
    AnswerBody.model_validate(response.json())


async def test_the_deadline_ends_an_answer(make_service: MakeService) -> None:
    policy = ScriptedPolicy([THINK_SEARCH, THINK_ANSWER], delay_s=30)
    async with api_of(make_service(policy)) as api:
        await api.put("ana", ANA)
        response = await api.ask("ana", limits={"deadline_ms": 50})
    assert (response.status_code, response.json()["finish_reason"]) == (200, "deadline")


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("timeout", 504, "policy-timeout"),
        ("unavailable", 502, "policy-failed"),
        ("broken_stream", 502, "policy-failed"),
        ("bad_reply", 502, "policy-failed"),
        ("refused", 502, "policy-failed"),
    ],
)
async def test_a_policy_that_fails_is_a_problem_and_leaves_a_record(
    make_service: MakeService, fault: PolicyFault, status: int, kind: str
) -> None:
    broken = EngineError(fault, f"the engine: {fault}")
    policy = ScriptedPolicy([THINK_SEARCH, ["<think>Well", broken]])
    async with api_of(make_service(policy)) as api:
        await api.put("ana", ANA)
        response = await api.ask("ana")
        problem = response.json()
        record = (await api.client.get(f"/v1/users/ana/answers/{problem['answer_id']}")).json()
    assert response.status_code == problem["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:pr2:problem:{kind}"
    assert (problem["finish_reason"], problem["fault"]) == ("policy_error", fault)
    assert problem["detail"] == f"the engine: {fault}"
    assert (record["finish_reason"], record["usage"]["searches"]) == ("policy_error", 1)
    TypeAdapter(AnswerBody).validate_python(record)


async def test_a_failure_that_cannot_be_stored_names_no_answer(make_service: MakeService) -> None:
    broken = EngineError("broken_stream", "the engine has gone")
    service = make_service(ScriptedPolicy([["<think>" + "long " * 5_000, broken]]))
    async with api_of(service) as api:
        await api.put("ana", ANA)
        with full_disk(service):
            response = await api.ask("ana")
    assert (response.status_code, response.json()["detail"]) == (502, "the engine has gone")
    assert "answer_id" not in response.json()


async def test_answers_do_not_wait_for_each_other(make_service: MakeService) -> None:
    """Each turn ends only when all 32 questions have come to it."""
    everybody = asyncio.Barrier(32)

    class Together(ScriptedPolicy):
        async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
            await everybody.wait()
            async with aclosing(super().generate(episode, max_tokens)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async with api_of(make_service(Together([THINK_SEARCH, THINK_ANSWER]))) as api:
        await api.put("ana", ANA)
        responses = await asyncio.gather(*(api.ask("ana", f"Question {n}?") for n in range(32)))
    assert all(response.json()["finish_reason"] == "answered" for response in responses)


async def test_a_model_that_only_its_server_names_is_named_in_the_record(make_service: MakeService) -> None:
    with Engine(turns(writes(THINK_SEARCH), writes(THINK_ANSWER)), models=["tiny"]) as engine:
        async with api_of(make_service(TagsPolicy(OpenAIServer(engine.base_url)))) as api:
            await api.put("ana", ANA)
            assert (await api.ask("ana")).json()["policy"] == "openai:tiny"
            await api.service.policy.aclose()


async def test_what_a_person_says_of_an_answer_is_part_of_it_and_the_newest_counts(api: Api) -> None:
    await api.put("ana", ANA)
    asked = (await api.ask("ana")).json()
    assert asked["feedback"] is None
    path = f"/v1/users/ana/answers/{asked['id']}"
    first = {"rating": "down", "comment": "Which garden?"}
    assert (await api.client.post(f"{path}/feedback", json=first)).status_code == 200
    second = {"rating": "up", "comment": "Pears, yes <b>.", "helped": [1]}
    said = (await api.client.post(f"{path}/feedback", json=second)).json()
    assert {name: said[name] for name in second} == second
    assert said["given_at"]
    stored = (await api.client.get(path)).json()
    AnswerBody.model_validate(stored)
    assert stored == asked | {"feedback": said}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "rating"),
        ({"rating": "good"}, "rating"),
        ({"rating": "up", "comment": "x" * 4_001}, "comment"),
        ({"rating": "up", "helped": [0]}, "helped"),
        ({"rating": "up", "helped": [2]}, "the answer has no citation 2"),
        ({"rating": "up", "more": 1}, "more"),
    ],
)
async def test_feedback_that_does_not_fit_is_refused_and_changes_nothing(
    api: Api, body: dict[str, Any], field: str
) -> None:
    await api.put("ana", ANA)
    await api.put("ben", BEN)
    asked = (await api.ask("ana")).json()
    path = f"/v1/users/ana/answers/{asked['id']}"
    refused = await api.client.post(f"{path}/feedback", json=body)
    assert refused.status_code == 422
    assert field in refused.json()["detail"]
    for user, answer_id in (("ben", asked["id"]), ("ana", "other"), ("nobody", asked["id"])):
        missing = await api.client.post(
            f"/v1/users/{user}/answers/{answer_id}/feedback", json={"rating": "up"}
        )
        assert missing.status_code == 404
    assert (await api.client.get(path)).json()["feedback"] is None


async def test_a_deleted_document_is_cut_out_of_what_was_said_of_its_answer(api: Api) -> None:
    await api.put("ana", ANA)
    path = f"/v1/users/ana/answers/{(await api.ask('ana')).json()['id']}"
    said = {"rating": "up", "comment": "Right. I love ripe pears from our garden. Thanks."}
    await api.client.post(f"{path}/feedback", json=said)
    await api.client.delete("/v1/users/ana/documents/a1")
    assert (await api.client.get(path)).json()["feedback"]["comment"] == "Right. [deleted] Thanks."
