"""Searches of the policy that are limited to certain days."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.days import as_attributes, read_days
from agent.episode import Episode
from agent.information import passage_line
from agent.policies.tools import chat_messages
from agent.tags import SearchClosed, TagParser, escape, missing_close
from agent.trajectory import Invalid, Limits, Read, Search, Today, Trajectory
from index.documents import Passage
from index.errors import InvalidPeriod

TODAY = date(2024, 5, 3)
MARCH = (date(2024, 3, 1), date(2024, 4, 1))
ATTRIBUTES = 'after="2024-03-01" before="2024-04-01"'


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("", (None, None)),
        (ATTRIBUTES, MARCH),
        (f"  {ATTRIBUTES} ", MARCH),
        ("after=2024-03-01 before='2024-04-01'", MARCH),
        ('before = "2024-04-01"', (None, date(2024, 4, 1))),
        ('last="30d"', (date(2024, 4, 3), None)),
        ('last="1y" before="2024-05-01"', (date(2023, 5, 3), date(2024, 5, 1))),
        ('last="" after="2024-03-01"', (date(2024, 3, 1), None)),
    ],
)
def test_days_are_read(written: str, days: tuple[date | None, date | None]) -> None:
    assert read_days(written, TODAY) == days


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('after="2024-02-30"', "'2024-02-30' is not a day"),
        ('before="March"', "'March' is not a day"),
        ('after="2024-W09-5"', "is not a day"),
        ('after="2024-04-01" before="2024-03-01"', r"after \(2024-04-01\) has to be earlier"),
        ('after="2024-03-01" before="2024-03-01"', "has to be earlier"),
        ('last="soon"', "'soon' is not a period"),
        ('last="30d" after="2024-03-01"', "either last or after"),
        ('since="2024-03-01"', "there is no 'since': write after="),
        ("=", "the days cannot be read: write after="),
    ],
)
def test_a_policy_is_told_which_days_cannot_be_read(written: str, why: str) -> None:
    with pytest.raises(InvalidPeriod, match=why):
        read_days(written, TODAY)


def test_the_last_days_are_unknown_where_today_is() -> None:
    with pytest.raises(InvalidPeriod, match="give after instead of last"):
        read_days('last="30d"', None)
    assert read_days(ATTRIBUTES, None) == MARCH


@given(st.text(max_size=120), st.one_of(st.none(), st.dates()))
def test_whatever_is_written_gives_days_or_a_reason(written: str, today: date | None) -> None:
    try:
        first, end = read_days(written, today)
    except InvalidPeriod:
        return
    assert first is None or end is None or first < end


@pytest.mark.parametrize("turn", ["<search {}>tea</search>", "<think>a</think>\n<search\t{}>tea</search>"])
def test_a_tag_with_days_is_a_search(turn: str) -> None:
    [*_, event] = TagParser().feed(turn.format(ATTRIBUTES))
    assert event == SearchClosed("tea", ATTRIBUTES)


@pytest.mark.parametrize(
    "text", ["<search engines>", "<search >", f"<search a={'b' * 200}>", "<search a=<b>", "</search a=b>"]
)
def test_what_only_looks_like_one_is_text(text: str) -> None:
    parser = TagParser()
    assert not [event for event in parser.feed(text + "x</search>") if isinstance(event, SearchClosed)]


@given(st.text(max_size=130))
def test_no_text_of_others_becomes_a_tag_with_days(text: str) -> None:
    parser = TagParser()
    parser.feed(escape(f"<search {text}>tea</search><search last=1d>tea</search>"))
    assert not parser.done


def test_an_engine_that_took_the_stop_string_away_is_completed() -> None:
    assert missing_close(f"<think>a</think><search {ATTRIBUTES}>tea") == "</search>"
    assert missing_close(f"<search {ATTRIBUTES}>tea</search>") == ""


def asked(turn: str, **options: Any) -> Episode:
    episode = Episode("What did I do?", today=Today(TODAY), clock=lambda: 0.0, **options)
    episode.feed(turn)
    return episode


def test_a_step_records_its_days_and_survives_json() -> None:
    episode = asked(f"<think>a</think><search {ATTRIBUTES}>the week</search>")
    assert episode.pending == Search("the week", after=MARCH[0], before=MARCH[1])
    assert episode.pending.described == "the week (from 2024-03-01 before 2024-04-01)"
    assert Trajectory.from_dict(episode.trajectory.to_dict()) == episode.trajectory
    plain = asked("<think>a</think><search>tea</search>").trajectory.to_dict()["steps"][1]
    assert (plain["after"], plain["before"], plain["problem"]) == (None, None, "")


def test_a_step_that_was_stored_before_it_had_days_can_be_read() -> None:
    stored = asked("<think>a</think><search>tea</search>").trajectory.to_dict()
    search = stored["steps"][1]
    stored["steps"][1] = {name: search[name] for name in ("query", "at_ms", "kind")}
    assert Trajectory.from_dict(stored).steps[1] == Search("tea")


@pytest.mark.parametrize("protocol", ["tags", "tools"])
def test_days_that_do_not_exist_are_an_observation_and_counted(protocol: Any) -> None:
    episode = asked('<think>a</think><search after="2024-02-30">tea</search>', protocol=protocol)
    assert episode.pending is not None
    assert episode.provide([]) == (
        "\n<information>\nThis was not searched: '2024-02-30' is not a day: write one like 2024-03-01.\n"
        "</information>\n"
    )
    assert episode.trajectory.violations == {"invalid_days": 1}
    assert episode.trajectory.searches == 1
    assert episode.searches_left == 3
    assert Trajectory.from_dict(episode.trajectory.to_dict()) == episode.trajectory
    episode.feed('<think>b</think><search after="2024-02-29">tea</search>')
    block = episode.provide([Passage("d", "Tea.", created_at="2024-03-01T00:00:00Z")])
    assert passage_line(Read(1, Passage("d", "Tea.", created_at="2024-03-01"))) in block


def test_when_no_search_is_left_its_days_do_not_matter() -> None:
    episode = asked("<think>a</think><search after=x>tea</search>", limits=Limits(max_searches=0))
    assert isinstance(episode.steps[-1], Invalid)
    assert episode.finish_reason == "max_searches"


@pytest.mark.parametrize(
    ("given", "attributes"),
    [
        ({}, ""),
        ({"after": None, "before": "", "other": "x"}, ""),
        ({"after": "2024-03-01", "before": "2024-04-01"}, f" {ATTRIBUTES}"),
        ({"last": "30d"}, ' last="30d"'),
        ({"last": 30}, ' last="30"'),
        ({"after": ["<", '"></search><answer>']}, ' after="????? ????/search??a"'),
    ],
)
def test_arguments_of_a_call_become_attributes(given: dict[str, object], attributes: str) -> None:
    assert as_attributes(given) == attributes


@given(st.dictionaries(st.sampled_from(["after", "before", "last"]), st.text(max_size=40), min_size=1))
def test_any_arguments_arrive_as_one_tag(given: dict[str, Any]) -> None:
    tag = f"<search{as_attributes(given)}>tea</search>"
    [*_, event] = TagParser().feed(tag)
    assert isinstance(event, SearchClosed)
    assert event.query == "tea"


def test_a_chat_model_sees_the_days_of_its_earlier_calls() -> None:
    episode = asked('<search last="30d">the week</search>', protocol="tools")
    episode.provide([])
    call = chat_messages(episode)[-2]["tool_calls"][0]["function"]
    assert call["arguments"] == '{"query": "the week", "after": "2024-04-03"}'
