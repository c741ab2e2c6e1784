"""Probing servers: against an engine that imitates the common ones."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from agent.driver import drive
from agent.engines.capabilities import CONTINUING, OPTIONS, Capabilities, probe
from agent.engines.completions import CHAT, COMPLETIONS
from agent.engines.errors import EngineError
from agent.engines.openai import OpenAIServer
from agent.episode import Episode
from agent.policies.tags import TagsPolicy
from agent.trajectory import Limits, Search, Trajectory
from index.documents import Passage
from tests.engine import (
    CHAT_ONLY,
    DONE,
    HANG_BEFORE_HEADERS,
    LLAMA_CPP,
    OLLAMA,
    PLAIN,
    VLLM,
    Dialect,
    Engine,
    Reply,
    Request,
    Script,
    event,
    fails,
    turns,
    writes,
)

SEARCHES = "<think>Which café? 🦊</think><search>café by the sea</search>"
ANSWERS = "<think>Found it.</think><answer>You liked the Strandcafé 🌊 [1].</answer>"
ANSWERING = turns(writes(SEARCHES), writes(ANSWERS))
PASSAGE = Passage("d1", "The Strandcafé was the best. 🌊")
HTML = Reply((b"<html>Welcome</html>",), content_type="text/html")


async def find(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
    return [PASSAGE]


@asynccontextmanager
async def serving(
    engine: Engine, model: str = "tiny", *, idle: float = 5.0, retries: int = 0
) -> AsyncIterator[OpenAIServer]:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0.01)

    server = OpenAIServer(engine.base_url, model, idle_timeout_s=idle, retries=retries, sleep=sleep)
    try:
        yield server
    finally:
        await server.aclose()


async def found(
    dialect: Dialect, instead: Mapping[str, Reply] | None = None, *, idle: float = 5.0
) -> Capabilities:
    with Engine(turns(fails(418)), dialect=dialect) as engine:
        engine.instead.update(instead or {})
        async with serving(engine, idle=idle) as server:
            known = await probe(server)
        assert engine.completions == [], "the model is asked for nothing but probes"
        return known


async def run(policy: TagsPolicy, limits: Limits | None = None) -> Trajectory:
    episode = Episode("Which café did I like?", limits=limits)
    async for _ in drive(episode, policy, find):
        pass
    return episode.trajectory


LEAST = Capabilities(
    model="tiny",
    path=COMPLETIONS,
    options={},
    keeps_stop=False,
    continues=True,
    continuing={},
    encodes=None,
    takes_ids=False,
    tells_ids=False,
    context=None,
)
FOUND: dict[str, tuple[Dialect, Capabilities, str]] = {
    "a strict server": (
        PLAIN,
        LEAST,
        "context of unknown length, completions, text, stop strings restored",
    ),
    "vLLM": (
        VLLM,
        replace(
            LEAST,
            options=OPTIONS,
            keeps_stop=True,
            encodes={"model": "tiny", "add_special_tokens": False},
            takes_ids=True,
            tells_ids=True,
            context=8192,
        ),
        "context 8192 tokens, completions, token ids, stop strings kept",
    ),
    "llama.cpp": (
        LLAMA_CPP,
        replace(
            LEAST,
            options=OPTIONS,
            encodes={"add_special": False, "parse_special": False},
            takes_ids=True,
            context=4096,
        ),
        "context 4096 tokens, completions, token ids sent, stop strings restored",
    ),
    "Ollama": (
        OLLAMA,
        replace(LEAST, path=CHAT, options=OPTIONS, continues=False, continuing=CONTINUING, context=4096),
        "context 4096 tokens, chat only, text, stop strings restored; "
        "a chat template is put around the transcript",
    ),
    "a server that can only chat": (
        CHAT_ONLY,
        replace(LEAST, path=CHAT, options=OPTIONS, continues=False, continuing=CONTINUING),
        "context of unknown length, chat only, text, stop strings restored; "
        "a chat template is put around the transcript",
    ),
}


@pytest.mark.parametrize(("dialect", "known", "words"), FOUND.values(), ids=FOUND)
async def test_every_server_is_found_to_be_what_it_is(
    dialect: Dialect, known: Capabilities, words: str
) -> None:
    assert await found(dialect) == known
    assert str(known) == words


@pytest.mark.parametrize("dialect", [dialect for dialect, _, _ in FOUND.values()], ids=FOUND)
async def test_every_server_answers_a_question(dialect: Dialect) -> None:
    with Engine(ANSWERING, dialect=dialect) as engine:
        async with serving(engine) as server:
            trajectory = await run(TagsPolicy(server))
        assert len(engine.completions) == 2
        assert engine.left_early == 0
    assert trajectory.finish_reason == "answered"
    assert [segment.text for segment in trajectory.segments if segment.author == "policy"] == [
        SEARCHES,
        ANSWERS,
    ]


@pytest.mark.parametrize("dialect", [dialect for dialect, _, _ in FOUND.values()], ids=FOUND)
async def test_every_server_answers_where_only_the_answer_is_missing(dialect: Dialect) -> None:
    with Engine(turns(writes(ANSWERS)), dialect=dialect) as engine:
        async with serving(engine) as server:
            episode = Episode("Which café?", limits=Limits(max_searches=0), first_query="café")
            async for _ in drive(episode, TagsPolicy(server), find):
                pass
        assert "Strandcafé was the best" in engine.completions[0].text
    assert episode.finish_reason == "answered"


@pytest.mark.parametrize("refused", OPTIONS)
async def test_a_server_that_refuses_one_option_is_asked_for_the_others(refused: str) -> None:
    known = await found(replace(VLLM, refuses=frozenset({refused})))
    assert known.options == {name: value for name, value in OPTIONS.items() if name != refused}
    assert known.takes_ids
    assert known.tells_ids == (refused != "return_token_ids")
    assert known.keeps_stop == (refused != "include_stop_str_in_output")


LISTED: dict[str, tuple[dict[str, Any], int | None]] = {
    "vLLM": ({"max_model_len": 2048}, 2048),
    "OpenRouter": ({"context_length": 131072}, 131072),
    "LM Studio": ({"max_context_length": 32768}, 32768),
    "in meta": ({"meta": {"n_ctx": 2048, "n_ctx_train": 131072}}, 2048),
    "what it was trained for is not what it has": ({"meta": {"n_ctx_train": 131072}}, None),
    "nothing": ({"max_model_len": 0, "n_ctx": None, "context_length": -1, "meta": "none"}, None),
    "words": ({"max_model_len": "long", "context_length": {"tokens": 1}, "meta": [1]}, None),
}


@pytest.mark.parametrize(("lists", "context"), LISTED.values(), ids=LISTED)
async def test_the_context_is_read_where_the_list_of_models_tells_it(
    lists: dict[str, Any], context: int | None
) -> None:
    assert (await found(replace(PLAIN, lists=lists))).context == context


@pytest.mark.parametrize("where", ["tokenize", "props", "ps"])
async def test_the_context_is_asked_for_elsewhere(where: str) -> None:
    dialect = replace(PLAIN, tokenize="vllm", context=1024, tells_context=(where,))
    assert (await found(dialect)).context == 1024


async def test_the_context_of_another_model_is_not_taken() -> None:
    loaded = {"/api/ps": json_reply(b'{"models": [{"model": "huge", "context_length": 131072}]}')}
    assert (await found(OLLAMA, loaded)).context is None


def json_reply(body: bytes) -> Reply:
    return Reply((body,), content_type="application/json")


NONSENSE = {
    "HTML": HTML,
    "a failure": fails(500),
    "silence": HANG_BEFORE_HEADERS,
    "a reset": Reply(("cut",), status=0),
    "half a reply": Reply((b'{"tok', "cut"), content_type="application/json"),
    "no UTF-8": json_reply(b'{"tokens": ["\xff\xfe"]}'),
    "very deep JSON": json_reply(b'{"tokens": ' + b"[" * 100_000),
    "a number": json_reply(b"7"),
    "null": json_reply(b"null"),
    "no tokens": json_reply(b'{"tokens": []}'),
    "words": json_reply(b'{"tokens": "abc", "models": "abc", "default_generation_settings": "abc"}'),
    "words in lists": json_reply(
        b'{"tokens": ["a"], "models": ["abc"], "default_generation_settings": {"n_ctx": "abc"}}'
    ),
    "nothing in lists": json_reply(b'{"tokens": [null], "models": [null], "max_model_len": "abc"}'),
}


@pytest.mark.parametrize("reply", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_where_less_is_at_stake_only_means_less(reply: Reply) -> None:
    places = dict.fromkeys(("/tokenize", "/props", "/api/ps"), reply)
    assert await found(PLAIN, places, idle=1.0 if reply is HANG_BEFORE_HEADERS else 60.0) == LEAST


async def test_a_server_without_a_list_of_models_is_used_by_the_models_name() -> None:
    for reply in (fails(404), HTML, json_reply(b'["tiny"]')):
        assert await found(PLAIN, {"/v1/models": reply}) == LEAST


async def test_a_template_around_the_transcript_is_kept_where_there_is_no_chat() -> None:
    known = await found(replace(OLLAMA, chat=False))
    assert (known.path, known.continues) == (COMPLETIONS, False)
    assert str(known).endswith("stop strings restored; a chat template is put around the transcript")


async def test_a_template_of_few_tokens_is_seen_where_the_server_counts_tokens() -> None:
    assert (await found(replace(VLLM, template_tokens=3, takes_ids=False))).path == CHAT
    assert (await found(replace(VLLM, takes_ids=False))).path == COMPLETIONS, "one is the BOS"


async def test_token_ids_are_sent_where_the_server_reads_them() -> None:
    for less in ({"takes_ids": False}, {"tokenize": None}, {"tells_ids": False, "tells_usage": False}):
        known = await found(replace(VLLM, **less))
        assert not known.takes_ids, less
        assert not known.tells_ids, less
    known = await found(replace(VLLM, tells_ids=False))
    assert known.takes_ids
    assert not known.tells_ids


async def test_a_chat_goes_on_with_what_the_assistant_has_written() -> None:
    with Engine(ANSWERING, dialect=CHAT_ONLY) as engine:
        async with serving(engine) as server:
            trajectory = await run(TagsPolicy(server))
    opening, searches, block, _ = (segment.text for segment in trajectory.segments)
    first, second = engine.completions
    assert first.path == second.path == "/v1/chat/completions"
    assert first.json["messages"] == [{"role": "user", "content": opening}]
    assert not CONTINUING.keys() & first.json.keys()
    assert second.json["messages"] == [
        {"role": "user", "content": opening},
        {"role": "assistant", "content": searches + block},
    ]
    assert CONTINUING.items() <= second.json.items()
    assert trajectory.prompt_tokens == sum(len(request.text.encode()) + 1 for request in (first, second))


async def test_a_strict_chat_is_not_asked_to_continue_by_name() -> None:
    strict = replace(CHAT_ONLY, refuses=PLAIN.refuses)
    assert (await found(strict)).continuing == {}
    with Engine(ANSWERING, dialect=strict) as engine:
        async with serving(engine) as server:
            assert (await run(TagsPolicy(server))).finish_reason == "answered"
        assert [len(request.json["messages"]) for request in engine.completions] == [1, 2]
        assert not CONTINUING.keys() & engine.completions[1].json.keys()


BAD: dict[str, tuple[Reply, str]] = {
    "is not there": (Reply(("cut",), status=0), "unavailable"),
    "is down": (fails(503), "unavailable"),
    "is a web page": (HTML, "bad_reply"),
    "stalls": (HANG_BEFORE_HEADERS, "timeout"),
    "stalls after the headers": (Reply(("hang",)), "timeout"),
    "dies": (Reply((event("S"), "cut")), "broken_stream"),
    "has an error": (Reply((b'data: {"error": {"message": "oom"}}\n\n',)), "broken_stream"),
    "sends no UTF-8": (Reply((b'data: {"choices": [{"text": "\xff"}]}\n\n',)), "bad_reply"),
    "sends no choices": (Reply((b'data: {"object": "list"}\n\n', DONE)), "bad_reply"),
    "sends text as tokens": (
        Reply((b'data: {"choices": [{"text": "S", "token_ids": "abc"}]}\n\n', DONE)),
        "bad_reply",
    ),
    "wants a key": (fails(401, "who are you"), "refused"),
}


@pytest.mark.parametrize(
    "paths", [("/v1/models", "/v1/completions"), ("/v1/completions",)], ids=["all", "writing"]
)
@pytest.mark.parametrize(("reply", "fault"), BAD.values(), ids=BAD)
async def test_a_server_that_fails_when_it_is_asked_is_a_typed_policy_error(
    reply: Reply, fault: str, paths: tuple[str, ...]
) -> None:
    with Engine(turns(writes(ANSWERS)), dialect=VLLM) as engine:
        engine.instead.update(dict.fromkeys(paths, reply))
        async with serving(engine, idle=1.0 if fault == "timeout" else 60.0, retries=1) as server:
            policy = TagsPolicy(server)
            trajectory = await run(policy)
            assert (trajectory.finish_reason, trajectory.fault) == ("policy_error", fault)
            assert engine.base_url in trajectory.detail
            with pytest.raises(EngineError) as raised:
                await policy.check()
            assert raised.value.fault == fault
            engine.instead.clear()
            assert (await run(policy)).finish_reason == "answered", "it is asked again"


async def test_a_model_that_is_not_there_is_refused_with_those_that_are() -> None:
    with Engine(turns(fails(404, "no such model")), ["small", "big"], probes=True) as engine:
        async with serving(engine) as server:
            with pytest.raises(EngineError, match="it has no model 'tiny'; it has: small, big"):
                await TagsPolicy(server).check()


async def test_a_model_that_has_gone_since_is_refused_with_those_that_are() -> None:
    script: list[Script] = [ANSWERING]
    models = ["tiny"]
    with Engine(lambda request: script[0](request), models) as engine:
        async with serving(engine) as server:
            policy = TagsPolicy(server)
            assert (await run(policy)).finish_reason == "answered"
            models[:], script[:] = ["small", "big"], [turns(fails(404, "no such model"))]
            assert (await run(policy)).detail.endswith("(it has no model 'tiny'; it has: small, big)")


def probes(engine: Engine) -> int:
    return sum(request.writes and request.probes for request in engine.requests)


async def test_many_episodes_at_once_ask_once() -> None:
    with Engine(ANSWERING, dialect=VLLM) as engine:
        async with serving(engine) as server:
            await probe(server)
            once, models = probes(engine), engine.asked("/v1/models")
            policy = TagsPolicy(server)
            trajectories = await asyncio.gather(*(run(policy) for _ in range(16)))
            assert (probes(engine), engine.asked("/v1/models")) == (2 * once, 2 * models)
    assert {trajectory.finish_reason for trajectory in trajectories} == {"answered"}


async def test_many_episodes_at_once_fail_together_and_the_next_one_asks_again() -> None:
    with Engine(turns(writes(ANSWERS))) as engine:
        engine.instead["/v1/models"] = fails(503)
        async with serving(engine, retries=2) as server:
            policy = TagsPolicy(server)
            trajectories = await asyncio.gather(*(run(policy) for _ in range(16)))
            assert {trajectory.fault for trajectory in trajectories} == {"unavailable"}
            assert len({trajectory.detail for trajectory in trajectories}) == 1
            assert engine.asked("/v1/models") == 3, "nobody waits for all the others to fail"
            assert (await run(policy)).fault == "unavailable"
            assert engine.asked("/v1/models") == 6
            engine.instead.clear()
            assert (await run(policy)).finish_reason == "answered"


async def test_an_episode_that_is_cut_off_while_it_asks_leaves_the_others_to_ask() -> None:
    with Engine(turns(writes(ANSWERS))) as engine:
        engine.instead["/v1/models"] = HANG_BEFORE_HEADERS
        async with serving(engine) as server:
            policy = TagsPolicy(server)
            first = asyncio.create_task(run(policy, Limits(deadline_ms=300)))
            assert await engine.until(lambda: engine.asked("/v1/models") == 1)
            second = asyncio.create_task(run(policy))
            engine.instead.clear()
            assert (await first).finish_reason == "deadline"
            assert (await second).finish_reason == "answered"


async def test_a_check_tries_once_and_an_episode_as_often_as_it_may() -> None:
    def busy(times: int) -> Callable[[Request], Reply]:
        left = [fails(503)] * times
        return lambda request: left.pop() if left else writes(ANSWERS)

    with Engine(busy(2), dialect=VLLM, probes=True) as engine:
        async with serving(engine, retries=3) as server:
            policy = TagsPolicy(server)
            check = asyncio.create_task(policy.check())
            await asyncio.sleep(0)
            trajectory = await run(policy)
            with pytest.raises(EngineError, match="answered 503"):
                await check
            assert trajectory.finish_reason == "answered", "that the check gave up is not its failure"
            assert await policy.check()


async def test_a_check_asks_anew_what_the_server_can_do() -> None:
    with Engine(ANSWERING) as engine:
        async with serving(engine) as server:
            policy = TagsPolicy(server)
            assert "text" in await policy.check()
            engine.dialect = replace(VLLM, context=1024)
            assert await policy.check() == "context 1024 tokens, completions, token ids, stop strings kept"
            assert (await run(policy)).segments[-1].token_ids is not None
