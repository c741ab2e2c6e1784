"""The retriever `auto`: a selector chooses before the answer, or among the answers of the whole pool."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from agent.engines.errors import EngineError
from agent.episode import Episode
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Chunk
from agent.selecting import render
from agent.trajectory import Information, Search, Trajectory
from index.documents import parse_document
from index.encoding.embedding import reembed
from index.profiles import Profiles
from index.storage.store import Store
from server.http.bodies import AnswerBody
from server.service import Service
from server.settings import Settings
from tests.index.fakes import HashEncoder
from tests.selector import MEMBERS, ScriptedSelector, passages_in
from tests.server.conftest import MakeService
from tests.server.http.test_scheduling import Visit, counts, is_busy, until
from tests.server.http.test_streams import events_of
from tests.server.live import ANA, BEN, THINK_ANSWER, api_of
from tests.waiting import soon

pytestmark = pytest.mark.usefixtures("history")
QUESTION = "Do I love pears?"
SEARCHES = ["<think>Hm.</think><search>appointment</search>", "<think>Hm.</think><search>river</search>"]


class Reader(ScriptedPolicy):
    """Searches once if it may, and says how much it read. Some retrievers make it hang or fail."""

    def __init__(self, faults: dict[int, Exception | str] | None = None) -> None:
        super().__init__([])
        self.faults = faults or {}
        self.hanging = 0

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        if not episode.must_answer and not episode.steps:
            yield Chunk(f"<think>Hm.</think><search>{episode.question}</search>", tokens=5, finish="stop")
            return
        read = len(episode.reads)
        match self.faults.get(read):
            case Exception() as error:
                raise error
            case "hangs":
                self.hanging += 1
                try:
                    await soon(lambda: False, 60)
                finally:
                    self.hanging -= 1
            case str(text):
                yield Chunk(text, tokens=7)
            case None:
                text = f"<think>Hm.</think><answer>I read {read}.</answer>"
                yield Chunk(text, tokens=10 + read, finish="stop", prompt_tokens=100)


def prefers(read: int) -> Any:
    return lambda prompt, output: -abs(passages_in(prompt) - read)


async def test_a_choice_before_the_answer_serves_all_searches(make_service: MakeService) -> None:
    selector = ScriptedSelector("pre", prefers(3))
    service = make_service(ScriptedPolicy([*SEARCHES, THINK_ANSWER]), selector=selector)
    async with api_of(service) as api:
        body = (await api.ask("ana", QUESTION, retriever="auto")).json()
    trajectory = Trajectory.from_dict(body["trajectory"])
    assert trajectory.selection is not None
    assert (trajectory.selection.mode, trajectory.selection.retriever) == ("pre", "recency")
    assert trajectory.selection.scores == {"none": -3.0, "bm25": -2.0, "recency": 0.0}
    assert trajectory.selection.others is None
    # Only recency finds passages that have no word of the query.
    first, second = [step for step in trajectory.steps if isinstance(step, Information)]
    assert [read.passage.document_id for read in first.passages] == ["a1", "a2", "a3"]
    assert second.passages == ()
    assert [step.query for step in trajectory.steps if isinstance(step, Search)] == ["appointment", "river"]
    assert (body["finish_reason"], body["retriever"]) == ("answered", "auto")
    assert all("pr2-selector" in name for name in selector.threads)


async def test_the_selector_reads_the_prompts_that_each_retriever_leads_to(make_service: MakeService) -> None:
    selector = ScriptedSelector("pre", prefers(1))
    service = make_service(selector=selector)
    async with api_of(service) as api:
        await api.ask("ana", QUESTION, retriever="auto", limits={"top_k": 2})
    expected = [render(QUESTION, service.profiles.search("ana", [QUESTION], 2, name)[0]) for name in MEMBERS]
    assert [prompt for prompt, _ in selector.shown] == expected
    assert [passages_in(prompt) for prompt in expected] == [0, 1, 2]


@pytest.mark.parametrize("mode", ["pre", "post"])
async def test_a_choice_is_stored_and_described(make_service: MakeService, mode: Any) -> None:
    service = make_service(Reader(), selector=ScriptedSelector(mode, prefers(1)))
    async with api_of(service) as api:
        body = (await api.ask("ana", QUESTION, retriever="auto")).json()
        assert (await api.client.get(f"/v1/users/ana/answers/{body['id']}")).json() == body
        schemas = (await api.client.get("/openapi.json")).json()["components"]["schemas"]
    AnswerBody.model_validate(body)
    assert body["trajectory"]["selection"]["retriever"] == "bm25"
    assert {"mode", "retriever", "scores", "ms", "others"} == set(schemas["Selection"]["properties"])
    assert "selection" in schemas["TrajectoryBody"]["properties"]


async def test_without_auto_nothing_is_added(make_service: MakeService) -> None:
    selector = ScriptedSelector("post", prefers(1))
    async with api_of(make_service(selector=selector)) as api:
        body = (await api.ask("ana", QUESTION, retriever="bm25")).json()
    assert "selection" not in body["trajectory"]
    assert "others" not in body["usage"]
    assert selector.shown == []


@pytest.mark.parametrize("method", ["pr2", "rag"])
async def test_the_best_answer_of_the_pool_is_given_and_the_others_are_counted(
    make_service: MakeService, method: str
) -> None:
    selector = ScriptedSelector("post", lambda prompt, output: output.count("I read 1."))
    async with api_of(make_service(Reader(), selector=selector)) as api:
        body = (await api.ask("ana", QUESTION, method=method, retriever="auto")).json()
        assert counts(api) == (0, 0)
    assert body["answer"] == "I read 1."
    assert sorted(output for _, output in selector.shown) == ["I read 0.", "I read 1.", "I read 3."]
    assert [passages_in(prompt) for prompt, _ in selector.shown] == [0, 1, 3]
    others = body["usage"]["others"]
    searched = 5 * (method == "pr2")
    assert others["trajectories"] == 2
    assert (others["prompt_tokens"], others["policy_tokens"]) == (200, 10 + 13 + 2 * searched)
    assert body["usage"]["policy_tokens"] == 11 + searched
    assert body["usage"]["total_ms"] >= body["trajectory"]["selection"]["ms"]
    assert body["trajectory"]["limits"]["deadline_ms"] == 60_000


async def test_only_the_chosen_answers_steps_are_streamed(make_service: MakeService) -> None:
    service = make_service(Reader(), selector=ScriptedSelector("post", prefers(3)))
    async with api_of(service) as api:
        events = events_of((await api.ask("ana", QUESTION, retriever="auto", stream=True)).text)
    done = events[-1][1]
    assert done["answer"] == "I read 3."
    shown = [data for name, data in events if name not in {"answer.delta", "done"}]
    assert shown == done["trajectory"]["steps"]
    assert [name for name, _ in events[:4]] == ["thought", "search", "information", "thought"]


async def test_a_stream_stays_open_while_answers_are_compared(make_service: MakeService) -> None:
    selector = ScriptedSelector("post", prefers(3))
    selector.released.clear()
    async with api_of(make_service(Reader(), selector=selector), keep_alive_s=0.01) as api:
        visit = Visit(api, QUESTION, retriever="auto", stream=True)
        assert await soon(lambda: selector.began.is_set() and visit.answer.count(b": keep-alive") > 2)
        assert b"event:" not in visit.answer
        selector.released.set()
        assert (await visit.end())["answer"] == "I read 3."


async def test_members_that_do_not_finish_in_time_do_not_compete(make_service: MakeService) -> None:
    policy = Reader({3: "hangs"})
    service = make_service(policy, selector=ScriptedSelector("post", prefers(3)))
    async with api_of(service) as api:
        body = (await api.ask("ana", QUESTION, retriever="auto", limits={"deadline_ms": 3_000})).json()
    selection = body["trajectory"]["selection"]
    assert (body["answer"], body["finish_reason"]) == ("I read 1.", "answered")
    assert selection["scores"] == {"none": -3.0, "bm25": -2.0, "recency": None}
    assert policy.hanging == 0


async def test_a_member_that_fails_does_not_compete(make_service: MakeService) -> None:
    policy = Reader({1: EngineError("broken_stream", "gone"), 0: "nothing that ends the turn"})
    service = make_service(policy, selector=ScriptedSelector("post", prefers(1)))
    async with api_of(service) as api:
        body = (await api.ask("ana", QUESTION, retriever="auto")).json()
    assert body["answer"] == "I read 3."
    assert body["trajectory"]["selection"]["scores"] == {"none": None, "bm25": None, "recency": -2.0}


async def test_if_no_member_answers_the_end_is_the_usual_one(make_service: MakeService) -> None:
    gone = EngineError("timeout", "gone")
    selector = ScriptedSelector("post", prefers(1))
    async with api_of(make_service(Reader(dict.fromkeys((0, 1, 3), gone)), selector=selector)) as api:
        response = await api.ask("ana", QUESTION, retriever="auto")
    assert (response.status_code, response.json()["type"]) == (504, "urn:pr2:problem:policy-timeout")
    assert selector.shown == []


async def test_a_part_of_an_answer_is_better_than_none(make_service: MakeService) -> None:
    part = "<think>Hm.</think><answer>Pears, I"
    policy = Reader({0: "no action", 1: part, 3: part})
    service = make_service(policy, selector=ScriptedSelector("post", prefers(3)))
    async with api_of(service) as api:
        body = (
            await api.ask("ana", QUESTION, retriever="auto", method="rag", limits={"max_tokens": 7})
        ).json()
    selection = body["trajectory"]["selection"]
    assert (body["answer"], body["finish_reason"]) == ("Pears, I", "max_tokens")
    assert (selection["retriever"], selection["scores"]) == ("bm25", dict.fromkeys(MEMBERS))


@pytest.mark.parametrize(
    ("mode", "detail"),
    [("pre", "before a retriever was chosen"), ("post", "before the answers were compared")],
)
async def test_the_deadline_holds_for_the_selector(make_service: MakeService, mode: Any, detail: str) -> None:
    selector = ScriptedSelector(mode, prefers(1))
    selector.released.clear()
    async with api_of(make_service(Reader(), selector=selector)) as api:
        body = (await api.ask("ana", QUESTION, retriever="auto", limits={"deadline_ms": 500})).json()
        selector.released.set()
    assert (body["answer"], body["finish_reason"]) == (None, "deadline")
    assert body["trajectory"]["detail"] == f"the deadline passed {detail}"
    assert "selection" not in body["trajectory"]
    assert body["usage"]["policy_tokens"] == (0 if mode == "pre" else 10 + 11 + 13 + 15)


@pytest.mark.parametrize("stream", [False, True], ids=["at once", "stream"])
async def test_a_client_that_leaves_cancels_all_trajectories(make_service: MakeService, stream: bool) -> None:
    policy = Reader({0: "hangs", 1: "hangs", 3: "hangs"})
    service = make_service(policy, selector=ScriptedSelector("post", prefers(1)))
    async with api_of(service) as api:
        visit = Visit(api, QUESTION, retriever="auto", stream=stream)
        assert await soon(lambda: policy.hanging == 3)
        assert counts(api) == (3, 0)
        await visit.leave()
        assert policy.hanging == 0
        assert counts(api) == (0, 0)


async def test_each_trajectory_takes_a_turn_in_the_queue(make_service: MakeService) -> None:
    policy = Reader({0: "hangs"})
    service = make_service(
        policy, selector=ScriptedSelector("post", prefers(1)), limits={"concurrency": 1, "queue": 3}
    )
    async with api_of(service) as api:
        first = Visit(api, QUESTION, retriever="auto")
        await until(api, running=1, waiting=2)
        assert is_busy(await api.ask("ben", QUESTION, retriever="auto"))
        await until(api, running=1, waiting=2)
        second = Visit(api, "What do I like?", user="ben", retriever="recency")
        await until(api, running=1, waiting=3)
        await first.leave()
        assert (await second.end())["answer"] == "I read 1."


async def test_a_pool_larger_than_the_queue_is_refused(make_service: MakeService) -> None:
    limits = {"concurrency": 1, "queue": 1}
    service = make_service(Reader(), selector=ScriptedSelector("post", prefers(1)), limits=limits)
    async with api_of(service) as api:
        response = await api.ask("ana", QUESTION, retriever="auto")
    assert response.status_code == 422
    assert response.json()["detail"] == "this needs 3 answers at a time, and the server admits 2"


async def test_auto_without_a_selector_names_the_command(make_service: MakeService) -> None:
    async with api_of(make_service()) as api:
        response = await api.ask("ana", QUESTION, retriever="auto")
    assert (response.status_code, response.json()["type"]) == (422, "urn:pr2:problem:unknown-retriever")
    assert "pr2 train selector" in response.json()["detail"]


@pytest.mark.parametrize("mode", ["pre", "post"])
async def test_a_space_of_the_pool_that_is_not_made_is_refused(tmp_path: Path, mode: Any) -> None:
    main, other = HashEncoder("main"), HashEncoder("other", 8)
    settings = Settings(data=tmp_path / "spaces")
    settings.data.mkdir()
    made = Profiles(Store(settings.url, main.manifest), main)
    made.put("ana", [parse_document(item) for item in ANA])
    profiles = Profiles(
        Store(settings.url, main.manifest, {"kd": other.manifest}), main, spaces={"kd": other}
    )
    selector = ScriptedSelector(mode, lambda prompt, output: passages_in(prompt), members=("none", "kd"))
    async with api_of(Service(profiles, Reader(), settings, selector=selector)) as api:
        refused = await api.ask("ana", QUESTION, retriever="auto")
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:pr2:problem:space-unavailable")
        assert counts(api) == (0, 0)
        reembed(made.store, other, space="kd")
        body = (await api.ask("ana", QUESTION, retriever="auto")).json()
        assert body["trajectory"]["selection"]["retriever"] == "kd"
        await api.service.aclose()
    made.store.close()


async def test_a_search_is_not_chosen_for(make_service: MakeService) -> None:
    selector = ScriptedSelector("pre", prefers(1))
    async with api_of(make_service(selector=selector, retriever="auto")) as api:
        path = "/v1/users/ana/search"
        refused = await api.client.post(path, json={"queries": [QUESTION], "retriever": "auto"})
        usual = (await api.client.post(path, json={"queries": [QUESTION]})).json()
        hybrid = (await api.client.post(path, json={"queries": [QUESTION], "retriever": "hybrid"})).json()
        body = (await api.ask("ana", QUESTION)).json()
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:pr2:problem:unknown-retriever")
    assert usual == hybrid
    assert body["trajectory"]["selection"]["retriever"] == "bm25"


@pytest.mark.parametrize("mode", ["pre", "post"])
async def test_a_method_that_reads_nothing_needs_no_choice(make_service: MakeService, mode: Any) -> None:
    selector = ScriptedSelector(mode, prefers(1))
    async with api_of(make_service(Reader(), selector=selector)) as api:
        body = (await api.ask("ana", QUESTION, method="none", retriever="auto")).json()
    assert body["answer"] == "I read 0."
    assert "selection" not in body["trajectory"]
    assert selector.shown == []


async def test_compare_adds_one_answer_without_a_choice(make_service: MakeService) -> None:
    service = make_service(Reader(), selector=ScriptedSelector("post", prefers(3)))
    async with api_of(service) as api:
        body = (await api.ask("ana", QUESTION, retriever="auto", compare=True)).json()
    assert (body["answer"], body["without_profile"]["answer"]) == ("I read 3.", "I read 0.")
    assert body["usage"]["others"]["trajectories"] == 2
    assert "selection" not in body["without_profile"]["trajectory"]


@pytest.mark.parametrize("mode", ["pre", "post"])
async def test_a_choice_is_made_from_the_persons_own_documents(make_service: MakeService, mode: Any) -> None:
    selector = ScriptedSelector(mode, prefers(1))
    async with api_of(make_service(Reader(), selector=selector)) as api:
        await api.ask("ben", "What do I love?", retriever="auto")
    shown = "".join(prompt for prompt, _ in selector.shown)
    assert BEN[0]["text"] in shown
    assert not any(document["text"] in shown for document in ANA)


async def test_openais_usage_counts_every_answer(make_service: MakeService) -> None:
    service = make_service(Reader(), selector=ScriptedSelector("post", prefers(3)))
    async with api_of(service) as api:
        question = [{"role": "user", "content": QUESTION}]
        body = {"model": "pr2", "user": "ana", "messages": question, "retriever": "auto"}
        reply = (await api.client.post("/v1/chat/completions", json=body)).json()
    assert reply["usage"]["completion_tokens"] == 10 + 11 + 13 + 15
    assert reply["usage"]["prompt_tokens"] == 300
    assert reply["pr2"]["selection"]["retriever"] == "recency"
