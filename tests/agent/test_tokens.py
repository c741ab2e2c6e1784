"""Transcripts as token ids: sampled tokens are kept, other text is encoded once, and prompts fit."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import prompts
from agent.driver import drive
from agent.engines.errors import EngineError
from agent.engines.openai import OpenAIServer
from agent.episode import Episode
from agent.policies.tags import TagsPolicy
from agent.tokens import estimated, make_room, prompt_ids
from agent.trajectory import Answer, Limits, Search, Segment, Trajectory
from index.documents import Passage
from tests.agent import texts
from tests.engine import (
    BYTES,
    DONE,
    HANG_BEFORE_HEADERS,
    LLAMA_CPP,
    PLAIN,
    VLLM,
    Bytes,
    Dialect,
    Engine,
    Piece,
    Reply,
    Request,
    Script,
    event,
    fails,
    samples,
    turns,
    writes,
)

QUESTION = "Which café did I like?"
INSTRUCTIONS = "Answer from the history."
SEARCH, ANSWER = "<think>a</think><search>café</search>", "<think>b</think><answer>Tea 🌊 [1].</answer>"
NOTES = [Passage(f"d{i}", f"Note {i}: the café by the sea. " + "🌊" * i) for i in range(12)]


class Encoder:
    """Encodes bytes and records the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []

    async def __call__(self, text: str, opening: bool) -> list[int]:
        self.calls.append((text, opening))
        return BYTES.encode(text, opening)


def begun(limits: Limits | None = None, first_query: str | None = None) -> Episode:
    return Episode(QUESTION, INSTRUCTIONS, limits, first_query=first_query, clock=lambda: 0.0)


def sampled(text: str) -> list[int]:
    """Other tokens than the encoder's."""
    return [1000 + byte for byte in text.encode()]


def after_searches(*shown: Sequence[Passage]) -> Episode:
    """An episode after its searches, whose next turn is due."""
    episode = begun()
    for passages in shown:
        episode.feed(SEARCH, sampled(SEARCH))
        episode.provide(passages)
    return episode


async def test_what_was_sampled_stays_and_what_was_read_is_encoded_once() -> None:
    episode, encode = begun(), Encoder()
    ids = await prompt_ids(episode, encode)
    opening = episode.segments[0].text
    assert ids == BYTES.encode(opening, opening=True)
    blocks = []
    for passage in NOTES[:3]:
        episode.feed(SEARCH, sampled(SEARCH))
        blocks.append(episode.provide([passage]))
        ids += sampled(SEARCH) + list(blocks[-1].encode())
        assert await prompt_ids(episode, encode) == ids
        assert await prompt_ids(episode, encode) == ids
    assert encode.calls == [(opening, True), *((block, False) for block in blocks)]
    assert ids.count(Bytes.bos) == 1
    assert [segment.token_ids is None for segment in episode.trajectory.segments] == [False] * 7


@given(st.lists(st.tuples(texts.turns, st.lists(st.integers(0, 2**31), max_size=5)), max_size=4))
def test_the_tokens_of_any_turn_stay_as_they_were_sampled(written: list[tuple[str, list[int]]]) -> None:
    episode, encode, kept = begun(), Encoder(), list[tuple[int, ...]]()
    for text, ids in written:
        if episode.finish_reason is None:
            half = len(text) // 2
            episode.feed(text[:half])
            if episode.pending is None and episode.finish_reason is None:
                episode.feed(text[half:], ids)
                if ids:
                    kept.append(tuple(ids))
            episode.end_turn()
        if episode.pending is not None:
            episode.provide(NOTES[:1])
    mine = [segment.token_ids for segment in episode.segments if segment.author == "policy"]
    assert [ids for ids in mine if ids is not None] == kept
    if None not in mine:
        ids = asyncio.run(prompt_ids(episode, encode))
        parts = [segment.token_ids or () for segment in episode.segments]
        assert ids == [number for part in parts for number in part]
    trajectory = episode.trajectory
    assert Trajectory.from_dict(json.loads(json.dumps(trajectory.to_dict()))) == trajectory


def test_what_the_policy_wrote_is_never_encoded() -> None:
    episode = after_searches(NOTES[:1])
    with pytest.raises(ValueError, match="never encoded again"):
        episode.encode(1, [1])
    episode.encode(0, [1])
    assert episode.segments[0].token_ids == (1,)


async def test_only_the_block_that_lost_a_passage_is_encoded_again() -> None:
    episode, encode = after_searches(NOTES[:2], NOTES[2:3]), Encoder()
    await prompt_ids(episode, encode)
    encode.calls.clear()
    assert episode.drop_oldest_passage()
    await prompt_ids(episode, encode)
    assert encode.calls == [(episode.segments[2].text, False)]


async def room(episode: Episode, context: int | None, max_tokens: int) -> int:
    async def count() -> int:
        return len(episode.prompt.encode())

    return await make_room(episode, context, max_tokens, count)


def shown(episode: Episode) -> list[int]:
    """Numbers of the passages in the transcript."""
    return [read.number for read in episode.reads if f"\n[{read.number}] " in episode.prompt]


async def test_a_context_of_unknown_length_has_room_for_everything() -> None:
    async def count() -> int:
        raise AssertionError("nobody needs to know")

    assert await make_room(after_searches(NOTES), None, 77, count) == 77


async def test_passages_are_dropped_the_oldest_first_and_no_more_than_needed() -> None:
    long = [Passage(f"d{i}", f"Note {i}. " * 9) for i in range(6)]
    for lost in range(7):
        episode = after_searches(long[:3], long[3:])
        for _ in range(lost):
            episode.drop_oldest_passage()
        context = len(episode.prompt.encode()) + 20
        again = after_searches(long[:3], long[3:])
        assert await room(again, context, 20) == 20
        assert shown(again) == list(range(1 + lost, 7))
        assert again.passages_dropped == again.trajectory.passages_dropped == lost
        assert again.prompt == episode.prompt


async def test_dropped_passages_are_counted_in_the_log_and_nothing_is_quoted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = [Passage(f"d{i}", f"Note {i}. " * 9) for i in range(3)]
    episode = after_searches(long)
    context = len(episode.prompt.encode()) - 5
    with caplog.at_level("INFO", "agent.tokens"):
        await room(episode, context + 100, 20)
        await room(episode, context, 20)
    assert caplog.messages == [f"the context of {context} tokens is full: dropped 1 passages, oldest first"]


async def test_an_information_block_that_lost_all_says_so_and_asks_as_before() -> None:
    episode = begun(Limits(max_searches=1))
    episode.feed(SEARCH, sampled(SEARCH))
    episode.provide(NOTES[:1])
    assert episode.drop_oldest_passage()
    assert not episode.drop_oldest_passage()
    block = f"\n<information>\n{prompts.LEFT_OUT}\n{prompts.ANSWER_NOW}\n</information>\n"
    assert episode.segments[-1] == Segment("environment", block)
    assert episode.segments[1].token_ids == tuple(sampled(SEARCH))


async def test_a_search_that_found_nothing_has_nothing_to_drop() -> None:
    episode = after_searches([])
    assert not episode.drop_oldest_passage()
    assert prompts.NOTHING_FOUND in episode.prompt


async def test_instructions_and_question_are_never_dropped() -> None:
    episode = after_searches(NOTES)
    opening = episode.segments[0]
    assert await room(episode, 1, 20) == 0
    assert episode.segments[0] == opening
    assert shown(episode) == []


async def test_a_question_that_does_not_fit_is_refused() -> None:
    for episode in (begun(), begun(first_query=QUESTION)):
        if episode.pending:
            episode.provide(NOTES)
        with pytest.raises(EngineError, match=r"the question does not fit .* context of 40 tokens") as raised:
            await room(episode, 40, 20)
        assert raised.value.fault == "refused"
        assert QUESTION not in str(raised.value)


async def test_what_was_found_for_the_question_makes_room_before_the_question_is_refused() -> None:
    episode = begun(first_query=QUESTION)
    context = len(episode.prompt.encode()) + 120
    episode.provide(NOTES)
    assert 0 < await room(episode, context, 2048) <= context // 4
    assert shown(episode) == []


async def test_a_context_that_the_policy_has_filled_has_no_room() -> None:
    episode = after_searches([])
    assert await room(episode, len(episode.prompt.encode()), 20) == 0
    assert await room(episode, len(episode.prompt.encode()) + 3, 20) == 3


def test_a_passage_that_was_dropped_can_be_cited() -> None:
    episode = after_searches(NOTES[:2])
    while episode.drop_oldest_passage():
        pass
    answer = episode.feed("<think>b</think><answer>By the sea [2].</answer>")
    assert isinstance(answer, Answer)
    assert [citation.document_id for citation in answer.citations] == ["d1"]
    assert episode.trajectory.documents_read == ("d0", "d1")
    assert {("d0", 0), ("d1", 0)} == episode.passages_read


blocks = st.lists(st.lists(st.sampled_from(NOTES), max_size=4), max_size=4)


@given(blocks, st.integers(1, 1200), st.integers(0, 400))
def test_whatever_is_left_fits_and_no_passage_is_dropped_in_vain(
    found: list[list[Passage]], context: int, max_tokens: int
) -> None:
    episode, before = after_searches(*found), after_searches(*found)
    opening = len(episode.segments[0].text.encode())
    try:
        left = asyncio.run(room(episode, context, max_tokens))
    except EngineError:
        assert not found
        assert opening >= context
        return
    size = len(episode.prompt.encode())
    assert 0 <= left <= max_tokens
    assert left == 0 or size + left <= context
    assert left == max_tokens or shown(episode) == [] or left >= context // 4
    for _ in range(episode.passages_dropped - 1):
        before.drop_oldest_passage()
    if episode.passages_dropped:
        wanted = min(max_tokens, max(context // 4, 1))
        assert context - len(before.prompt.encode()) < wanted, "one less would have been enough"


@given(st.text(), st.text())
def test_an_estimate_grows_with_the_text_and_is_0_for_none(text: str, more: str) -> None:
    assert estimated("") == 0
    assert estimated(text) >= len(text) / 3
    assert estimated(text) <= estimated(text + more) <= estimated(text) + estimated(more)


# Through an engine.


async def find(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
    return [note for note in NOTES if note.key not in exclude][:k]


@asynccontextmanager
async def writing(engine: Engine, *, idle: float = 5.0, retries: int = 0) -> AsyncIterator[TagsPolicy]:
    async def sleep(seconds: float) -> None:
        pass

    server = OpenAIServer(engine.base_url, "tiny", idle_timeout_s=idle, retries=retries, sleep=sleep)
    policy = TagsPolicy(server)
    try:
        yield policy
    finally:
        await policy.aclose()


async def run(policy: TagsPolicy, limits: Limits | None = None) -> Trajectory:
    episode = Episode(QUESTION, INSTRUCTIONS, limits)
    async for _ in drive(episode, policy, find):
        pass
    return episode.trajectory


async def ask(script: Script, limits: Limits | None = None) -> tuple[Trajectory, list[Request]]:
    with Engine(script, dialect=VLLM) as engine:
        async with writing(engine) as policy:
            await policy.check()
            trajectory = await run(policy, limits)
        return trajectory, engine.completions


ids_of = BYTES.encode


async def test_the_transcript_travels_as_the_tokens_that_were_sampled() -> None:
    odd = [7, 7, 7]
    trajectory, requests = await ask(turns(samples((SEARCH, odd)), writes(ANSWER)))
    opening, _, block, _ = (segment.text for segment in trajectory.segments)
    assert [segment.token_ids for segment in trajectory.segments] == [
        tuple(ids_of(opening, opening=True)),
        tuple(odd),
        tuple(ids_of(block, opening=False)),
        tuple(ids_of(ANSWER, opening=False)),
    ]
    prompts_sent = [request.json["prompt"] for request in requests]
    assert prompts_sent == [
        ids_of(opening, opening=True),
        ids_of(opening, opening=True) + odd + ids_of(block, opening=False),
    ]
    assert trajectory.finish_reason == "answered"
    assert trajectory.prompt_tokens == sum(map(len, prompts_sent))
    assert trajectory.policy_tokens == len(odd) + len(ANSWER.encode())


async def test_token_ids_need_no_known_context() -> None:
    with Engine(turns(writes(ANSWER)), dialect=replace(VLLM, context=None, tells_context=())) as engine:
        async with writing(engine) as policy:
            trajectory = await run(policy)
        assert engine.completions[0].json["prompt"] == ids_of(trajectory.segments[0].text, opening=True)
    assert trajectory.finish_reason == "answered"


async def test_a_token_that_reaches_past_the_stop_string_stays_whole() -> None:
    tail = ord("\n")
    reaching = samples(
        ("<think>a</think><search>caf", b"..."), ("é</search>", [*"é</search>".encode(), tail])
    )
    trajectory, requests = await ask(turns(reaching, writes(ANSWER)))
    assert trajectory.segments[1].text == SEARCH
    assert (trajectory.segments[1].token_ids or ())[-1] == tail
    assert requests[1].text.endswith("</search>\n" + trajectory.segments[2].text)


async def test_half_a_character_has_tokens_before_it_has_text() -> None:
    fox = "🦊".encode()
    halves = samples(("<think>", b"<think>"), ("", fox[:2]), ("🦊</think>", fox[2:] + b"</think>"), ("", [2]))
    trajectory, _ = await ask(turns(halves))
    assert trajectory.segments[1] == Segment(
        "policy", "<think>🦊</think>", (*"<think>🦊</think>".encode(), 2)
    )
    assert (trajectory.finish_reason, trajectory.detail) == ("invalid", "no_action")


async def test_the_tokens_of_a_turn_that_a_limit_cut_off_are_kept_as_far_as_it_got() -> None:
    hangs = Reply((Piece("<think>a</think><answer>Half"), "hang"))
    trajectory, _ = await ask(turns(hangs), Limits(deadline_ms=1_500))
    assert trajectory.finish_reason == "deadline"
    assert trajectory.segments[1].token_ids == tuple(b"<think>a</think><answer>Half")
    trajectory, requests = await ask(turns(writes(ANSWER)), Limits(max_tokens=30))
    assert requests[0].json["max_tokens"] == 30
    assert (trajectory.finish_reason, trajectory.policy_tokens) == ("max_tokens", 30)
    assert trajectory.segments[1].token_ids == tuple(ANSWER.encode()[:30])


async def test_episodes_at_the_same_time_keep_their_tokens_apart() -> None:
    def script(request: Request) -> Reply:
        if request.turn:
            return writes(ANSWER)
        who = request.text.partition("Question: ")[2].strip()
        return samples(("<search>", [int(who)] * 3), (f"{who}</search>", [int(who)]))

    async def one(number: int) -> None:
        episode = Episode(str(number), INSTRUCTIONS)
        async for _ in drive(episode, policy, find):
            pass
        assert episode.segments[1].token_ids == (number,) * 4
        assert episode.finish_reason == "answered"

    with Engine(script, dialect=VLLM) as engine:
        async with writing(engine) as policy:
            await asyncio.gather(*map(one, range(24)))
        assert engine.asked("/tokenize") == 1 + 24 * 2, (
            "one for the probe, and one for each text that was read"
        )


MANY = turns(
    *(writes(f"<think>{'so ' * 9}</think><search>café {i}</search>") for i in range(4)), writes(ANSWER)
)


async def test_every_prompt_leaves_room_and_keeps_instructions_and_question() -> None:
    ends = list[str]()
    with Engine(MANY, dialect=VLLM) as engine:
        async with writing(engine) as policy:
            for context in range(60, 2800, 80):
                engine.dialect = replace(VLLM, context=context)
                engine.requests.clear()
                await policy.check()
                trajectory = await run(policy, Limits(top_k=3))
                opening = prompts.opening(QUESTION, INSTRUCTIONS, 4)
                for request in engine.completions:
                    assert 0 < request.json["max_tokens"] <= context - len(request.json["prompt"])
                    assert request.json["prompt"][: len(opening.encode()) + 1] == ids_of(
                        opening, opening=True
                    )
                if trajectory.finish_reason == "policy_error":
                    assert f"does not fit into the policy's context of {context} tokens" in trajectory.detail
                    assert engine.completions == []
                    assert len(opening.encode()) + 1 >= context
                dropped = ", passages dropped" if trajectory.passages_dropped else ""
                ends.append(f"{trajectory.finish_reason}{dropped}")
    order = [
        "policy_error",
        "max_tokens",
        "max_tokens, passages dropped",
        "answered, passages dropped",
        "answered",
    ]
    assert list(dict.fromkeys(ends)) == order


class Fours(Bytes):
    """One token for 4 bytes, like common models."""

    def encode(self, text: str, opening: bool) -> list[int]:
        return super().encode(text, opening)[::4]


async def test_a_text_whose_tokens_nobody_counts_fits_too() -> None:
    ends = set()
    with Engine(MANY) as engine:
        async with writing(engine) as policy:
            for context in range(20, 920, 80):
                engine.dialect = replace(LLAMA_CPP, takes_ids=False, context=context, tokenizer=Fours())
                await policy.check()
                trajectory = await run(policy, Limits(top_k=3))
                assert "answered 400" not in trajectory.detail
                ends.add((trajectory.finish_reason, trajectory.passages_dropped > 0))
    assert {("policy_error", False), ("answered", True), ("answered", False)} <= ends


async def test_a_context_that_the_server_does_not_tell_can_be_set() -> None:
    dialect = replace(LLAMA_CPP, takes_ids=False, context=None, tokenizer=Fours())
    with Engine(MANY, dialect=dialect) as engine:
        policy = TagsPolicy(OpenAIServer(engine.base_url, "tiny"), context=500)
        try:
            assert (await policy.check()).startswith("context 500 tokens")
            assert (await run(policy, Limits(top_k=3))).passages_dropped > 0
        finally:
            await policy.aclose()


def json_reply(body: bytes) -> Reply:
    return Reply((body,), content_type="application/json")


NO_TOKENS = {
    "fails": (fails(500), "unavailable"),
    "is a web page": (Reply((b"<html>Welcome</html>",), content_type="text/html"), "bad_reply"),
    "hangs": (HANG_BEFORE_HEADERS, "timeout"),
    "hangs after the headers": (Reply((b'{"tok', "hang"), content_type="application/json"), "timeout"),
    "dies": (Reply((b'{"tok', "cut"), content_type="application/json"), "broken_stream"),
    "sends no UTF-8": (json_reply(b'{"tokens": ["\xff"]}'), "bad_reply"),
    "sends very deep JSON": (json_reply(b'{"tokens": ' + b"[" * 100_000), "bad_reply"),
    "sends words": (json_reply(b'{"tokens": "abc"}'), "bad_reply"),
    "sends no numbers": (json_reply(b'{"tokens": [1, "a"]}'), "bad_reply"),
    "sends nothing": (json_reply(b'{"tokens": []}'), "bad_reply"),
    "sends a list": (json_reply(b"[1, 2]"), "bad_reply"),
}


@pytest.mark.parametrize(("reply", "fault"), NO_TOKENS.values(), ids=NO_TOKENS)
async def test_a_tokenizer_that_breaks_in_the_middle_of_an_episode_is_a_typed_policy_error(
    reply: Reply, fault: str
) -> None:
    with Engine(turns(writes(SEARCH), writes(ANSWER)), dialect=VLLM) as engine:

        async def break_it(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
            engine.instead["/tokenize"] = reply
            return NOTES[:1]

        async with writing(engine, idle=1.0 if fault == "timeout" else 60.0, retries=1) as policy:
            episode = Episode(QUESTION)
            async for _ in drive(episode, policy, break_it):
                pass
            assert len(engine.completions) == 1, episode.trajectory.detail
            engine.instead.clear()
            assert (await run(policy)).finish_reason == "answered"
    trajectory = episode.trajectory
    assert (trajectory.finish_reason, trajectory.fault) == ("policy_error", fault)
    assert engine.base_url in trajectory.detail
    assert trajectory.searches == 1


async def test_an_episode_goes_on_as_text_when_its_tokenizer_is_gone() -> None:
    with Engine(turns(writes(SEARCH), writes(ANSWER)), dialect=VLLM) as engine:

        async def take_it(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
            engine.instead["/tokenize"] = fails(404)
            return NOTES[:1]

        async with writing(engine) as policy:
            episode = Episode(QUESTION)
            async for _ in drive(episode, policy, take_it):
                pass
    assert episode.finish_reason == "answered"
    assert engine.completions[-1].json["prompt"].startswith(episode.segments[0].text)


async def test_another_model_at_the_same_address_is_used_if_none_was_named() -> None:
    served = ["old"]

    def script(request: Request) -> Reply:
        return MANY(request) if request.json["model"] in served else fails(404, "no such model")

    with Engine(script, models=served, dialect=VLLM) as engine:
        policy = TagsPolicy(OpenAIServer(engine.base_url, retries=0))
        try:
            assert (await run(policy)).finish_reason == "answered"
            served[:] = ["new"]
            assert (await run(policy)).finish_reason == "answered"
            assert policy.name == "openai:new"
        finally:
            await policy.aclose()


async def test_a_deadline_ends_a_tokenizer_that_hangs() -> None:
    with Engine(turns(writes(ANSWER)), dialect=VLLM) as engine:
        async with writing(engine) as policy:
            await policy.check()
            engine.instead["/tokenize"] = HANG_BEFORE_HEADERS
            assert (await run(policy, Limits(deadline_ms=100))).finish_reason == "deadline"


async def test_text_that_comes_without_its_tokens_is_a_bad_reply() -> None:
    trajectory, _ = await ask(turns(Reply((event("<search>tea"), event("", "stop"), DONE))))
    assert (trajectory.finish_reason, trajectory.fault) == ("policy_error", "bad_reply")
    assert "text without its tokens" in trajectory.detail


@pytest.mark.parametrize(("before", "after"), [(PLAIN, VLLM), (VLLM, PLAIN)], ids=["gained", "lost"])
async def test_an_episode_goes_on_when_its_server_is_replaced(before: Dialect, after: Dialect) -> None:
    with Engine(MANY, dialect=before) as engine:
        async with writing(engine) as policy:

            async def replace_it(
                one: Search, k: int, exclude: Collection[tuple[str, int]]
            ) -> Sequence[Passage]:
                engine.dialect = after
                await policy.check()
                return NOTES[:1]

            episode = Episode(QUESTION)
            async for _ in drive(episode, policy, replace_it):
                pass
        sent = engine.completions[1].json["prompt"]
    read = [segment.text for segment in episode.segments[:3]]
    # What an engine wrote that does not report its tokens is encoded like other text.
    assert sent == ("".join(read) if after is PLAIN else ids_of("".join(read), opening=True))
    assert episode.finish_reason == "answered"
    assert (episode.segments[1].token_ids is None) == (before is PLAIN)


async def test_an_engine_that_reads_tokens_but_reports_none_is_sent_the_tokens_of_each_segment() -> None:
    with Engine(turns(writes(SEARCH), writes(ANSWER)), dialect=LLAMA_CPP) as engine:
        async with writing(engine) as policy:
            trajectory = await run(policy)
        asked = [request.json for request in engine.requests if request.path == "/tokenize"][2:]
        sent = [request.json["prompt"] for request in engine.completions]
    opening, searched, block, answered = trajectory.segments
    assert [(one["content"], one["add_special"], one["parse_special"]) for one in asked] == [
        (opening.text, True, False),
        (searched.text, False, False),
        (block.text, False, False),
    ]
    assert sent == [
        ids_of(opening.text, opening=True),
        ids_of(opening.text + searched.text + block.text, opening=True),
    ]
    assert searched.token_ids is answered.token_ids is None
    assert block.token_ids == tuple(ids_of(block.text, opening=False))
    assert trajectory.finish_reason == "answered"
    assert trajectory.prompt_tokens == sum(map(len, sent))


turn_texts = st.lists(
    st.one_of(st.just(SEARCH), st.just(ANSWER), texts.turns.filter(bool)), min_size=1, max_size=4
)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(turn_texts, st.integers(200, 700)), min_size=1, max_size=3), st.integers(1, 9))
def test_whatever_the_model_writes_what_was_sampled_is_what_its_next_turn_reads(
    episodes: list[tuple[list[str], int]], size: int
) -> None:
    script = [turns(writes(ANSWER))]

    async def all_of_them() -> None:
        with Engine(lambda request: script[0](request), dialect=VLLM) as engine:
            async with writing(engine) as policy:
                for written, context in episodes:
                    clean = [text.encode(errors="replace").decode() for text in written]
                    script[0] = turns(*(writes(text, size=size) for text in clean))
                    engine.dialect = replace(VLLM, context=context)
                    engine.requests.clear()
                    await policy.check()
                    trajectory = await run(policy, Limits(max_searches=3, max_tokens=300))
                    assert trajectory.finish_reason != "policy_error"
                    kept = [ids.token_ids for ids in trajectory.segments if ids.author == "policy"]
                    assert None not in kept
                    for number, request in enumerate(engine.completions):
                        prompt = request.json["prompt"]
                        assert len(prompt) + request.json["max_tokens"] <= context
                        at = 0
                        for ids in kept[:number]:
                            assert ids is not None
                            at = _find(prompt, list(ids), at)
                    assert trajectory.policy_tokens <= 300

    asyncio.run(all_of_them())


def _find(prompt: list[int], ids: list[int], start: int) -> int:
    """The position after `ids` in `prompt`."""
    for at in range(start, len(prompt) - len(ids) + 1):
        if prompt[at : at + len(ids)] == ids:
            return at + len(ids)
    raise AssertionError("what was sampled is not in the prompt")
