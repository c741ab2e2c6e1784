"""A question becomes a document of the person who asked it: when that is asked for, and not otherwise."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mcp import Client
from typer.testing import CliRunner

from agent.episode import Episode
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Chunk
from agent.trajectory import Information, Message, Trajectory
from index.documents import parse_document
from server.access.access import Access
from server.access.gate import LOCAL, Action, Forbidden, OpenGate, Principal
from server.cli import app
from server.http.app import create_app
from server.http.bodies import AnswerBody
from server.remembering import as_document
from tests.index.fakes import HashEncoder
from tests.server.conftest import MakeService
from tests.server.live import ANA, THINK_ANSWER, Api, Call, api_of, full_disk, serving
from tests.server.mcp.served import served

QUESTION = "Which pears does Ines sell?"
NOON = datetime(2024, 3, 5, 12, tzinfo=UTC)


@pytest.fixture
def encoder() -> HashEncoder:
    """Takes the place of the real one: nothing here depends on what vectors mean."""
    return HashEncoder()


@pytest.fixture
async def asked(make_service: MakeService) -> AsyncGenerator[Api, None]:
    async with api_of(make_service()) as api:
        await api.put("ana", ANA)
        yield api


async def texts(api: Api) -> list[str]:
    export = await api.client.get("/v1/users/ana/export")
    return [json.loads(line)["text"] for line in export.text.splitlines()][len(ANA) :]


async def test_a_question_is_remembered_only_if_that_is_asked_for(asked: Api) -> None:
    body = (await asked.ask("ana", QUESTION)).json()
    assert (body["remembered"], body["not_remembered"], await texts(asked)) == (None, None, [])
    before = datetime.now(UTC)
    body = (await asked.ask("ana", f" {QUESTION}\n", remember=True)).json()
    AnswerBody.model_validate(body)
    found = (await asked.client.get(f"/v1/users/ana/documents/{body['remembered']}")).json()
    assert (found["text"], found["source"]) == (QUESTION, "conversation")
    written = datetime.fromisoformat(found["created_at"])
    assert written.tzinfo is not None
    assert before - timedelta(milliseconds=1) <= written <= datetime.now(UTC)
    assert (await asked.client.get(f"/v1/users/ana/answers/{body['id']}")).json() == body
    search = await asked.client.post(
        "/v1/users/ana/search", json={"queries": [QUESTION], "k": 1, "retriever": "bm25"}
    )
    assert search.json()["results"][0][0]["document_id"] == body["remembered"]
    await asked.client.delete(f"/v1/users/ana/documents/{body['remembered']}")
    assert await texts(asked) == []


async def test_the_setting_is_the_default_and_a_request_can_differ(make_service: MakeService) -> None:
    async with api_of(make_service(remember=True)) as api:
        await api.put("ana", ANA)
        assert (await api.ask("ana", "No?", remember=False)).json()["remembered"] is None
        assert (await api.ask("ana", QUESTION)).json()["remembered"]
        assert await texts(api) == [QUESTION]


async def test_a_request_that_is_repeated_is_stored_once_and_is_not_its_own_evidence(
    make_service: MakeService,
) -> None:
    search = f"<think>What is it?</think><search>{QUESTION}</search>"
    async with api_of(make_service(ScriptedPolicy([search, THINK_ANSWER]))) as api:
        await api.put("ana", ANA)
        limits = {"top_k": 2}
        bodies = [(await api.ask("ana", QUESTION, remember=True, limits=limits)).json() for _ in range(2)]
        other = (await api.ask("ana", "And now?", limits=limits)).json()
        assert bodies[0]["remembered"] == bodies[1]["remembered"]
        assert await texts(api) == [QUESTION]
    first, again = [_read(body) for body in bodies]
    assert (first, len(first)) == (again, 2)
    # The same search of another question finds it.
    assert bodies[0]["remembered"] in _read(other)


def _read(body: dict[str, Any]) -> list[str]:
    steps = Trajectory.from_dict(body["trajectory"]).steps
    found = [step.passages for step in steps if isinstance(step, Information)]
    return [one.passage.document_id for passages in found for one in passages]


async def test_the_events_of_a_stream_end_with_what_was_remembered(asked: Api) -> None:
    response = await asked.ask("ana", QUESTION, remember=True, stream=True)
    done = json.loads(response.text.rpartition("event: done\ndata: ")[2])
    assert done["remembered"] == as_document(QUESTION, (), datetime.now(UTC)).id
    assert await texts(asked) == [QUESTION]


async def test_a_write_that_fails_is_reported_and_the_answer_is_given(make_service: MakeService) -> None:
    question = QUESTION + " please" * 4_000
    service = make_service()
    async with api_of(service) as api:
        await api.put("ana", ANA)
        with full_disk(service):
            body = (await api.ask("ana", question, remember=True)).json()
        assert (body["answer"], body["remembered"]) == ("She likes pears [1].", None)
        assert "full" in body["not_remembered"]
        assert await texts(api) == []


async def test_an_encoder_that_fails_keeps_no_answer_back(
    make_service: MakeService, encoder: HashEncoder
) -> None:
    async with api_of(make_service(ScriptedPolicy([THINK_ANSWER]))) as api:
        await api.put("ana", ANA)
        encoder.error = RuntimeError("out of memory")
        body = (await api.ask("ana", QUESTION, remember=True)).json()
        assert (body["answer"], body["not_remembered"]) == ("She likes pears.", "an error of the server")
        assert await texts(api) == []


async def test_without_an_answer_nothing_is_remembered(make_service: MakeService) -> None:
    async with api_of(make_service(ScriptedPolicy(["no tags at all"]))) as api:
        await api.put("ana", ANA)
        body = (await api.ask("ana", QUESTION, remember=True)).json()
        assert (body["answer"], body["not_remembered"]) == (None, "there is no answer")
        assert await texts(api) == []


class Waiting(ScriptedPolicy):
    """Writes nothing, and says when it is asked to."""

    def __init__(self) -> None:
        super().__init__([])
        self.begun = asyncio.Event()

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        self.begun.set()
        await asyncio.Event().wait()
        yield Chunk("")


async def test_a_request_that_is_cancelled_remembers_nothing(make_service: MakeService) -> None:
    policy = Waiting()
    async with api_of(make_service(policy)) as api:
        await api.put("ana", ANA)
        body = json.dumps({"question": QUESTION, "remember": True})
        call = Call(api, "POST", "/v1/users/ana/answers", body)
        await policy.begun.wait()
        await call.leave()
        assert await texts(api) == []


class ReadOnly(OpenGate):
    def check(self, principal: Principal, action: Action, user: str) -> None:
        if action == "write":
            raise Forbidden("this key may only read and ask")


async def test_remembering_takes_the_right_to_write(make_service: MakeService) -> None:
    service = make_service(remember=True)
    service.profiles.put("ana", [parse_document(item) for item in ANA])
    access = Access(service, ReadOnly(), LOCAL)
    with pytest.raises(Forbidden, match="this key may only read and ask"):
        await access.begin("ana", QUESTION, remember=True)
    events = [event async for event in access.answer("ana", QUESTION)]
    assert (events[-1].remembered, events[-1].not_remembered) == (None, None)  # type: ignore[union-attr]
    async with api_of(service, gate=ReadOnly()) as api:
        response = await api.ask("ana", QUESTION, remember=True)
        assert (response.status_code, await texts(api)) == (403, [])


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "I met Ines."},
    {"role": "assistant", "content": "Nice!"},
    {"role": "user", "content": QUESTION},
]


@pytest.mark.parametrize(
    ("path", "body"), [("chat/completions", {"messages": MESSAGES}), ("responses", {"input": MESSAGES})]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_of_a_conversation_the_last_message_of_the_person_is_remembered(
    asked: Api, path: str, body: dict[str, Any], stream: bool
) -> None:
    request = {"model": "pr2", "user": "ana", "stream": stream, **body}
    response = await asked.client.post(f"/v1/{path}", json={**request, "store": True})
    assert (response.status_code, await texts(asked)) == (200, [])
    response = await asked.client.post(f"/v1/{path}", json={**request, "remember": True})
    assert response.headers.get("PR2-Ignored") is None
    assert await texts(asked) == [QUESTION]
    document = as_document(QUESTION, [Message("user", "I met Ines.")], datetime.now(UTC))
    assert f'"remembered":"{document.id}"' in response.text.replace('": "', '":"')


def test_an_id_tells_conversations_and_days_apart_and_nothing_else() -> None:
    earlier = [Message("user", "I met Ines."), Message("assistant", "Nice!")]
    again = [Message("system", "Be brief."), Message("user", "I met Ines."), Message("assistant", "Oh?")]
    document = as_document(QUESTION, earlier, NOON)
    assert as_document(QUESTION, again, NOON + timedelta(hours=11)).id == document.id
    others = {
        document.id,
        as_document(QUESTION, earlier, NOON + timedelta(days=1)).id,
        as_document(QUESTION, earlier[1:], NOON).id,
        as_document("And figs?", earlier, NOON).id,
    }
    assert len(others) == 4


async def test_an_assistants_question_is_not_the_persons_own(make_service: MakeService) -> None:
    service = make_service(remember=True)
    with served(service) as url:
        async with Client(url) as client:
            answer = await client.call_tool("answer_question", {"user": "ana", "question": QUESTION})
    assert (answer.structured_content or {})["answer"] == "She likes pears [1]."
    assert QUESTION not in [document.text for _, document in service.profiles.store.documents("ana")]


def test_the_command_line_remembers_and_says_so(make_service: MakeService) -> None:
    service = make_service()
    service.profiles.put("ana", [parse_document(item) for item in ANA])
    with serving(create_app(service.settings, service)) as url:
        silent = CliRunner().invoke(app, ["ask", "ana", QUESTION, "--no-remember", "--server", url])
        result = CliRunner().invoke(app, ["ask", "ana", QUESTION, "--remember", "--server", url])
    assert "remembered" not in silent.output
    document = as_document(QUESTION, (), datetime.now(UTC))
    assert result.stdout.splitlines()[-1].endswith(f" · remembered as {document.id}")
    assert QUESTION in [document.text for _, document in service.profiles.store.documents("ana")]
