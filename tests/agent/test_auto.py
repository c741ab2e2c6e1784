"""The choice among finished trajectories, for any of them; and work that is done together."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.auto import Chooser, cost_of, together
from agent.selecting import Selector
from agent.trajectory import Answer, FinishReason, Limits, Search, Trajectory
from index.profiles import Profiles
from index.searching import AsyncSearch
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.selector import ScriptedSelector

LIMITS = Limits(deadline_ms=60_000)


@st.composite
def pools(draw: st.DrawFn) -> list[tuple[Trajectory, float]]:
    """Trajectories with every kind of end, and the score that each would get."""
    made = []
    for number in range(draw(st.integers(2, 6))):
        reason = draw(st.sampled_from(get_args(FinishReason)))
        written = reason == "answered" or draw(st.booleans())
        steps = [Search("x")] * draw(st.integers(0, 2)) + [Answer(f"answer {number}")] * written
        trajectory = Trajectory(
            "What?",
            LIMITS,
            steps=tuple(steps),
            finish_reason=reason,
            prompt_tokens=draw(st.integers(0, 99)),
            policy_tokens=draw(st.integers(0, 99)),
            policy_ms=float(draw(st.integers(0, 99))),
        )
        made.append((trajectory, float(draw(st.integers(-2, 2)))))
    return made


def chooser_of(selector: Selector, folder: Path) -> Chooser:
    encoder = HashEncoder()
    profiles = Profiles(Store(f"sqlite:///{folder}/pr2.db", encoder.manifest), encoder)
    return Chooser(selector, AsyncSearch(profiles))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pool=pools())
def test_the_best_finished_answer_is_chosen_and_every_cost_is_counted(
    tmp_path: Path, pool: Sequence[tuple[Trajectory, float]]
) -> None:
    scores = {f"answer {number}": score for number, (_, score) in enumerate(pool)}
    members = [f"m{number}" for number in range(len(pool))]
    selector = ScriptedSelector("post", lambda _, output: scores[output], members)
    trajectories = [trajectory for trajectory, _ in pool]
    chosen = asyncio.run(chooser_of(selector, tmp_path).by_answers("ana", trajectories))
    selection = chosen.selection
    assert selection is not None
    assert selection.others is not None
    place = members.index(selection.retriever)
    assert replace(chosen, selection=None) == trajectories[place]
    finished = [n for n, one in enumerate(trajectories) if one.finish_reason == "answered"]
    assert [n for n, score in enumerate(selection.scores.values()) if score is not None] == finished
    if finished:
        assert place == max(finished, key=lambda n: pool[n][1])
    else:
        partial = [n for n, one in enumerate(trajectories) if one.answer]
        assert place == (partial or [0])[0]
    whole = cost_of(trajectories)
    assert selection.others.trajectories == len(pool) - 1
    assert (chosen.tokens_read, chosen.tokens_written) == (whole.prompt_tokens, whole.policy_tokens)
    assert selection.others.searches + chosen.searches == whole.searches


async def test_members_have_less_time_than_the_whole(tmp_path: Path) -> None:
    selector = ScriptedSelector("post", lambda *_: 0, ("a", "b"))
    given_: dict[str, int] = {}

    async def answer(member: str, limits: Limits) -> Trajectory:
        given_[member] = limits.deadline_ms
        return Trajectory("What?", limits, steps=(Answer(member),), finish_reason="answered")

    chosen = await chooser_of(selector, tmp_path).compete("ana", LIMITS, answer)
    assert given_ == {"a": 54_000, "b": 54_000}
    assert chosen.limits == LIMITS


@pytest.mark.parametrize("cancelled", [False, True])
async def test_work_that_is_done_together_ends_together(cancelled: bool) -> None:
    ended: list[str] = []
    started = asyncio.Event()

    async def waits(name: str) -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def fails() -> None:
        await started.wait()
        if cancelled:
            await asyncio.Event().wait()
        raise ValueError("broken")

    both: asyncio.Task[Any] = asyncio.ensure_future(together([waits("one"), fails(), waits("two")]))
    await started.wait()
    if cancelled:
        both.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else ValueError):
        await both
    assert sorted(ended) == ["one", "two"]
