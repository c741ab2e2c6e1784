"""Times that questions name, in English, German, Chinese and in the dates of other languages."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.when.reading import Times, _grammar, times
from tests.regex_steps import StepCounter

TODAY = date(2024, 5, 15)
"""A Wednesday."""
MADE = json.loads((Path(__file__).parents[3] / "benchmarks" / "data" / "times.json").read_text("utf-8"))
READ_WRONGLY = {"夏天佑在哪里修手表?", "八月桂花糕怎么做?"}
"""A name that begins with the word for summer, and a cake with that for August: words are not told apart by
characters alone."""
WORDS = (
    *("in", "March", "2024", " ", "last", "week", "between", "and", "Easter", "since", "3", "30", "May", "."),
    *("im", "März", "letzte", "Woche", "vor", "zwischen", "und", "Ostern", "5.", "6.", "2023"),
    *("去年", "三", "月", "上个", "周", "一", "前", "春节", "到", "之间", "底", "12", "日", "999 years ago"),
)


def days(question: str, language: str = "en", today: date = TODAY) -> list[tuple[str | None, str | None]]:
    return [
        (str(window.first) if window.first else None, str(window.end) if window.end else None)
        for window in times(question, today, language).windows
    ]


@pytest.mark.parametrize(
    ("language", "asked"), [(person["language"], asked) for person in MADE for asked in person["questions"]]
)
def test_the_made_questions_have_their_windows_and_false_friends_none(
    language: str, asked: dict[str, str]
) -> None:
    found = days(asked["question"], language, date.fromisoformat(asked["asked_at"][:10]))
    if asked["question"] in READ_WRONGLY:
        assert len(found) == 1
    else:
        assert found == ([tuple(asked["window"])] if asked["window"] else [])


@pytest.mark.parametrize(
    ("question", "first", "end"),
    [
        ("What did I cook on Feb 29?", "2024-02-29", "2024-03-01"),
        ("What did I cook in the early spring of 2023?", "2023-03-01", "2023-04-01"),
        ("What happened in the first half of 2023?", "2023-01-01", "2023-07-01"),
        ("What happened in the second half of September 2022?", "2022-09-16", "2022-10-01"),
        ("Which bills came in Q1?", "2024-01-01", "2024-04-01"),
        ("Who came the week before August 3, 2023?", "2023-07-27", "2023-08-03"),
        ("Who came two weeks before August 11, 2023?", "2023-07-25", "2023-08-01"),
        ("Who came on the Sunday before October 25, 2022?", "2022-10-23", "2022-10-24"),
        ("Where was I in the second week of November 2023?", "2023-11-08", "2023-11-15"),
        ("What did I read in the past 10 days?", "2024-05-05", "2024-05-16"),
        ("What did I plan from March to May 2023?", "2023-03-01", "2023-06-01"),
        ("What did I plan between November and February?", "2023-11-01", "2024-03-01"),
        ("What did I do last summer?", "2023-06-01", "2023-09-01"),
        ("What do I do this week?", "2024-05-13", "2024-05-20"),
        ("What did I do after June 3, 2023?", "2023-06-04", None),
        ("Where did I live four years ago?", "2020-01-01", "2021-01-01"),
        ("What did I eat at Thanksgiving?", "2023-11-23", "2023-11-27"),
        ("What was said on 2023-06-05?", "2023-06-05", "2023-06-06"),
    ],
)
def test_english_times(question: str, first: str, end: str | None) -> None:
    assert days(question) == [(first, end)]


@pytest.mark.parametrize(
    ("question", "first", "end"),
    [
        ("Was kochte ich am 5.6.2023?", "2023-06-05", "2023-06-06"),
        ("Wer kam vorletzte Woche?", "2024-04-29", "2024-05-06"),
        ("Was geschah Anfang 2023?", "2023-01-01", "2023-05-01"),
        ("Was las ich in den letzten 10 Tagen?", "2024-05-05", "2024-05-16"),
        ("Was geschah im ersten Quartal?", "2024-01-01", "2024-04-01"),
        ("Was geschah nach Silvester 2022?", "2023-01-01", None),
        ("Wer kam eine Woche vor dem 3. August 2023?", "2023-07-27", "2023-08-03"),
    ],
)
def test_german_times(question: str, first: str, end: str | None) -> None:
    assert days(question, "de") == [(first, end)]


@pytest.mark.parametrize(
    ("question", "first", "end"),
    [
        ("大前天我吃了什么?", "2024-05-12", "2024-05-13"),
        ("去年夏天我去了哪里?", "2023-06-01", "2023-09-01"),
        ("2023年上半年我换了什么工作?", "2023-01-01", "2023-07-01"),
        ("最近30天我读了什么?", "2024-04-15", "2024-05-16"),
        ("在三月初我见了谁?", "2024-03-01", "2024-03-11"),
        ("2023年3月到5月我在哪里?", "2023-03-01", "2023-06-01"),
        ("两年前我住在哪里?", "2022-01-01", "2023-01-01"),
        ("国庆期间我去了哪里?", "2023-10-01", "2023-10-08"),
    ],
)
def test_chinese_times(question: str, first: str, end: str | None) -> None:
    assert days(question, "zh") == [(first, end)]


@pytest.mark.parametrize(
    ("question", "language", "first", "end"),
    [
        ("¿Qué comí el 5 de marzo de 2023?", "es", "2023-03-05", "2023-03-06"),
        ("Qu'ai-je lu en mars 2023 ?", "fr", "2023-03-01", "2023-04-01"),
        ("2023年3月5日は何を食べた?", "ja", "2023-03-05", "2023-03-06"),
    ],
)
def test_dates_of_other_languages(question: str, language: str, first: str, end: str) -> None:
    assert days(question, language) == [(first, end)]


@pytest.mark.parametrize(
    ("question", "language", "said"),
    [
        ("Who called on 30 February?", "en", "30 February"),
        ("Who called on February 29, 2023?", "en", "February 29, 2023"),
        ("Wer rief am 31. April an?", "de", "31. April"),
        ("2月30日谁打了电话?", "zh", "2月30日"),
    ],
)
def test_a_day_that_does_not_exist_gives_no_window_and_is_named(
    question: str, language: str, said: str
) -> None:
    assert times(question, TODAY, language) == Times((), (said,))


def test_the_place_of_a_time_in_the_question_is_that_of_its_words() -> None:
    question = "Who came last week, and who in March 2023?"
    found = times(question, TODAY, "en").windows
    assert [question[window.start : window.stop] for window in found] == ["last week", "March 2023"]


def test_this_winter_may_have_begun_last_year() -> None:
    for today in (date(2025, 1, 5), date(2024, 12, 20), date(2024, 7, 1)):
        assert days("Which classes do I take this winter?", today=today) == [("2024-12-01", "2025-03-01")]


@pytest.mark.parametrize("today", [date(1, 1, 1), date(9999, 12, 31)])
@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_the_ends_of_the_calendar_give_no_error(today: date, language: str) -> None:
    for person in MADE:
        for asked in person["questions"]:
            times(asked["question"], today, language)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=12).map(" ".join)
    | st.lists(st.sampled_from(WORDS), max_size=12).map("".join),
    st.dates(date(1990, 1, 1), date(2090, 1, 1)),
    st.sampled_from(["en", "de", "zh", "es"]),
)
def test_any_text_gives_windows_that_have_days_in_the_order_of_the_text(
    text: str, today: date, language: str
) -> None:
    last = 0
    for window in times(text, today, language).windows:
        assert last <= window.start < window.stop <= len(text)
        last = window.stop
        assert window.first or window.end
        assert not (window.first and window.end) or window.first < window.end


@given(st.dates(date(1990, 1, 1), date(2090, 1, 1)), st.integers(1, 900))
def test_a_day_that_is_written_out_or_counted_is_that_day(today: date, back: int) -> None:
    meant = today - timedelta(back)
    for question in (f"Who came {back} days ago?", f"Who came on {meant.isoformat()}?"):
        assert days(question, "en", today) == [(str(meant), str(meant + timedelta(1)))]


@pytest.mark.parametrize("language", ["en", "de", "zh", "es"])
def test_patterns_need_no_more_steps_for_a_longer_text(language: str) -> None:
    for pattern in _grammar(language).patterns():
        counter = StepCounter(pattern)
        for unit in ("the ", "1", "May ", "last ", "一", "年", " ", "in ", "March of ", "vor "):
            counter.match(unit * 5)
            few = counter.steps
            counter.match(unit * 50)
            # Not in proportion to the text: the longest match is a few words.
            assert counter.steps <= 2 * few + 40, (pattern.pattern, unit)
