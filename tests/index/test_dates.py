import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.dates import Order, Style, date_if_read, iso, read_date, settled_order


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
        ("Tue, 5 Mar 96 10:15:00 +0100", "1996-03-05T10:15:00+01:00"),
        ("March 5, 2024", "2024-03-05T00:00:00Z"),
        ("Mar 5th, 2024", "2024-03-05T00:00:00Z"),
        ("August 1st, 2024 at 12:05 a.m.", "2024-08-01T00:05:00Z"),
        ("Tuesday, March 5, 2024, 10:15:20\u202fPM UTC", "2024-03-05T22:15:20Z"),
        ("5 May 2024 12:30 pm +0200", "2024-05-05T12:30:00+02:00"),
        ("1944-06-06", "1944-06-06T00:00:00Z"),
        ("2151-01-01T00:00:00+01:00", "2151-01-01T00:00:00+01:00"),
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
        *(
            "Marchember 5, 2024",
            "March 32, 2024",
            "March 5, 2024 13:00 pm",
            "March 5",
            "05.03.2024",
            "5/3/24",
        ),
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
        ("05/03/2024", "'05/03/2024' does not say whether the day or the month comes first"),
        (None, "Input should be a valid datetime, like 2024-03-05T10:15:00+01:00, not 'NoneType'"),
        ([[]], "Input should be a valid datetime, like 2024-03-05T10:15:00+01:00, not 'list'"),
        ("soon", "Input should be a valid datetime, like 2024-03-05T10:15:00+01:00, not 'soon'"),
        ("0001-01-01T00:00:00+14:00", "is outside the years 1 to 9999 in UTC"),
    ],
)
def test_a_refusal_says_what_is_wrong(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        read_date(value)


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "style", "moment"),
    [
        ("05/03/2024", Style("day-first"), "2024-03-05T00:00:00Z"),
        ("05/03/2024", Style("month-first"), "2024-05-03T00:00:00Z"),
        ("5.3.24, 23:15", Style("day-first", zone=BERLIN), "2024-03-05T23:15:00+01:00"),
        ("5.7.24, 23:15:20", Style("day-first", zone=BERLIN), "2024-07-05T23:15:20+02:00"),
        ("3/5/24, 11:15\u202fPM", Style("month-first"), "2024-03-05T23:15:00Z"),
        ("05-03-2024 12:15 a. m.", Style("day-first"), "2024-03-05T00:15:00Z"),
        ("6/6/44", Style("day-first"), "2044-06-06T00:00:00Z"),
        ("6/6/69", Style("day-first"), "1969-06-06T00:00:00Z"),
        ("2024-03-05 10:15", Style("month-first", zone=BERLIN), "2024-03-05T10:15:00+01:00"),
        ("2024-03-05 10:15Z", Style(zone=BERLIN), "2024-03-05T10:15:00Z"),
        (1709633700, Style(zone=BERLIN), "2024-03-05T10:15:00Z"),
        (45356, Style(serials=True), "2024-03-05T00:00:00Z"),
        ("45356.427083333336", Style(serials=True), "2024-03-05T10:15:00Z"),
        (61, Style(serials=True), "1900-03-01T00:00:00Z"),
        ("1709633700", Style(serials=True), "2024-03-05T10:15:00Z"),
        ("2024", Style(coarse=True), "2024-01-01T00:00:00Z"),
        (1966, Style(coarse=True, zone=BERLIN), "1966-01-01T00:00:00+01:00"),
        ("2024-03", Style(coarse=True), "2024-03-01T00:00:00Z"),
    ],
)
def test_a_style_says_what_a_date_does_not(value: Any, style: Style, moment: str) -> None:
    assert iso(read_date(value, style)) == moment


@pytest.mark.parametrize(
    ("value", "style"),
    [
        ("13/13/2024", Style("day-first")),
        ("3/15/2024", Style("day-first")),
        ("15/3/2024", Style("month-first")),
        ("5/3-2024", Style("day-first")),
        ("05/03/2024 13:15 PM", Style("day-first")),
        ("05/03/2024 0:15 AM", Style("day-first")),
        (60, Style(serials=True)),
        (0, Style(serials=True, coarse=True)),
        (73_051, Style(serials=True)),
        (12, Style(coarse=True)),
        ("2024-13", Style(coarse=True)),
        (0, Style("day-first", coarse=True)),
    ],
)
def test_a_style_does_not_make_a_date_of_anything(value: Any, style: Style) -> None:
    with pytest.raises(ValueError, match=re.escape(str(value))):
        read_date(value, style)
    assert date_if_read(value, style) is None


@pytest.mark.parametrize(
    ("dates", "order"),
    [
        (["05/03/2024", "12/04/2024", "13/04/2024"], "day-first"),
        (["05/03/24", "4/25/24, 10:15 PM"], "month-first"),
        (["05/03/2024", "12/04/2024"], None),
        (["25/03/2024", "04/25/2024"], None),
        (["2024-03-05", "soon"], None),
        ([], None),
    ],
)
def test_all_dates_together_settle_the_order(dates: list[str], order: Order | None) -> None:
    assert settled_order(dates) == order


@given(
    st.datetimes(datetime(1969, 1, 1), datetime(2068, 12, 31)), st.sampled_from(["day-first", "month-first"])
)
def test_a_stated_order_reads_back_what_it_wrote(moment: datetime, order: Order) -> None:
    moment = moment.replace(microsecond=0)
    form = {"day-first": "%d/%m/%y, %I:%M:%S %p", "month-first": "%m/%d/%y, %I:%M:%S %p"}[order]
    assert read_date(moment.strftime(form), Style(order)) == moment.replace(tzinfo=UTC)


@given(st.datetimes(datetime(1900, 3, 1), datetime(2099, 12, 31)))
def test_a_serial_is_read_to_the_millisecond(moment: datetime) -> None:
    serial = (moment - datetime(1899, 12, 30)) / timedelta(days=1)
    assert abs(read_date(serial, Style(serials=True)) - moment.replace(tzinfo=UTC)) < timedelta(
        milliseconds=1
    )


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
    ),
    st.builds(Style, st.sampled_from([None, "day-first", "month-first"]), st.booleans(), st.booleans()),
)
def test_anything_else_is_a_value_error(value: Any, style: Style) -> None:
    try:
        moment = read_date(value, style)
    except ValueError:
        return
    assert moment.astimezone(UTC) == moment
