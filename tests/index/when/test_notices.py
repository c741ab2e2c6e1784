"""Days of a question that a history, or the calendar, does not have."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from index.documents import Document
from index.profiles import Profiles
from index.storage.store import Store
from index.values import Notice
from index.when.notices import MOST
from index.when.scope import Scope
from tests.index.fakes import HashEncoder

TODAY = Scope(date(2024, 5, 3))
MARCH, APRIL = date(2024, 3, 1), date(2024, 4, 1)


def note(name: str, day: datetime | None) -> Document:
    return Document(id=name, text=f"I walked home, {name}.", created_at=day)


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Profiles]:
    encoder = HashEncoder()
    made = Profiles(Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest), encoder)
    west = timezone(timedelta(hours=-7))
    days = [datetime(2024, 2, 10, tzinfo=UTC), datetime(2024, 4, 30, 23, 30, tzinfo=west), None]
    made.put("ana", [note(f"n{number}", day) for number, day in enumerate(days)])
    made.put("old", [note(name, None) for name in ("a", "b")])
    made.put("one", [note(name, datetime(2024, 3, 5, tzinfo=UTC)) for name in ("a", "b", "c")])
    yield made
    made.store.close()


def told(profiles: Profiles, question: str, user: str = "ana", scope: Scope = TODAY) -> list[Notice]:
    return list(profiles.notices(user, question, None, None, scope))


@pytest.mark.parametrize(
    ("question", "notice"),
    [
        ("What did I do in March 2024?", Notice("empty", MARCH, APRIL)),
        ("Was habe ich im März 2024 gemacht?", Notice("empty", MARCH, APRIL)),
        ("2024年3月我做了什么？", Notice("empty", MARCH, APRIL)),
        ("Where was I on 5 March 2024?", Notice("empty", date(2024, 3, 5), date(2024, 3, 6))),
        ("What did I write before 2020?", Notice("empty", None, date(2020, 1, 1))),
        ("What happened since May?", Notice("empty", date(2024, 5, 1), None)),
        ("What did I do on 30 February 2024?", Notice("impossible", said="30 February 2024")),
    ],
)
def test_days_that_are_missing_are_told(profiles: Profiles, question: str, notice: Notice) -> None:
    assert told(profiles, question) == [notice]


@pytest.mark.parametrize(
    "question",
    [
        "",
        "Where do I walk?",
        "What did I do in February 2024?",
        "What did I do in April?",
        "What did I do since April?",
        "May I march in the Sunday league?",
    ],
)
def test_there_is_nothing_to_say_of_other_questions(profiles: Profiles, question: str) -> None:
    assert told(profiles, question) == []


def test_a_day_is_the_one_where_the_document_was_written(profiles: Profiles) -> None:
    assert told(profiles, "What did I do on 30 April 2024?") == []
    assert len(told(profiles, "What did I do on 1 May 2024?")) == 1, "the day in UTC"


def test_what_is_hidden_does_not_count(profiles: Profiles) -> None:
    early = Scope(date(2024, 4, 1), hides_later=True)
    assert told(profiles, "What did I do on 30 April 2024?", scope=early)
    assert told(profiles, "What did I do in February 2024?", scope=early) == []
    before = Scope(date(2023, 1, 1), hides_later=True)
    assert told(profiles, "What did I do in February 2024?", scope=before)


def test_a_profile_without_times_has_nothing_of_any_day(profiles: Profiles) -> None:
    assert told(profiles, "What did I do in March 2024?", "old") == [Notice("empty", MARCH, APRIL)]
    assert told(profiles, "Where do I walk?", "old") == []


def test_a_profile_of_one_moment_has_only_its_day(profiles: Profiles) -> None:
    assert told(profiles, "What did I do in March 2024?", "one") == []
    assert len(told(profiles, "What did I do in April 2024?", "one")) == 1


def test_the_policys_own_days_are_looked_at_too(profiles: Profiles) -> None:
    def own(after: date | None, before: date | None) -> tuple[Notice, ...]:
        return profiles.notices("ana", "", after, before, TODAY)

    assert own(MARCH, APRIL) == (Notice("empty", MARCH, APRIL),)
    assert own(date(2024, 2, 1), APRIL) == own(None, None) == ()
    asked = profiles.notices("ana", "What did I do in March 2024?", MARCH, APRIL, TODAY)
    assert asked == (Notice("empty", MARCH, APRIL),), "the same days once"


def test_a_question_full_of_times_does_not_fill_the_context(profiles: Profiles) -> None:
    question = ", ".join(f"on 30 February {year}" for year in range(2000, 2020)) + "?"
    assert len(told(profiles, f"What happened {question}")) == MOST
