"""The client without an event loop, against a real server."""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from agent.episode import Episode
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Chunk
from agent.trajectory import Answer, AnswerDelta, Thought
from index.documents import Document, parse_document
from index.encoding.encoders import SentenceTransformerEncoder
from index.errors import InvalidDocument, InvalidName
from index.profiles import Profiles
from index.storage.store import Store
from server.answers import AnswerRecord
from server.client import ApiError, Client
from server.http.app import create_app
from server.service import Service
from server.settings import Settings
from tests.server.live import ANA, THINK_ANSWER, THINK_SEARCH, serving

LONG = "Tell me more?"


class Talkative(ScriptedPolicy):
    """Writes a very long answer to the question LONG."""

    def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        if episode.question != LONG:
            return super().generate(episode, max_tokens)
        return self.long.generate(episode, max_tokens)

    long = ScriptedPolicy([["<think>Well.</think>", *["more "] * 10_000]], delay_s=0.01)


@pytest.fixture(scope="module")
def live(
    tmp_path_factory: pytest.TempPathFactory, minilm: SentenceTransformerEncoder
) -> Iterator[tuple[Service, str]]:
    """One server for this module. Ana is stored; tests add other users of their own."""
    settings = Settings(data=tmp_path_factory.mktemp("live"))
    profiles = Profiles(Store(settings.url, minilm.manifest), minilm)
    profiles.put("ana", [parse_document(item) for item in ANA])
    service = Service(profiles, Talkative([THINK_SEARCH, THINK_ANSWER]), settings)
    with serving(create_app(settings, service)) as url:
        yield service, url
    asyncio.run(service.aclose())


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def stopped(service: Service) -> bool:
    """Whether the long answer was cancelled and has left the queue."""
    return Talkative.long.cancelled == [LONG] and service.queue.running == 0


@pytest.fixture(autouse=True)
def nothing_cancelled() -> None:
    Talkative.long.cancelled.clear()


def test_everything_works_without_an_event_loop(live: tuple[Service, str]) -> None:
    documents = [Document(id=str(n), text=f"Note {n} about pears.") for n in range(3)]
    counts: list[int] = []
    with Client(live[1]) as pr2:
        report = pr2.put("cleo", iter(documents), progress=counts.append)
        assert (report.put, sum(counts)) == (3, 3)
        assert list(pr2.documents("cleo")) == documents
        assert pr2.document("cleo", "1") == documents[1]
        [found] = pr2.search("cleo", ["pears"], 2, "bm25")
        assert len(found) == 2
        record = pr2.ask("cleo", "What do I like?", method="rag", limits={"top_k": 1})
        assert record.trajectory.finish_reason == "max_searches"
        assert (record.method, record.trajectory.limits.top_k) == ("rag", 1)
        *events, streamed = pr2.answer("cleo", "What do I like?", compare=True)
        assert isinstance(streamed, AnswerRecord)
        assert [event for event in events if not isinstance(event, AnswerDelta)] == list(
            streamed.trajectory.steps
        )
        assert isinstance(events[-1], Answer)
        assert streamed.without_profile
        for given in (record, streamed):
            assert pr2.stored_answer("cleo", given.id) == given
        past = list(pr2.answers("cleo"))
        assert [(one.id, one.question) for one in past] == [
            (given.id, "What do I like?") for given in (streamed, record)
        ]
        said = pr2.rate("cleo", record.id, "up", "yes")
        assert (said.rating, said.comment, said.helped) == ("up", "yes", ())
        whole = list(pr2.stored_answers("cleo"))
        assert whole == [streamed, replace(record, feedback=said)]
        pr2.delete_answer("cleo", record.id)
        assert list(pr2.answers("cleo")) == past[:1]
        pr2.delete_document("cleo", "1")
        receipt = pr2.erase("cleo")
        assert (receipt.documents, receipt.answers) == (2, 1)
        assert isinstance(receipt.remains, tuple)
        with pytest.raises(ApiError, match="cleo") as caught:
            pr2.document("cleo", "2")
        assert (caught.value.status, caught.value.type) == (404, "urn:pr2:problem:unknown-user")


def test_closing_the_iterator_cancels_the_answer(live: tuple[Service, str]) -> None:
    service, url = live
    with Client(url) as pr2:
        events = pr2.answer("ana", LONG)
        assert isinstance(next(events), Thought)
        assert service.queue.running == 1
        events.close()  # type: ignore[attr-defined]
        assert soon(lambda: stopped(service))
        with pytest.raises(StopIteration):
            next(events)
        assert pr2.document("ana", "a1").id == "a1"


def test_leaving_the_loop_cancels_the_answer(live: tuple[Service, str]) -> None:
    with Client(live[1]) as pr2:
        for event in pr2.answer("ana", LONG, compare=True):
            assert isinstance(event, Thought)
            break
        assert soon(lambda: Talkative.long.cancelled == [LONG, LONG])
        assert soon(lambda: live[0].queue.running == 0)


def test_an_iterator_that_was_never_asked_sends_nothing(live: tuple[Service, str]) -> None:
    with Client(live[1]) as pr2:
        pr2.answer("ana", LONG)
        pr2.documents("nobody")
        gc.collect()
    assert not Talkative.long.cancelled


def test_closing_the_client_cancels_what_is_being_read(live: tuple[Service, str]) -> None:
    service, url = live
    pr2 = Client(url)
    events = pr2.answer("ana", LONG)
    next(events)
    pr2.close()
    assert soon(lambda: stopped(service))
    with pytest.raises(ApiError, match="closed before this was read to its end"):
        next(events)


def test_closing_the_client_ends_what_another_thread_is_reading(live: tuple[Service, str]) -> None:
    service, url = live
    pr2 = Client(url)
    with ThreadPoolExecutor(2) as threads:
        both: list[Callable[[], Any]] = [
            lambda: list(pr2.answer("ana", LONG)),
            lambda: pr2.ask("ana", LONG),
        ]
        reading = [threads.submit(ask) for ask in both]
        assert soon(lambda: service.queue.running == 2)
        pr2.close()
        for result in reading:
            assert isinstance(result.exception(timeout=60), ApiError)
    assert soon(lambda: Talkative.long.cancelled == [LONG, LONG] and service.queue.running == 0)


def test_an_iterator_of_a_client_that_is_just_closing_does_not_look_complete(
    live: tuple[Service, str],
) -> None:
    pr2 = Client(live[1])
    events = pr2.answer("ana", LONG)
    next(events)
    pr2._portal.call(pr2._aclose)
    with pytest.raises(ApiError, match="closed before this was read to its end"):
        next(events)
    pr2.close()


def test_several_threads_share_one_client(live: tuple[Service, str]) -> None:
    together = threading.Barrier(8, timeout=60)

    def ask(number: int) -> tuple[str, str, str]:
        together.wait()
        question = f"Question {number}?"
        record = pr2.ask("ana", question)
        *_, last = pr2.answer("ana", question)
        assert isinstance(last, AnswerRecord)
        return record.trajectory.question, last.trajectory.question, pr2.document("ana", "a1").id

    with Client(live[1]) as pr2, ThreadPoolExecutor(8) as threads:
        given = list(threads.map(ask, range(8)))
    assert given == [(f"Question {n}?", f"Question {n}?", "a1") for n in range(8)]


def test_errors_come_through(live: tuple[Service, str]) -> None:
    with Client(live[1]) as pr2:
        calls: dict[int, list[Callable[[], Any]]] = {
            404: [
                lambda: pr2.ask("nobody", "Why?"),
                lambda: next(pr2.answer("nobody", "Why?")),
                lambda: list(pr2.documents("nobody")),
                lambda: pr2.stored_answer("ana", "other"),
                lambda: pr2.delete_answer("ana", "other"),
                lambda: list(pr2.answers("nobody")),
                lambda: pr2.erase("nobody"),
            ],
            422: [
                lambda: pr2.ask("ana", "Why?", method="magic"),
                lambda: next(pr2.answer("ana", "Why?", method="magic")),
                lambda: pr2.search("ana", ["x"], 0),
            ],
        }
        for status, some in calls.items():
            for call in some:
                with pytest.raises(ApiError) as caught:
                    call()
                assert caught.value.status == status
        for name in ("..", "a\nb", ""):
            with pytest.raises(InvalidName):
                pr2.ask(name, "Why?")
        with pytest.raises(InvalidDocument, match="no text"):
            pr2.put("ana", [InvalidDocument("no text", 2)])

        def unreadable() -> Iterator[Document]:
            yield Document(id="x", text="x")
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            pr2.put("ana", unreadable())
        with pytest.raises(ApiError):
            pr2.document("ana", "x")


def test_a_client_without_a_server_says_so() -> None:
    with Client("http://127.0.0.1:9", retries=0) as pr2, pytest.raises(ApiError, match="cannot reach"):
        pr2.ask("ana", "Why?")


def test_a_client_is_closed_without_with_and_more_than_once(live: tuple[Service, str]) -> None:
    before = threading.active_count()
    pr2 = Client(f"{live[1]}/")
    assert pr2.url == live[1]
    assert pr2.document("ana", "a1").id == "a1"
    pr2.close()
    pr2.close()
    with pr2:
        pass
    assert soon(lambda: threading.active_count() <= before)
    for call in (lambda: pr2.document("ana", "a1"), lambda: next(pr2.answer("ana", "Why?"))):
        with pytest.raises(RuntimeError):
            call()
    gc.collect()
