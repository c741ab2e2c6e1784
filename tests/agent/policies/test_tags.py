"""TagsPolicy against a real HTTP server that writes, stalls, breaks off and sends invalid data."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from agent.driver import drive
from agent.engines.errors import EngineError
from agent.engines.openai import OpenAIServer
from agent.episode import Episode
from agent.policies.tags import TagsPolicy
from agent.policy import Chunk
from agent.tags import STOP
from agent.trajectory import Limits, Search, Trajectory
from index.documents import Passage
from tests.engine import (
    CHAT_ONLY,
    DONE,
    HANG_BEFORE_HEADERS,
    PLAIN,
    VLLM,
    Dialect,
    Engine,
    Part,
    Reply,
    Request,
    Script,
    body_of,
    event,
    fails,
    in_order,
    trims,
    turns,
    writes,
)

SEARCHES = "<think>Which café? 🦊</think><search>café by the sea</search>"
ANSWERS = "<think>Found it.</think><answer>You liked the <b>Strandcafé</b> 🌊 [1].</answer>"
PASSAGE = Passage(document_id="d1", text="The Strandcafé was the best. 🌊", rank=1, score=1.0)
QUESTION = "Where did I\tlike it?\r\nTell me 🦊, €, \u2028, \x85 and </search>."


async def find(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
    return [PASSAGE]


@asynccontextmanager
async def writing(
    base_url: str,
    *,
    model: str = "tiny",
    api_key: str | None = None,
    idle: float = 5.0,
    retries: int = 0,
    waits: list[float] | None = None,
) -> AsyncIterator[TagsPolicy]:
    async def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    server = OpenAIServer(
        base_url, model, api_key, connect_timeout_s=3.0, idle_timeout_s=idle, retries=retries, sleep=sleep
    )
    policy = TagsPolicy(server)
    try:
        yield policy
    finally:
        await policy.aclose()


async def run(policy: TagsPolicy, limits: Limits | None = None) -> Trajectory:
    """A whole episode, reading every event."""
    episode = Episode(QUESTION, limits=limits)
    async for _ in drive(episode, policy, find):
        pass
    return episode.trajectory


async def ask(script: Script, *, idle: float = 5.0, limits: Limits | None = None) -> Trajectory:
    with Engine(script) as engine:
        async with writing(engine.base_url, idle=idle) as policy:
            return await run(policy, limits)


async def chunks_of(reply: Reply) -> list[Chunk]:
    with Engine(turns(reply)) as engine:
        async with writing(engine.base_url) as policy, aclosing(policy.generate(Episode("?"), 64)) as chunks:
            return [chunk async for chunk in chunks]


def written(trajectory: Trajectory) -> list[str]:
    return [segment.text for segment in trajectory.segments if segment.author == "policy"]


@pytest.mark.parametrize("speak", [writes, trims], ids=["stop_reason", "trimmed"])
async def test_stop_strings_that_the_engine_trimmed_are_restored(speak: Callable[[str], Reply]) -> None:
    trajectory = await ask(turns(speak(SEARCHES), speak(ANSWERS)))
    assert trajectory.finish_reason == "answered"
    assert written(trajectory) == [SEARCHES, ANSWERS]


async def test_an_engine_that_leaves_the_stop_strings_in_is_understood_too() -> None:
    whole = Reply((event(SEARCHES), event("", "stop"), DONE))
    runs_on = Reply((event(ANSWERS + "<search>more"), event("</search>", "stop"), DONE))
    assert written(await ask(turns(whole, runs_on))) == [SEARCHES, ANSWERS]


async def test_a_stop_string_that_is_there_already_is_not_restored_twice() -> None:
    for last in (event("q</search>", "stop"), event("q</search>", "stop", stop_reason="</search>")):
        chunks = await chunks_of(Reply((event("<search>"), last)))
        assert "".join(chunk.text for chunk in chunks) == "<search>q</search>"


async def test_a_stop_string_that_the_engine_keeps_when_asked_is_there_once() -> None:
    with Engine(turns(writes(SEARCHES), writes(ANSWERS)), dialect=VLLM) as engine:
        async with writing(engine.base_url) as policy:
            trajectory = await run(policy)
        assert all(request.json["include_stop_str_in_output"] for request in engine.completions)
    assert written(trajectory) == [SEARCHES, ANSWERS]


async def test_a_model_that_ends_by_itself_gets_nothing_closed_for_it() -> None:
    half = (event("<think>t</think><answer>Half", stop_reason=None), event(" an", "stop", stop_reason=None))
    trajectory = await ask(turns(Reply((*half, DONE))))
    assert (trajectory.finish_reason, trajectory.detail) == ("invalid", "unclosed_answer")


async def test_the_prompt_arrives_unchanged_and_the_request_asks_for_no_more_than_all_servers_know() -> None:
    with Engine(turns(writes(SEARCHES), writes(ANSWERS))) as engine:
        async with writing(engine.base_url, api_key="sk-1\n") as policy:
            trajectory = await run(policy, Limits(max_tokens=99))
        first, second = engine.completions
    body = first.json
    assert body.pop("prompt") == trajectory.segments[0].text
    assert second.json["prompt"] == "".join(segment.text for segment in trajectory.segments[:3])
    assert body == {
        "model": "tiny",
        "stop": list(STOP),
        "stream": True,
        "max_tokens": 99,
        "temperature": 0.0,
    }
    assert first.headers["authorization"] == "Bearer sk-1"


@pytest.mark.parametrize("dialect", [PLAIN, VLLM], ids=["plain", "vllm"])
async def test_a_connection_is_used_again_for_the_next_turn(dialect: Dialect) -> None:
    with Engine(turns(writes(SEARCHES), writes(ANSWERS)), dialect=dialect) as engine:
        async with writing(engine.base_url) as policy:
            assert (await run(policy)).finish_reason == "answered"
        assert engine.connections == 1


async def test_a_connection_is_used_again_after_a_usage_that_comes_with_the_last_text() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    searches = Reply((event(SEARCHES.removesuffix("</search>")), event("", "stop", usage=usage), DONE))
    with Engine(turns(searches, writes(ANSWERS))) as engine:
        async with writing(engine.base_url) as policy:
            trajectory = await run(policy)
        assert engine.connections == 1
    assert trajectory.finish_reason == "answered"


async def test_tokens_are_counted_by_pieces_of_text() -> None:
    trajectory = await ask(turns(writes(ANSWERS, size=7)))
    assert trajectory.policy_tokens == -(-len(ANSWERS.removesuffix("</answer>")) // 7)


async def test_tokens_are_those_of_the_usage_where_the_server_sends_it() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 11, "total_tokens": 16}
    chunks = await chunks_of(Reply((event("<think>"), event("t"), event("</think>", "stop", usage=usage))))
    assert [chunk.tokens for chunk in chunks] == [1, 1, 9]
    assert sum(chunk.tokens for chunk in chunks) == 11


async def test_tokens_are_those_of_the_usage_that_comes_after_the_text() -> None:
    with Engine(turns(writes(SEARCHES), writes(ANSWERS)), dialect=replace(VLLM, tokenize=None)) as engine:
        async with writing(engine.base_url) as policy:
            trajectory = await run(policy)
        prompts = [request.text for request in engine.completions]
    assert trajectory.policy_tokens == len((SEARCHES + ANSWERS).encode())
    assert trajectory.prompt_tokens == sum(1 + len(prompt.encode()) for prompt in prompts)


async def test_prompt_tokens_are_estimated_where_the_server_does_not_count() -> None:
    trajectory = await ask(turns(writes(ANSWERS)))
    assert 0 < trajectory.prompt_tokens < len(trajectory.segments[0].text.encode())


async def test_an_engine_that_runs_out_of_tokens_ends_the_episode_with_max_tokens() -> None:
    parts = (event("<think>t</think><answer>As far"), event(" as it got", "length"), DONE)
    trajectory = await ask(turns(Reply(parts)))
    assert trajectory.finish_reason == "max_tokens"
    assert trajectory.answer is not None
    assert trajectory.answer.text == "As far as it got"


async def test_a_stream_cut_at_every_byte_gives_the_same_transcript() -> None:
    streams = [body_of(writes(SEARCHES, size=20)), body_of(trims(ANSWERS, size=20))]
    cut = 1

    def answer(request: Request) -> Reply:
        stream = streams[request.turn]
        return Reply((stream[:cut], stream[cut:]) if cut < len(stream) else (stream,))

    transcripts = set()
    with Engine(answer) as engine:
        async with writing(engine.base_url) as policy:
            for place in range(1, max(map(len, streams))):
                cut = place
                trajectory = await run(policy)
                assert trajectory.finish_reason == "answered"
                transcripts.add(trajectory.transcript)
    assert len(transcripts) == 1


async def test_bytes_that_come_one_by_one_with_comments_and_without_done_are_understood() -> None:
    def drip(text: str) -> Reply:
        stream = b": ping\r\n\r\n" + event(text).replace(b"\n", b"\r\n") + event("", "stop")
        return Reply(tuple(stream[at : at + 1] for at in range(len(stream))))

    assert written(await ask(turns(drip(SEARCHES), drip(ANSWERS)))) == [SEARCHES, ANSWERS]


THOUGHT = event("<think>The Strandcafé, surely")


def idle_for(parts: tuple[Part, ...]) -> float:
    """Seconds of silence after which a server is left, short only where it falls silent."""
    return 1.0 if "hang" in parts else 3_600.0


FAULTS: dict[str, tuple[tuple[Part, ...], str]] = {
    "the connection is reset": ((THOUGHT, 0.05, "cut"), "broken_stream"),
    "the stream just ends": ((THOUGHT,), "broken_stream"),
    "the last event is torn": ((THOUGHT, event("x", "stop")[:-9]), "broken_stream"),
    "nothing at all comes": ((), "broken_stream"),
    "an error in the stream": ((THOUGHT, b'data: {"error": {"message": "oom"}}\n\n'), "broken_stream"),
    "an unknown finish_reason": ((THOUGHT, event("", "abort")), "broken_stream"),
    "a content filter": ((THOUGHT, event("", "content_filter")), "refused"),
    "silence after the headers": (("hang",), "timeout"),
    "silence in the middle": ((THOUGHT, "hang"), "timeout"),
    "invalid JSON": ((THOUGHT, b"data: {nonsense\n\n"), "bad_reply"),
    "very deep JSON": ((b'data: {"choices": ' + b"[" * 100_000 + b"\n\n",), "bad_reply"),
    "JSON without choices": ((b'data: {"text": "hello"}\n\n',), "bad_reply"),
    "JSON of another shape": ((b'data: {"choices": [{"text": 7}]}\n\n',), "bad_reply"),
    "JSON that is no object": ((b"data: [1, 2]\n\n",), "bad_reply"),
    "words for token ids": ((THOUGHT, event("x", token_ids="abc")), "bad_reply"),
    "invalid UTF-8": ((THOUGHT, b'data: {"choices": [{"text": "\xff\xfe"}]}\n\n'), "bad_reply"),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "fault"), FAULTS.values(), ids=FAULTS)
async def test_a_broken_stream_is_a_typed_policy_error(parts: tuple[Part, ...], fault: str) -> None:
    with Engine(turns(Reply(parts))) as engine:
        async with writing(engine.base_url, idle=idle_for(parts), retries=2) as policy:
            trajectory = await run(policy)
        assert len(engine.completions) == 1, "a stream that has begun is not tried again"
    assert (trajectory.finish_reason, trajectory.fault) == ("policy_error", fault)
    assert engine.base_url in trajectory.detail
    assert "Strandcafé" not in trajectory.detail


async def test_a_stream_that_is_done_without_a_finish_reason_is_complete() -> None:
    half = ANSWERS.removesuffix("</answer>")
    trajectory = await ask(turns(Reply((event(half), DONE))))
    assert (trajectory.finish_reason, written(trajectory)) == ("answered", [ANSWERS])
    trajectory = await ask(turns(Reply((THOUGHT, DONE))))
    assert (trajectory.finish_reason, trajectory.detail) == ("invalid", "unclosed_think")


REPLIES: dict[str, tuple[Reply, str, int]] = {
    "HTML with 200": (Reply((b"<html>Welcome</html>",), content_type="text/html"), "bad_reply", 1),
    "plain text": (Reply((event("x"),), content_type="text/plain"), "bad_reply", 1),
    "JSON instead of a stream": (Reply((event("x")[6:],), content_type="application/json"), "bad_reply", 1),
    "a body that is not compressed as it says": (
        Reply((b"no gzip",), headers=(("Content-Encoding", "gzip"),)),
        "bad_reply",
        1,
    ),
    "a redirect": (Reply((), 307, headers=(("Location", "http://127.0.0.1:1/v1"),)), "bad_reply", 1),
    "silence before the headers": (HANG_BEFORE_HEADERS, "timeout", 1),
    "a reset before the headers": (Reply(("cut",), status=0), "unavailable", 3),
    "no HTTP": (Reply((b"SSH-2.0-OpenSSH\r\n",), status=0), "unavailable", 3),
    "500 always": (fails(500), "unavailable", 3),
    "503 in HTML": (Reply((b"<html>busy</html>",), 503, "text/html"), "unavailable", 3),
    "429 always": (fails(429), "unavailable", 3),
    "501": (fails(501), "unavailable", 1),
    "400": (fails(400, "the context is too long"), "refused", 1),
    "401": (fails(401, "who are you"), "refused", 1),
    "404 in HTML": (Reply((b"<html>not here</html>",), 404, "text/html"), "refused", 1),
    "an error that never ends": (Reply((b"x", "hang"), 400), "refused", 1),
}


@pytest.mark.parametrize(("reply", "fault", "requests"), REPLIES.values(), ids=REPLIES)
async def test_a_bad_answer_is_a_typed_policy_error(reply: Reply, fault: str, requests: int) -> None:
    with Engine(turns(reply)) as engine:
        async with writing(engine.base_url, idle=idle_for(reply.parts), retries=2) as policy:
            trajectory = await run(policy)
            assert (trajectory.finish_reason, trajectory.fault) == ("policy_error", fault)
            assert engine.base_url in trajectory.detail
            assert len(engine.completions) == requests


@pytest.mark.parametrize(("reply", "fault", "requests"), REPLIES.values(), ids=REPLIES)
async def test_a_server_that_is_bad_from_the_start_is_too(reply: Reply, fault: str, requests: int) -> None:
    # A request that was refused with all options is sent once more without any.
    times = 2 if fault == "refused" else 1
    with Engine(turns(reply), probes=True) as engine:
        async with writing(engine.base_url, idle=idle_for(reply.parts), retries=2) as policy:
            trajectory = await run(policy)
            assert (trajectory.finish_reason, trajectory.fault) == ("policy_error", fault)
            assert engine.base_url in trajectory.detail
            assert engine.asked("/v1/completions") == requests * times
            with pytest.raises(EngineError) as raised:
                await policy.check()
            assert raised.value.fault == fault
            assert engine.asked("/v1/completions") == (requests + 1) * times, "a check tries once"


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        waits: list[float] = []
        async with writing(base_url, retries=3, waits=waits) as policy:
            trajectory = await run(policy)
    assert (trajectory.finish_reason, trajectory.fault) == ("policy_error", "unavailable")
    assert base_url in trajectory.detail
    for wait, longest in zip(waits, (0.25, 0.5, 1.0), strict=True):
        assert longest / 2 <= wait <= longest


async def test_a_host_that_does_not_answer_the_connection_is_a_timeout() -> None:
    with socket.socket() as busy, socket.socket() as first, socket.socket() as second:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        for caller in (first, second):  # Nobody accepts them, so that there is no room for a third.
            caller.setblocking(False)
            caller.connect_ex(busy.getsockname())
        base_url = f"http://127.0.0.1:{busy.getsockname()[1]}/v1"
        policy = TagsPolicy(OpenAIServer(base_url, "tiny", connect_timeout_s=0.2))
        with pytest.raises(EngineError, match=f"no connection to {base_url} in 0.2 s") as raised:
            await policy.check()
        await policy.aclose()
    assert raised.value.fault == "timeout"


async def test_a_busy_engine_is_tried_again_after_the_time_that_it_asks_for() -> None:
    busy = fails(429, headers=(("Retry-After", "3"),))
    very_busy = fails(503, headers=(("Retry-After", "3600"),))
    waits: list[float] = []
    with Engine(in_order(busy, very_busy, fails(502), writes(ANSWERS))) as engine:
        async with writing(engine.base_url, retries=3, waits=waits) as policy:
            assert written(await run(policy)) == [ANSWERS]
    assert waits[:2] == [3.0, 10.0]
    assert 0.5 <= waits[2] <= 1.0


async def test_the_servers_own_message_is_passed_on_in_part() -> None:
    with pytest.raises(EngineError) as raised:
        await chunks_of(fails(400, "The prompt has too many tokens. " * 50))
    assert "answered 400: The prompt has too many tokens. " in str(raised.value)
    assert len(str(raised.value)) < 400


LEAKS = ["Bad key sk-secret-1", "Bad input: 'Where did I\\tlike it?\\r\\nTell me 🦊'", f"Bad: {QUESTION}"]
THOUGHT_IDS = event("<think>", token_ids=[1])


@pytest.mark.parametrize("dialect", [PLAIN, VLLM, CHAT_ONLY], ids=["text", "token ids", "chat"])
async def test_a_message_that_repeats_the_key_or_the_prompt_is_left_out(dialect: Dialect) -> None:
    for leak in LEAKS:
        with Engine(turns(fails(400, leak)), dialect=dialect) as engine:
            async with writing(engine.base_url, api_key="sk-secret-1") as policy:
                trajectory = await run(policy)
        assert trajectory.detail == f"{engine.base_url} answered 400"
        broken = Reply((THOUGHT_IDS, b"data: " + json.dumps({"error": {"message": leak}}).encode() + b"\n\n"))
        with Engine(turns(broken), dialect=dialect) as engine:
            async with writing(engine.base_url, api_key="sk-secret-1") as policy:
                trajectory = await run(policy)
        assert trajectory.detail == f"{engine.base_url} broke off"


async def test_the_servers_password_is_not_in_the_message() -> None:
    with Engine(turns(fails(401, "wrong password"))) as engine:
        async with writing(engine.base_url.replace("http://", "http://me:hidden@")) as policy:
            trajectory = await run(policy)
    assert trajectory.detail == f"{engine.base_url} answered 401: wrong password"


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="API key") as raised:
        OpenAIServer("http://127.0.0.1/v1", "tiny", "sk-\u2028-1")
    assert "sk-" not in str(raised.value)


async def test_an_unknown_model_is_refused_with_the_models_that_there_are() -> None:
    with Engine(
        turns(fails(404, "The model `huge` does not exist.")), ["tiny", "small"], probes=True
    ) as engine:
        async with writing(engine.base_url, model="huge") as policy:
            with pytest.raises(EngineError) as raised:
                await policy.check()
    assert raised.value.fault == "refused"
    assert "does not exist" in str(raised.value)
    assert "it has: tiny, small" in str(raised.value)


async def test_without_a_name_the_servers_first_model_is_asked_for_once() -> None:
    with Engine(turns(writes(SEARCHES), writes(ANSWERS)), ["first", "second"]) as engine:
        async with writing(engine.base_url, model="") as policy:
            assert policy.name == "openai"
            await run(policy)
            assert policy.name == "openai:first"
        assert engine.asked("/v1/models") == 1
        assert {request.json["model"] for request in engine.completions} == {"first"}


async def test_a_server_without_models_is_refused_when_none_is_named() -> None:
    with Engine(turns(writes(ANSWERS)), []) as engine:
        async with writing(engine.base_url, model="") as policy:
            trajectory = await run(policy)
    assert (trajectory.finish_reason, trajectory.fault) == ("policy_error", "refused")


async def test_a_check_asks_for_one_token() -> None:
    with Engine(turns(Reply((event("<", "length"), DONE))), probes=True) as engine:
        async with writing(engine.base_url) as policy:
            await policy.check()
        assert {request.json["max_tokens"] for request in engine.completions} == {1}


async def test_a_check_does_not_wait_for_a_server_that_only_sends_comments() -> None:
    keep_alive: tuple[Part, ...] = (b": wait\n\n", 0.1) * 100
    with Engine(turns(Reply(keep_alive)), probes=True) as engine:
        async with writing(engine.base_url, idle=0.2) as policy:
            with pytest.raises(EngineError) as raised:
                await policy.check()
    assert raised.value.fault == "timeout"


@pytest.mark.parametrize("reply", [Reply((THOUGHT, "hang")), HANG_BEFORE_HEADERS], ids=["after", "before"])
async def test_a_deadline_ends_a_hanging_engine_and_the_engine_sees_it(reply: Reply) -> None:
    with Engine(turns(reply)) as engine:
        async with writing(engine.base_url, idle=60) as policy:
            await policy.check()
            trajectory = await run(policy, Limits(deadline_ms=300))
            assert trajectory.finish_reason == "deadline"
            assert await engine.until(lambda: engine.left_early == 1)


async def test_a_caller_that_leaves_cancels_the_engines_request() -> None:
    with Engine(turns(Reply((event("<think>t</think><answer>Once"), "hang")))) as engine:
        async with writing(engine.base_url) as policy:
            episode = Episode(QUESTION)
            async with aclosing(drive(episode, policy, find)) as events:
                async for _ in events:
                    break
            assert await engine.until(lambda: engine.left_early == 1)
    assert episode.finish_reason == "cancelled"


async def test_a_cancelled_task_cancels_the_engines_request() -> None:
    with Engine(turns(Reply((THOUGHT, "hang")))) as engine:
        async with writing(engine.base_url) as policy:
            task = asyncio.create_task(run(policy))
            assert await engine.until(lambda: len(engine.completions) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await engine.until(lambda: engine.left_early == 1)


async def test_an_engine_that_would_write_on_after_the_action_is_stopped() -> None:
    with Engine(turns(Reply((event(ANSWERS), "hang")))) as engine:
        async with writing(engine.base_url) as policy:
            assert (await run(policy)).finish_reason == "answered"
            assert await engine.until(lambda: engine.left_early == 1)


async def test_an_end_of_stream_that_does_not_come_hardly_delays_the_turn() -> None:
    stalls = Reply((event("<think>t</think><answer>A"), event("", "stop", stop_reason="</answer>"), "hang"))
    with Engine(turns(stalls)) as engine:
        async with writing(engine.base_url, idle=3_600) as policy, asyncio.timeout(60):
            assert (await run(policy)).finish_reason == "answered"
            assert await engine.until(lambda: engine.left_early == 1)


async def test_no_episode_waits_for_another() -> None:
    with Engine(turns(Reply((THOUGHT, "hang")))) as engine:
        async with writing(engine.base_url, idle=3_600) as policy:
            running = [asyncio.create_task(run(policy)) for _ in range(32)]
            assert await engine.until(lambda: len(engine.completions) == 32)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def test_many_episodes_run_at_once() -> None:
    with Engine(turns(writes(SEARCHES, pause=0.05), writes(ANSWERS, pause=0.05))) as engine:
        async with writing(engine.base_url) as policy:
            trajectories = await asyncio.gather(*(run(policy) for _ in range(32)))
        assert engine.left_early == 0
    assert {trajectory.finish_reason for trajectory in trajectories} == {"answered"}
    assert len({trajectory.transcript for trajectory in trajectories}) == 1


@pytest.mark.parametrize(
    ("question", "leak"),
    [
        ("HIV status?", "cannot process: HIV status?"),
        (
            "Есть ли у меня диабет?",
            "cannot process: " + json.dumps("Есть ли у меня диабет?"),
        ),
    ],
    ids=["short", "escaped"],
)
async def test_no_question_is_so_short_or_so_escaped_that_a_message_repeats_it(
    question: str, leak: str
) -> None:
    with Engine(turns(fails(400, leak))) as engine:
        async with writing(engine.base_url) as policy:
            episode = Episode(question)
            async for _ in drive(episode, policy, find):
                pass
    assert episode.trajectory.detail == f"{engine.base_url} answered 400"
