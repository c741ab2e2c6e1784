import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import prompts
from agent.driver import Event, drive
from agent.engines.errors import EngineError
from agent.episode import Episode
from agent.policy import Chunk
from agent.trajectory import (
    Answer,
    AnswerDelta,
    FinishReason,
    Information,
    Invalid,
    Limits,
    Search,
    Segment,
    Thought,
    Trajectory,
)
from index.documents import Passage
from tests.agent import texts

Item = str | Chunk | float | Exception
"""Text in one chunk, a chunk, a pause in seconds, or a failure."""

TEA = Passage("tea", "I drink green tea.")
DOG = Passage("dog", "Rex is our dog.")


class Writes:
    """A policy that writes the given turns, and then nothing."""

    name = "writes"

    def __init__(self, *turns: Sequence[Item]) -> None:
        self._turns = iter(turns)
        self.budgets: list[int] = []
        self.prompts: list[str] = []
        self.closed = 0
        self.pausing = asyncio.Event()

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        self.budgets.append(max_tokens)
        self.prompts.append(episode.prompt)
        try:
            for item in next(self._turns, ()):
                match item:
                    case str():
                        yield Chunk(item, tokens=1)
                    case Chunk():
                        yield item
                    case float():
                        self.pausing.set()
                        await asyncio.sleep(item)
                    case Exception():
                        raise item
        finally:
            self.closed += 1

    async def check(self) -> str:
        return ""

    async def aclose(self) -> None:
        pass


class Finds:
    """A searcher that returns the given results, each after a pause."""

    def __init__(self, *results: Sequence[Passage] | Exception, pause: float = 0) -> None:
        self._results = iter(results)
        self._pause = pause
        self.pausing = asyncio.Event()
        self.calls: list[tuple[str, int, frozenset[tuple[str, int]]]] = []

    async def __call__(self, one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
        self.calls.append((one.query, k, frozenset(exclude)))
        self.pausing.set()
        await asyncio.sleep(self._pause)
        result = next(self._results, ())
        if isinstance(result, Exception):
            raise result
        return result


async def run(
    policy: Writes, search: Finds | None = None, limits: Limits | None = None
) -> tuple[Trajectory, list[Event]]:
    episode = Episode("What do I drink?", limits=limits)
    events = [event async for event in drive(episode, policy, search or Finds())]
    return episode.trajectory, events


async def test_steps_come_as_they_happen_and_make_the_trajectory() -> None:
    policy = Writes(
        ["<think>a</th", "ink><search>te", "a</search>"],
        ["<think>b</think><answer>Green ", "tea [1].</answer>"],
    )
    search = Finds([TEA, DOG])
    trajectory, events = await run(policy, search)
    assert [event for event in events if not isinstance(event, AnswerDelta)] == list(trajectory.steps)
    assert [type(step) for step in trajectory.steps] == [Thought, Search, Information, Thought, Answer]
    assert "".join(event.text for event in events if isinstance(event, AnswerDelta)) == "Green tea [1]."
    assert trajectory.finish_reason == "answered"
    assert trajectory.policy_tokens == 5
    assert search.calls == [("tea", 5, frozenset())]
    assert policy.closed == 2


async def test_the_policy_continues_the_transcript_so_far() -> None:
    policy = Writes(["<search>tea</search>"], ["<answer>Tea.</answer>"])
    trajectory, _ = await run(policy, Finds([TEA]))
    assert policy.prompts[1].startswith(policy.prompts[0] + "<search>tea</search>\n<information>")
    assert trajectory.transcript == policy.prompts[1] + "<answer>Tea.</answer>"


async def test_every_search_leaves_out_what_was_read_and_fits_the_limits() -> None:
    policy = Writes(*[[f"<search>{word}</search>"] for word in "abc"], ["<answer>Tea.</answer>"])
    search = Finds([TEA], [DOG, Passage("x", "x")])
    limits = Limits(top_k=2, max_documents=3)
    trajectory, _ = await run(policy, search, limits)
    assert search.calls == [("a", 2, frozenset()), ("b", 2, frozenset({TEA.key}))]
    assert trajectory.finish_reason == "max_searches"
    assert len(trajectory.documents_read) == 3


async def test_the_rest_of_the_last_chunk_is_not_read_after_an_action() -> None:
    policy = Writes(
        ["<search>tea</search><search>dog</search>", "<answer>no</answer>"], ["<answer>Tea.</answer>"]
    )
    search = Finds([TEA])
    trajectory, _ = await run(policy, search)
    assert [call[0] for call in search.calls] == ["tea"]
    assert trajectory.answer is not None
    assert trajectory.answer.text == "Tea."


async def test_tokens_are_counted_over_all_turns_and_end_the_episode() -> None:
    policy = Writes(
        [Chunk("<think>a</think>", 4), Chunk("<search>tea</search>", 3)],
        [Chunk("<answer>Green ", 2), Chunk("tea", 1), Chunk("never", 1)],
    )
    trajectory, events = await run(policy, Finds([TEA]), Limits(max_tokens=10))
    assert policy.budgets == [10, 3]
    assert policy.closed == 2
    assert (trajectory.finish_reason, trajectory.policy_tokens) == ("max_tokens", 10)
    assert trajectory.answer is not None
    assert trajectory.answer.text == "Green tea"
    assert "".join(event.text for event in events if isinstance(event, AnswerDelta)) == "Green tea"


async def test_an_answer_that_ends_with_the_last_token_counts_as_answered() -> None:
    policy = Writes([Chunk("<answer>Tea.</answer>", 10, "length")])
    trajectory, _ = await run(policy, limits=Limits(max_tokens=10))
    assert trajectory.finish_reason == "answered"


async def test_an_engine_that_stops_for_length_ends_the_episode() -> None:
    trajectory, _ = await run(Writes([Chunk("<answer>Green tea and </an", 3, "length"), "more</answer>"]))
    assert trajectory.finish_reason == "max_tokens"
    assert trajectory.answer is not None
    assert trajectory.answer.text == "Green tea and"


async def test_no_tokens_at_all_end_the_episode_before_the_policy_writes() -> None:
    policy = Writes(["<answer>Tea.</answer>"])
    trajectory, events = await run(policy, limits=Limits(max_tokens=0))
    assert (trajectory.finish_reason, events, policy.prompts) == ("max_tokens", [], [])


@pytest.mark.parametrize("finish", ["stop", None])
async def test_a_policy_that_stops_without_an_action_makes_the_turn_invalid(finish: str | None) -> None:
    chunk = Chunk("<think>a</think>", 1, "stop" if finish else None)
    trajectory, _ = await run(Writes([chunk]))
    assert (trajectory.finish_reason, trajectory.detail) == ("invalid", "no_action")


async def test_the_deadline_cuts_the_policy_off_and_keeps_the_partial_answer() -> None:
    policy = Writes(["<think>a</think><answer>Green ", 30.0, "tea</answer>"])
    trajectory, _ = await run(policy, limits=Limits(deadline_ms=300))
    assert trajectory.finish_reason == "deadline"
    assert trajectory.answer is not None
    assert trajectory.answer.text == "Green"
    assert policy.closed == 1
    assert trajectory.total_ms >= 300


async def test_the_deadline_ends_a_search() -> None:
    trajectory, _ = await run(Writes(["<search>tea</search>"]), Finds(pause=30), Limits(deadline_ms=40))
    assert trajectory.finish_reason == "deadline"
    assert isinstance(trajectory.steps[-1], Search)
    assert trajectory.search_ms > 10


async def test_near_the_deadline_the_policy_is_asked_to_answer() -> None:
    policy = Writes(["<search>tea</search>"], ["<answer>Tea.</answer>"])
    # Three quarters of the deadline pass during the search, and the last one is left for the answer.
    episode = created_ago(44.8, Limits(deadline_ms=60_000))
    async for _ in drive(episode, policy, Finds([TEA], pause=0.3)):
        pass
    assert prompts.ANSWER_NOW in policy.prompts[1]
    assert episode.finish_reason == "answered"


def created_ago(seconds: float, limits: Limits | None = None, first_query: str | None = None) -> Episode:
    """An episode that was created this long ago, by its own clock."""
    times = iter([0.0])
    return Episode("q", limits=limits, first_query=first_query, clock=lambda: next(times, seconds))


async def test_the_deadline_counts_from_the_creation_of_the_episode() -> None:
    episode = created_ago(59.96, Limits(deadline_ms=60_000))
    async for _ in drive(episode, Writes(["<answer>Green ", 30.0]), Finds()):
        pass
    assert episode.finish_reason == "deadline"
    assert episode.trajectory.answer is not None


async def test_an_episode_that_waited_past_its_deadline_is_not_begun() -> None:
    for first_query in (None, "tea"):
        episode = created_ago(70, first_query=first_query)
        policy, search = Writes([30.0, "<answer>Tea.</answer>"]), Finds(pause=30)
        async for _ in drive(episode, policy, search):
            pass
        assert episode.finish_reason == "deadline"
        assert episode.steps == []
        assert len(policy.prompts) + len(search.calls) == 1


async def test_near_the_deadline_of_an_old_episode_the_policy_is_asked_to_answer() -> None:
    for age, asked in ((40.0, False), (50.0, True)):
        episode = created_ago(age)
        policy = Writes(["<search>tea</search>"], ["<answer>Tea.</answer>"])
        async for _ in drive(episode, policy, Finds([TEA])):
            pass
        assert (prompts.ANSWER_NOW in policy.prompts[1]) == asked


async def test_a_search_that_is_pending_at_the_start_is_looked_up_first() -> None:
    episode = Episode("What do I drink?", first_query="green tea")
    policy, search = Writes(["<answer>Tea [1].</answer>"]), Finds([TEA, DOG])
    events = [event async for event in drive(episode, policy, search)]
    assert search.calls == [("green tea", 5, frozenset())]
    assert isinstance(events[0], Information)
    assert [read.passage for read in events[0].passages] == [TEA, DOG]
    assert "[1] I drink green tea." in policy.prompts[0]
    assert [event for event in events if not isinstance(event, AnswerDelta)] == episode.steps
    assert episode.finish_reason == "answered"


@pytest.mark.parametrize("reason", ["policy_error", "cancelled", "invalid"])
@pytest.mark.parametrize("first_query", [None, "tea"])
async def test_an_episode_that_is_over_is_left_as_it_is(
    reason: FinishReason, first_query: str | None
) -> None:
    episode = Episode("q", first_query=first_query)
    episode.finish(reason, "before it began")
    before = episode.trajectory
    policy, search = Writes(["<answer>Tea.</answer>"]), Finds([TEA])
    assert [event async for event in drive(episode, policy, search)] == []
    assert episode.trajectory == before
    assert (policy.prompts, search.calls) == ([], [])


async def test_a_turn_that_the_policy_calls_invalid_ends_the_episode_with_its_reason() -> None:
    policy = Writes(["<think>a</think>", Chunk("", 3, "stop", invalid="unknown_tool"), "never"])
    trajectory, events = await run(policy)
    assert [type(event) for event in events] == [Thought, Invalid]
    assert events[-1] == trajectory.steps[-1]
    assert isinstance(events[-1], Invalid)
    assert events[-1].reason == "unknown_tool"
    assert (trajectory.finish_reason, trajectory.detail) == ("invalid", "unknown_tool")
    assert (trajectory.policy_tokens, policy.closed) == (4, 1)


async def test_what_came_with_an_invalid_turn_is_still_read() -> None:
    policy = Writes([Chunk("<think>a</think><answer>So", 3, "length", (1, 2, 3), 9, "malformed_call")])
    trajectory, events = await run(policy)
    assert events[:2] == [trajectory.steps[0], AnswerDelta("So")]
    assert trajectory.finish_reason == "invalid"
    assert trajectory.prompt_tokens == 9
    assert trajectory.segments[-1] == Segment("policy", "<think>a</think><answer>So", (1, 2, 3))


async def test_an_invalid_turn_after_a_search_does_not_undo_what_was_read() -> None:
    policy = Writes(["<search>tea</search>"], [Chunk("", invalid="malformed_call")])
    trajectory, _ = await run(policy, Finds([TEA]))
    assert [step.kind for step in trajectory.steps] == ["search", "information", "invalid"]


async def test_the_tokens_that_were_read_are_added_up_over_the_turns() -> None:
    policy = Writes(
        [Chunk("<think>a</think>", 2), Chunk("<search>tea</search>", 3, "stop", prompt_tokens=100)],
        [Chunk("<answer>Tea", 1, prompt_tokens=20), Chunk(".</answer>", 1, "stop", prompt_tokens=130)],
    )
    trajectory, _ = await run(policy, Finds([TEA]))
    assert (trajectory.prompt_tokens, trajectory.policy_tokens) == (250, 7)


async def test_the_sampled_tokens_of_every_turn_are_kept() -> None:
    policy = Writes(
        [Chunk("<search>te", 2, None, (1, 2)), Chunk("a</search>\n", 2, "stop", (3, 4))],
        [Chunk("", 1, None, (5,)), Chunk("<answer>Tea.</answer>", 1, "stop", (6,))],
    )
    trajectory, _ = await run(policy, Finds([TEA]))
    mine = [segment for segment in trajectory.segments if segment.author == "policy"]
    assert mine == [
        Segment("policy", "<search>tea</search>", (1, 2, 3, 4)),
        Segment("policy", "<answer>Tea.</answer>", (5, 6)),
    ]


async def test_the_callers_own_time_does_not_interrupt_the_caller() -> None:
    episode = Episode("q", limits=Limits(deadline_ms=20))
    seen = []
    async for event in drive(episode, Writes(["<think>a</think>", "<answer>Tea.</answer>"]), Finds()):
        await asyncio.sleep(0.03)
        seen.append(event)
    assert episode.finish_reason == "answered"
    assert len(seen) == 3


async def test_a_policy_that_fails_ends_the_episode_with_its_fault() -> None:
    policy = Writes(["<think>a</think>", EngineError("broken_stream", "the stream broke")])
    trajectory, events = await run(policy)
    assert (trajectory.finish_reason, trajectory.fault) == ("policy_error", "broken_stream")
    assert trajectory.detail == "the stream broke"
    assert events == list(trajectory.steps)


@pytest.mark.parametrize("error", [OSError("the disk is gone"), TimeoutError("the store is slow")])
async def test_a_search_that_fails_raises_and_closes_the_episode(error: Exception) -> None:
    episode = Episode("q")
    with pytest.raises(type(error), match=str(error)):
        async for _ in drive(episode, Writes(["<search>tea</search>"]), Finds(error)):
            pass
    assert episode.finish_reason == "cancelled"


async def test_a_caller_that_leaves_closes_the_generation() -> None:
    episode, policy = Episode("q"), Writes(["<think>a</think>", 30.0, "<answer>Tea.</answer>"])
    async with aclosing(drive(episode, policy, Finds())) as events:
        async for _ in events:
            break
    assert (episode.finish_reason, policy.closed) == ("cancelled", 1)


@pytest.mark.parametrize("where", ["policy", "search"])
async def test_a_cancelled_task_closes_the_generation(where: str) -> None:
    episode = Episode("q")
    turn: list[Item] = ["<think>a</think>", 30.0] if where == "policy" else ["<search>tea</search>"]
    policy, search = Writes(turn), Finds(pause=30)

    async def consume() -> None:
        async for _ in drive(episode, policy, search):
            pass

    task = asyncio.create_task(consume())
    await (policy if where == "policy" else search).pausing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (episode.finish_reason, policy.closed) == ("cancelled", 1)


items = st.one_of(
    texts.turns,
    st.builds(Chunk, texts.fragments, st.integers(0, 9), st.sampled_from([None, None, "stop", "length"])),
    st.just(EngineError("timeout", "silent")),
)
limits = st.builds(Limits, st.integers(0, 3), st.integers(1, 3), st.integers(0, 4), st.integers(0, 30))


@settings(deadline=None)
@given(st.lists(st.lists(items, max_size=4), max_size=5), limits)
def test_every_episode_ends_with_one_finish_reason(turns: list[list[Item]], limits: Limits) -> None:
    policy, search = Writes(*turns), Finds([TEA, DOG], [], [Passage("x", "x")])
    trajectory, events = asyncio.run(run(policy, search, limits))
    assert trajectory.finish_reason is not None
    assert [event for event in events if not isinstance(event, AnswerDelta)] == list(trajectory.steps)
    assert trajectory.searches <= limits.max_searches
    assert len(trajectory.documents_read) <= limits.max_documents
    searches = [step for step in trajectory.steps if isinstance(step, Search)]
    assert len(searches) == trajectory.searches
    assert len(search.calls) == sum(not step.problem for step in searches)
    if trajectory.finish_reason == "answered":
        assert trajectory.answer is not None
