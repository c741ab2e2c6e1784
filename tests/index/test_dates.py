import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.dates import iso, read_date


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2024-03-05", "2024-03-05T00:00:00Z"),
        ("2024-03-05T10:15", "2024-03-05T10:15:00Z"),
        ("2024-03-05 10:15:20", "2024-03-05T10:15:20Z"),
        ("2024-03-05T10:15:20.123456Z", "2024-03-05T10:15:20.123456Z"),
        ("2024-03-05T10:15:20,123456789z", "2024-03-05T10:15:20.123456Z"),
        ("2024-03-05T10:15:20.5", "2024-03-05T10:15:20.500000Z"),
        ("2024-03-05T23:30:00-08:00", "2024-03-05T23:30:00-08:00"),
        ("2024-03-05 23:30:00 +0530", "2024-03-05T23:30:00+05:30"),
        ("2024-03-05T23:30+02", "2024-03-05T23:30:00+02:00"),
        ("2024-03-05 23:30:00 UTC", "2024-03-05T23:30:00Z"),
        ("20240305", "2024-03-05T00:00:00Z"),
        (20240305, "2024-03-05T00:00:00Z"),
        ("20240305T101500", "2024-03-05T10:15:00Z"),
        ("20240305T101500Z", "2024-03-05T10:15:00Z"),
        ("20240305101500", "2024-03-05T10:15:00Z"),
        ("2024/03/05", "2024-03-05T00:00:00Z"),
        ("2024/3/5 10:15", "2024-03-05T10:15:00Z"),
        ("2024.03.05", "2024-03-05T00:00:00Z"),
        ("Tue, 05 Mar 2024 23:30:00 -0800", "2024-03-05T23:30:00-08:00"),
        ("Tue, 5 Mar 2024 23:30:00 -0800 (PST)", "2024-03-05T23:30:00-08:00"),
        ("5 Mar 2024 10:15 GMT", "2024-03-05T10:15:00Z"),
        ("Tue, 05 Mar 2024 10:15:00 EST", "2024-03-05T10:15:00-05:00"),
        (1709633700, "2024-03-05T10:15:00Z"),
        ("1709633700", "2024-03-05T10:15:00Z"),
        ("1709633700.000200", "2024-03-05T10:15:00.000200Z"),
        (1709633700.5, "2024-03-05T10:15:00.500000Z"),
        (1709633700000, "2024-03-05T10:15:00Z"),
        (1709633700000000, "2024-03-05T10:15:00Z"),
        (date(2024, 3, 5), "2024-03-05T00:00:00Z"),
        (datetime(2024, 3, 5, 10, tzinfo=timezone(timedelta(hours=-1))), "2024-03-05T10:00:00-01:00"),
    ],
)
def test_a_date_is_read_with_its_offset(value: Any, moment: str) -> None:
    assert iso(read_date(value)) == moment


@pytest.mark.parametrize(
    "value",
    [
        *("45356", 45356, 0, -1, 1.5, 12, 631_151_999, 4_102_444_800, 202403051015, "20241305", 99990101),
        *("1e9", "inf", float("nan"), float("inf"), True, "", "yesterday", "2024-13-05", "2024-3"),
        *("2024", 2024, "2024-03", "2024/03", "05/03/2024", "2024-03/05", "2024-3-5T25:00", "2024305"),
        *("2024-03-05T10:15:00+99:00", "2024-03-05T10:15:00+01:75", "2024-03-05 10:15 CET"),
        *("Tue, 05 Mar 2024 10:15:00 CET", "Tue, 35 Mar 2024 10:15:00 +0000", "1 2 3", "2024-03-05T"),
        *("9" * 400, "２０２４-03-05T99:00"),
    ],
)
def test_what_names_no_time_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(str(value)[:50]) or "not ''$"):
        read_date(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2024", "'2024' names no day: give one, like 2024-03-05"),
        (45356, "'45356' is not a plausible time: a number is a day like 20240305, or a time since 1970"),
        (None, "Input should be a valid datetime, like 2024-03-05T10:15:00+01:00, not 'NoneType'"),
        ([[]], "Input should be a valid datetime, like 2024-03-05T10:15:00+01:00, not 'list'"),
        ("soon", "Input should be a valid datetime, like 2024-03-05T10:15:00+01:00, not 'soon'"),
        ("0001-01-01T00:00:00+14:00", "is outside the years 1 to 9999 in UTC"),
    ],
)
def test_a_refusal_says_what_is_wrong(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        read_date(value)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)), st.integers(-1439, 1439))
def test_what_is_written_is_read_again(moment: datetime, minutes: int) -> None:
    local = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    again = read_date(iso(local))
    assert (again, again.utcoffset()) == (local, local.utcoffset())
    assert iso(local)[:10] == moment.date().isoformat()


@given(
    st.one_of(
        st.text(),
        st.text(st.sampled_from("0123456789-/.:T +Z")),
        st.integers(),
        st.floats(),
        st.none(),
        st.binary(),
    )
)
def test_anything_else_is_a_value_error(value: Any) -> None:
    try:
        moment = read_date(value)
    except ValueError:
        return
    assert moment.astimezone(UTC) == moment
