"""The preference for the time that a question names: it moves what fits, and excludes nothing."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.documents import parse_document
from index.encoding.encoders import Vectors
from index.profiles import Profiles
from index.ranking.columns import UNDATED
from index.ranking.times import FADE, nearness, without
from index.storage.store import Store
from index.when.reading import Window, times
from index.when.scope import Scope
from tests.index.fakes import HashEncoder

TODAY = date(2024, 5, 15)
DINNERS = {
    "march": "2023-03-09T20:00:00Z",
    "april": "2023-04-20T20:00:00Z",
    "later": "2024-03-02T20:00:00Z",
    # Still in March where it was written, and in April in UTC.
    "late": "2023-03-31T22:00:00-08:00",
    "undated": None,
}


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Profiles]:
    encoder = HashEncoder(dimension=64)
    store = Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest)
    yield Profiles(store, encoder)
    store.close()


def put(profiles: Profiles, written: Mapping[str, str | None]) -> None:
    profiles.put(
        "ana",
        [
            parse_document(
                {"id": name, "text": f"dinner with guest {number}"} | ({"created_at": at} if at else {})
            )
            for number, (name, at) in enumerate(written.items())
        ],
    )


NO_MEANING = np.zeros((1, 64), np.float32)


def found(
    profiles: Profiles,
    question: str,
    scope: Scope | None,
    name: str = "hybrid",
    vectors: Vectors | None = NO_MEANING,
) -> list[str]:
    (passages,) = profiles.search("ana", [question], 10, name, scope=scope, vectors=vectors)
    return [passage.document_id for passage in passages]


def test_documents_of_the_time_come_first_and_the_others_are_still_found(profiles: Profiles) -> None:
    put(profiles, DINNERS)
    ranking = found(profiles, "Who came to dinner in March 2023?", Scope(TODAY))
    assert set(ranking[:2]) == {"march", "late"}
    assert set(ranking) == set(DINNERS)


def test_words_of_a_time_are_dropped_but_feasts_and_seasons_are_kept() -> None:
    question = "Who came in March 2023, at Christmas and last week?"
    assert without(question, times(question, TODAY, "en").windows).split() == [
        *("Who", "came", "in", ",", "at", "Christmas", "and", "?")
    ]


def test_a_time_is_seen_from_the_day_of_the_question(profiles: Profiles) -> None:
    put(profiles, DINNERS)
    question = "Who came to dinner in March?"
    assert found(profiles, question, Scope(TODAY))[0] == "later"
    assert set(found(profiles, question, Scope(date(2023, 9, 1)))[:2]) == {"march", "late"}


def test_without_a_day_a_time_is_seen_from_the_last_document(profiles: Profiles) -> None:
    put(profiles, {name: at for name, at in DINNERS.items() if name != "later"})
    assert set(found(profiles, "Who came to dinner last month?", None)[:2]) == {"march", "late"}


@pytest.mark.parametrize(
    "written",
    [dict.fromkeys("abcd"), dict.fromkeys("abcd", "2023-03-09T20:00:00Z")],
    ids=["no times", "all of one time"],
)
def test_times_that_tell_nothing_apart_leave_the_ranking_as_it_is(
    profiles: Profiles, written: dict[str, str | None]
) -> None:
    put(profiles, written)
    ranking = found(profiles, "Who came to dinner in March 2023?", Scope(TODAY))
    assert sorted(ranking) == list("abcd")
    assert ranking == found(profiles, "Who came to dinner in May 2021?", Scope(TODAY))


@pytest.mark.parametrize("name", ["hybrid", "dense", "bm25", "recency", "rrf"])
def test_limits_hold_for_every_retriever(profiles: Profiles, name: str) -> None:
    put(profiles, DINNERS)
    scope = Scope(TODAY, after=date(2023, 3, 1), before=date(2023, 4, 1))
    assert set(found(profiles, "dinner guest", scope, name, None)) == {"march", "late"}


def test_as_of_another_day_later_documents_are_not_seen(profiles: Profiles) -> None:
    put(profiles, DINNERS)
    assert set(found(profiles, "dinner", Scope(date(2023, 4, 1), hides_later=True))) == {
        "march",
        "late",
        "undated",
    }
    assert found(profiles, "dinner", Scope(date(1990, 1, 1), hides_later=True)) == ["undated"]


@given(st.integers(-400, 400), st.integers(1, 60))
def test_nearness_is_one_in_a_window_and_fades_with_the_days_from_it(offset: int, length: int) -> None:
    window = Window(TODAY, TODAY + timedelta(length), 0, 1)
    day, undated = nearness(np.array([TODAY.toordinal() + offset, UNDATED]), (window,))
    away = max(-offset, offset - length + 1, 0)
    assert day == pytest.approx(np.exp(-away / FADE))
    assert undated == 0
