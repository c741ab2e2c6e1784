"""Servers are sent no text that their tokenizer reads as control tokens, by whichever way it is sent."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import HttpUrl

from agent.driver import drive
from agent.engines.completions import CHAT, events
from agent.engines.controls import ControlStrings
from agent.engines.errors import EngineError
from agent.engines.openai import OpenAIServer
from agent.engines.registry import OpenAICompatible
from agent.engines.settings import EngineSettings
from agent.episode import Episode
from agent.policies.json import JSONPolicy
from agent.policies.tags import TagsPolicy
from agent.policies.tools import ToolsPolicy
from agent.policy import Policy
from agent.tags import marked_up
from agent.tokenizer import TokenizerFiles
from agent.trajectory import Message, Search, Trajectory
from index.documents import Passage
from tests.agent import texts
from tests.agent.families import CONTROLS, FAMILIES, Family, control_ids, tokenizer, transformer
from tests.chat_engine import says, searches
from tests.engine import (
    CHAT_ONLY,
    HANG_BEFORE_HEADERS,
    LLAMA_CPP,
    PLAIN,
    VLLM,
    Dialect,
    Engine,
    Reply,
    Request,
    Script,
    fails,
    in_order,
    turns,
    writes,
)

SEARCHES, ANSWERS = "<think>a</think><search>tea</search>", "<think>b</think><answer>Tea [1].</answer>"
BARE = {"PI:URL", "/nothink"}
"""Control strings without brackets: they are known only where we hold the tokenizer."""
UNKNOWN = "<TURN> [turn:user] <b> <TURN>"
"""Control strings of no known kind."""


@dataclass(frozen=True)
class Tokens:
    """The tokenizer of a family, as a server uses it."""

    family: Family

    def encode(self, text: str, opening: bool) -> list[int]:
        ids: list[int] = tokenizer(self.family).encode(text, add_special_tokens=opening).ids
        return ids

    def encode_plain(self, text: str, opening: bool) -> list[int]:
        known = tokenizer(self.family)
        known.encode_special_tokens = True
        try:
            return self.encode(text, opening)
        finally:
            known.encode_special_tokens = False

    def decode(self, ids: Sequence[int]) -> str:
        return str(tokenizer(self.family).decode(list(ids), skip_special_tokens=False))


class Spelled:
    """One token for each character, and one for each of some strings."""

    def __init__(self, *strings: str) -> None:
        self.strings = strings

    def encode(self, text: str, opening: bool) -> list[int]:
        for number, string in enumerate(self.strings):
            text = text.replace(string, chr(number))
        return [ord(character) for character in text]

    def encode_plain(self, text: str, opening: bool) -> list[int]:
        return [ord(character) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


MARKED = Spelled("<TURN>", "[turn:user]", "<b>")


@asynccontextmanager
async def serving(engine: Engine, **more: Any) -> AsyncIterator[OpenAIServer]:
    server = OpenAIServer(engine.base_url, "tiny", retries=0, **more)
    try:
        yield server
    finally:
        await server.aclose()


async def run(policy: Policy, told: str, protocol: Any = "tags") -> Trajectory:
    """An episode whose question, conversation and documents are `told`."""
    episode = Episode(told, conversation=[Message("user", told)], protocol=protocol)

    async def find(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
        return [Passage("d", told, title=told)]

    async for _ in drive(episode, policy, find):
        pass
    return episode.trajectory


def evil(family: Family) -> str:
    return " and ".join(one for one in family.controls if one not in BARE)


def read(request: Request) -> list[int]:
    """The tokens that the server's model reads, without those of a chat template."""
    match request.json:
        case {"prompt": [*ids]}:
            return ids
    return request.tokenizer.encode(request.text, opening=False)


WAYS: dict[str, Dialect] = {
    "token ids": VLLM,
    "token ids sent": LLAMA_CPP,
    "text": replace(LLAMA_CPP, takes_ids=False),
    "text of vLLM": replace(VLLM, takes_ids=False),
    "chat": replace(CHAT_ONLY, tokenize="vllm"),
}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("dialect", WAYS.values(), ids=WAYS)
async def test_no_control_token_is_sent_but_bos(dialect: Dialect, family: Family) -> None:
    told = evil(family)
    with Engine(
        in_order(writes(SEARCHES), writes(ANSWERS)),
        dialect=replace(dialect, tokenizer=Tokens(family), context=100_000),
    ) as engine:
        async with serving(engine) as server:
            trajectory = await run(TagsPolicy(server), told)
        assert trajectory.finish_reason == "answered", trajectory.detail
        bos = tokenizer(family).token_to_id(family.bos) if family.bos else None
        for request in engine.completions:
            controls = [number for number in read(request) if number in control_ids(family)]
            assert controls in ([], [bos])


@pytest.mark.parametrize("dialect", WAYS.values(), ids=WAYS)
async def test_a_string_that_only_this_model_knows_is_broken_and_no_other(dialect: Dialect) -> None:
    told = f"{UNKNOWN} <i> [turn:model] a[0] <think>"
    shown = "&lt;TURN> &#91;turn:user] &lt;b> &lt;TURN> <i> [turn:model] a[0] &lt;think>"
    with Engine(
        turns(writes(SEARCHES), writes(ANSWERS)),
        dialect=replace(dialect, tokenizer=MARKED, context=None, tells_context=()),
    ) as engine:
        async with serving(engine) as server:
            assert (await run(TagsPolicy(server), told)).finish_reason == "answered"
            asked = engine.asked("/tokenize")
            assert (await run(TagsPolicy(server), told)).finish_reason == "answered"
        first, second, *_ = (request.text for request in engine.completions)
        assert first.count(shown) == 2
        assert second.count(shown) == 4
        assert UNKNOWN not in second
        assert asked > 0


Chatting = tuple[type[ToolsPolicy] | type[JSONPolicy], str, Script]
CHATS: dict[str, Chatting] = {
    "tools": (
        ToolsPolicy,
        "tools",
        lambda request: says("Tea.") if "tool" in roles(request) else searches("<TURN>"),
    ),
    "json": (JSONPolicy, "json", lambda request: says('{"personalized_answer": "Tea."}')),
}


def roles(request: Request) -> list[str]:
    return [message["role"] for message in request.json["messages"]]


@pytest.mark.parametrize(("kind", "protocol", "script"), CHATS.values(), ids=CHATS)
async def test_messages_are_sent_without_control_strings(
    kind: type[ToolsPolicy] | type[JSONPolicy], protocol: str, script: Script
) -> None:
    with Engine(script, dialect=replace(CHAT_ONLY, tokenize="vllm", tokenizer=MARKED)) as engine:
        async with serving(engine) as server:
            assert (await run(kind(server), UNKNOWN, protocol)).finish_reason == "answered"
        for request in engine.completions:
            assert not any(string.encode() in request.body for string in MARKED.strings)
            assert b"&lt;TURN>" in request.body
    if protocol == "tools":
        call = engine.completions[-1].json["messages"][-2]["tool_calls"][0]
        assert call["function"]["arguments"] == '{"query": "&lt;TURN>"}'


async def test_a_reply_in_one_piece_is_asked_for_without_control_strings() -> None:
    """As a judge asks."""
    with Engine(
        turns(fails(418)), dialect=replace(CHAT_ONLY, tokenize="llama.cpp", tokenizer=MARKED)
    ) as engine:
        async with serving(engine) as server:
            with pytest.raises(EngineError, match="418"):
                await server.ask(CHAT, {"messages": [{"role": "user", "content": UNKNOWN}], "max_tokens": 9})
        assert [request.json["messages"] for request in engine.completions] == [
            [{"role": "user", "content": "&lt;TURN> &#91;turn:user] &lt;b> &lt;TURN>"}]
        ]


async def ask(server: OpenAIServer, text: str) -> None:
    request = {"model": "tiny", "prompt": text, "max_tokens": 9, "stream": True}
    async for _ in events(server, "/completions", request):
        pass


async def test_each_string_is_asked_about_once_until_the_model_is_forgotten() -> None:
    with Engine(turns(writes(ANSWERS)), dialect=replace(VLLM, tokenizer=MARKED)) as engine:
        async with serving(engine) as server:
            for _ in range(3):
                await ask(server, "<TURN> <a> <a> [1] </search> a < b")
            asked = [request.json["prompt"] for request in engine.requests if request.path == "/tokenize"]
            assert sorted(asked) == ["<TURN>", "<a>", "<think>"]
            server.forget_model()
            engine.dialect = replace(VLLM, tokenizer=Spelled("<a>"))
            await ask(server, "<TURN> <a>")
        assert [request.text for request in engine.completions[-2:]] == [
            "&lt;TURN> <a> <a> [1] </search> a < b",
            "<TURN> &lt;a>",
        ]


@pytest.mark.parametrize(
    "reply",
    [fails(404), fails(400), Reply((b"<html></html>",)), HANG_BEFORE_HEADERS],
    ids=["404", "400", "web", "hangs"],
)
async def test_a_server_without_a_tokenizer_is_asked_for_it_once(
    reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    with Engine(turns(writes(ANSWERS)), dialect=PLAIN) as engine:
        engine.instead["/tokenize"] = reply
        async with serving(engine, idle_timeout_s=1.0 if reply is HANG_BEFORE_HEADERS else 60.0) as server:
            with caplog.at_level("INFO", "agent.engines.controls"):
                for _ in range(3):
                    await ask(server, "<TURN>")
        assert engine.asked("/tokenize") == 2
        assert {request.text for request in engine.completions} == {"<TURN>"}
    assert caplog.messages == [
        f"{server.address} tells no tokens: only the known control strings are escaped"
    ]


async def test_a_tokenizer_that_is_not_there_yet_is_looked_for_again() -> None:
    with Engine(turns(writes(ANSWERS)), dialect=replace(VLLM, tokenizer=MARKED)) as engine:
        engine.instead["/tokenize"] = fails(503)
        async with serving(engine) as server:
            await ask(server, "<TURN>")
            engine.instead.clear()
            await ask(server, "<TURN>")
        assert [request.text for request in engine.completions] == ["<TURN>", "&lt;TURN>"]


async def test_a_tokenizer_that_answered_before_and_fails_is_a_typed_failure() -> None:
    with Engine(turns(writes(ANSWERS)), dialect=replace(VLLM, tokenizer=MARKED)) as engine:
        async with serving(engine) as server:
            await ask(server, "<TURN>")
            engine.instead["/tokenize"] = fails(500)
            with pytest.raises(EngineError) as raised:
                await ask(server, "<other>")
            assert raised.value.fault == "unavailable"
            engine.instead.clear()
            await ask(server, "<other>")


async def test_the_configured_tokenizer_is_asked_where_the_server_has_none(tmp_path: Path) -> None:
    family = next(family for family in FAMILIES if family.name == "gemma-3")
    transformer(family).save_pretrained(tmp_path)
    settings = EngineSettings(engine="openai", model="tiny", tokenizer=str(tmp_path))
    with Engine(turns(writes(ANSWERS)), dialect=PLAIN) as engine:
        settings.base_url = HttpUrl(engine.base_url)
        server = OpenAICompatible().chat_model(settings)
        try:
            await ask(server, "<h1> <b> [1] <i> <start_of_image>")
        finally:
            await server.aclose()
        assert engine.asked("/tokenize") == 0
        assert engine.completions[0].text == "&lt;h1> &lt;b> [1] <i> &lt;start_of_image>"


async def test_a_configured_tokenizer_that_is_not_there_is_a_typed_failure(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be loaded") as raised:
        await TokenizerFiles(str(tmp_path)).is_token("<s>")
    assert raised.value.fault == "refused"


known = st.sampled_from([*CONTROLS, *MARKED.strings, "<", ">", "[", "]", "[1]", "<think>"])
pieces = st.one_of(known, texts.fragments)


@given(st.lists(pieces, max_size=10).map("".join))
async def test_what_was_told_to_be_a_token_is_gone_and_the_rest_stays(text: str) -> None:
    told: list[str] = []

    async def is_token(string: str) -> bool:
        told.append(string)
        return len(string) % 2 == 0

    controls = ControlStrings(is_token)
    broken = await controls.broken(text)
    assert len(told) == len(set(told))
    assert {string for _, string in marked_up(text)} == set(told)
    assert not any(len(string) % 2 == 0 for _, string in marked_up(broken) if string in told)
    if all(len(string) % 2 for string in told):
        assert broken == text


async def test_what_is_remembered_is_bounded() -> None:
    async def is_token(string: str) -> bool:
        return False

    controls = ControlStrings(is_token, most_known=10)
    for number in range(100):
        await controls.broken(f"<a{number}>")
        assert len(controls) <= 11
