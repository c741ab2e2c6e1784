"""The day that every prompt states."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import prompts
from agent.episode import Episode
from agent.methods import METHODS
from agent.planning import planning
from agent.policies.json import json_messages
from agent.policies.tools import chat_messages
from agent.trajectory import Limits, Message, PolicyProtocol, Today, Trajectory

QUESTION = "What did I do last week?"
TODAY = Today(date(2024, 5, 3), "Europe/Berlin")
SAID = "Today is Friday, 2024-05-03 (Europe/Berlin)."


def test_the_day_stands_behind_all_that_is_the_same_for_other_questions() -> None:
    said = (Message("user", "Hello!"),)
    episode = Episode(QUESTION, "Answer.", today=TODAY, conversation=said)
    assert episode.prompt == (
        "Answer.\nYou can search 4 times at the most.\n\n"
        f"Earlier in this conversation:\nuser: Hello!\n\n{SAID}\nQuestion: {QUESTION}\n\n"
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("protocol", prompts.BY_PROTOCOL)
def test_every_method_states_it_in_every_protocol(method: str, protocol: PolicyProtocol) -> None:
    episode = METHODS[method].begin(
        QUESTION, Limits(), today=TODAY, protocol=protocol, planner_protocol=protocol
    )
    for begun in filter(None, (episode, episode.planning)):
        assert begun.prompt.endswith(f"\n\n{SAID}\nQuestion: {QUESTION}\n\n")
        assert begun.prompt.count("Today is") == 1
        assert begun.trajectory.today == TODAY


@pytest.mark.parametrize("messages", [chat_messages, json_messages])
def test_chat_models_read_it_at_the_end_of_the_system_message(messages) -> None:  # type: ignore[no-untyped-def]
    said = (Message("system", "Be brief."), Message("user", "Hello!"))
    system, earlier, asked = messages(Episode(QUESTION, "Answer.", today=TODAY, conversation=said))
    assert system["content"].startswith("Answer.")
    assert system["content"].splitlines()[-1] == SAID
    assert "Be brief." in system["content"]
    assert (earlier["content"], asked["content"]) == ("Hello!", QUESTION)


def test_a_plan_does_not_move_it() -> None:
    episode = METHODS["planpers"].begin(QUESTION, Limits(), today=TODAY, plan="- the week")
    assert f"\n\n{SAID}\nQuestion: {QUESTION}\n\n{prompts.PLANNED}\n- the week" in episode.prompt
    assert SAID in planning(QUESTION, Limits(), today=TODAY).prompt


def test_an_episode_of_no_known_day_states_none() -> None:
    episode = Episode(QUESTION)
    assert "Today" not in episode.prompt
    assert "today" not in episode.trajectory.to_dict()
    assert Trajectory.from_dict(episode.trajectory.to_dict()).today is None


@given(st.dates(), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Shanghai"]))
def test_a_stored_trajectory_begins_the_same_episode_again(day: date, zone: str) -> None:
    episode = Episode(QUESTION, today=Today(day, zone), clock=lambda: 0.0)
    stored = Trajectory.from_dict(episode.trajectory.to_dict())
    assert stored == episode.trajectory
    assert Episode(stored.question, limits=stored.limits, today=stored.today).prompt == episode.prompt


@given(st.dates(max_value=date.max - timedelta(7)))
def test_the_weekday_is_that_of_the_calendar(day: date) -> None:
    said = prompts.dated(Today(day))
    # The C locale's names, which a process has unless it asks for another.
    assert said == f"Today is {day:%A}, {day.isoformat()} (UTC)."
    assert prompts.dated(Today(day + timedelta(7))).split(",")[0] == said.split(",")[0]
