"""Limits of a search in time."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from index.errors import InvalidPeriod
from index.ranking.columns import UNDATED
from index.ranking.times import allowed_days
from index.values import Period
from index.when.scope import scope_of

NOON = datetime(2024, 5, 15, 12, tzinfo=UTC)
DAYS = np.array([date(2024, 5, day).toordinal() for day in (1, 14, 15, 16)] + [UNDATED])


@pytest.mark.parametrize(
    ("period", "allowed"),
    [
        (Period(after=date(2024, 5, 14)), [False, True, True, True, False]),
        (Period(before=date(2024, 5, 15)), [True, True, False, False, False]),
        (Period(last="2d"), [False, True, True, True, False]),
        (Period(last="1d", before=date(2024, 5, 15)), [False, True, False, False, False]),
        (Period(as_of=date(2024, 5, 14)), [True, True, False, False, True]),
        (Period(as_of=date(1990, 1, 1)), [False, False, False, False, True]),
        (Period(as_of=date(2024, 5, 15), last="1w"), [False, True, True, False, False]),
    ],
)
def test_days_are_limited(period: Period, allowed: list[bool]) -> None:
    found = allowed_days(DAYS, scope_of(period, "UTC", NOON))
    assert found is not None
    assert found.tolist() == allowed


def test_without_limits_everything_is_allowed() -> None:
    assert allowed_days(DAYS, scope_of(Period(), "UTC", NOON)) is None


@pytest.mark.parametrize(
    ("zone", "today"),
    [
        ("UTC", date(2024, 5, 15)),
        ("Pacific/Auckland", date(2024, 5, 16)),
        ("America/Lima", date(2024, 5, 15)),
    ],
)
def test_the_time_zone_says_what_day_it_is(zone: str, today: date) -> None:
    late = datetime(2024, 5, 15, 18, tzinfo=UTC)
    assert scope_of(Period(time_zone=zone), "UTC", late).today == today
    assert scope_of(Period(), zone, late).today == today


@pytest.mark.parametrize(
    ("period", "message"),
    [
        (Period(time_zone="Europe/Atlantis"), "there is no time zone 'Europe/Atlantis'"),
        (Period(time_zone="../../etc/passwd"), "there is no time zone"),
        (Period(after=date(2024, 5, 2), before=date(2024, 5, 1)), "has to be earlier than before"),
        (Period(after=date(2024, 5, 1), before=date(2024, 5, 1)), "has to be earlier than before"),
        (Period(last="30"), "'30' is not a period"),
        (Period(last="0d"), "'0d' is not a period"),
        (Period(last="9999y"), "begins before the calendar does"),
        (Period(last="1d", after=date(2024, 5, 1)), "either last or after"),
    ],
)
def test_a_period_without_a_day_is_refused(period: Period, message: str) -> None:
    with pytest.raises(InvalidPeriod, match=message):
        scope_of(period, "UTC", NOON)
