from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.documents import Document, iso
from index.errors import InvalidDocument
from index.formats import Options
from index.formats.calendar import MOST_OCCURRENCES, read_calendar
from index.formats.source import Skipped
from tests.index.formats.reading import BERLIN, imported
from tests.index.formats.storing import Stored, opened_profile

HEAD = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Google Inc//Google Calendar 70.9054//EN
X-WR-CALNAME:Private
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:DAYLIGHT
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
BEGIN:STANDARD
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
END:VTIMEZONE
"""
LUNCH = """\
UID:lunch@google.com
DTSTART:20240305T110000Z
DTEND:20240305T120000Z
SUMMARY:Lunch\\, at last
LOCATION:Café Einstein
ATTENDEE;CN=Ana Novak;PARTSTAT=ACCEPTED:mailto:ana@example.net
ATTENDEE:mailto:bob@example.net
DESCRIPTION:Bring the\\nbook.
"""
TRIP = "UID:trip\nDTSTART;VALUE=DATE:20240701\nDTEND;VALUE=DATE:20240715\nSUMMARY:Norway\n"
OLD = "UID:old\nDTSTART:19440606T063000\nSUMMARY:Landing\n"
FUTURE = "UID:future\nDTSTART:21510101T000000Z\nSUMMARY:A century\n"
YOGA = """\
UID:yoga
DTSTART;TZID=Europe/Berlin:20240319T180000
DTEND;TZID=Europe/Berlin:20240319T190000
RRULE:FREQ=WEEKLY
EXDATE;TZID=Europe/Berlin:20240326T180000
SUMMARY:Yoga
"""
MOVED = """\
UID:yoga
RECURRENCE-ID;TZID=Europe/Berlin:20240402T180000
DTSTART;TZID=Europe/Berlin:20240403T200000
SUMMARY:Yoga (moved)
"""


def calendar(*events: str, exported: str = "20240410T000000Z") -> str:
    inner = "".join(f"BEGIN:VEVENT\nDTSTAMP:{exported}\n{event}END:VEVENT\n" for event in events)
    return f"{HEAD}{inner}END:VCALENDAR\n".replace("\n", "\r\n")


def documents(text: str) -> list[Document]:
    return [item for item in read_calendar(text, Options("ana", zone=BERLIN)) if isinstance(item, Document)]


def times(found: list[Document]) -> list[str | None]:
    return [iso(document.created_at) if document.created_at else None for document in found]


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[Stored]:
    with opened_profile(tmp_path) as stored:
        yield stored


def test_events_have_their_own_times_days_and_people() -> None:
    found = documents(calendar(LUNCH, TRIP, OLD, FUTURE))
    assert [document.text for document in found] == [
        "Lunch, at last\nWhen: 2024-03-05 11:00 to 12:00\nWhere: Café Einstein\n"
        "With: Ana Novak, bob@example.net\nNotes: Bring the\nbook.",
        "Norway\nWhen: 2024-07-01 to 2024-07-14",
        "Landing\nWhen: 1944-06-06 06:30",
        "A century\nWhen: 2151-01-01 00:00",
    ]
    assert times(found) == [
        "2024-03-05T11:00:00Z",
        "2024-07-01T00:00:00+02:00",
        "1944-06-06T06:30:00+02:00",
        "2151-01-01T00:00:00Z",
    ]
    assert {document.source for document in found} == {"calendar/Private"}


def test_a_series_is_expanded_up_to_the_export_with_what_was_moved_or_left_out() -> None:
    found = documents(calendar(YOGA, MOVED))
    assert [document.title for document in found] == ["Yoga", "Yoga (moved)", "Yoga"]
    assert times(found) == [
        "2024-03-19T18:00:00+01:00",
        "2024-04-03T20:00:00+02:00",
        "2024-04-09T18:00:00+02:00",
    ]
    assert times(documents(calendar(YOGA, exported="20200101T000000Z"))) == ["2024-03-19T18:00:00+01:00"]


def test_a_calendar_is_stored_once_and_a_week_later_only_that_week(tmp_path: Path, profile: Stored) -> None:
    path = tmp_path / "private.ics"
    path.write_text(calendar(LUNCH, YOGA, MOVED), newline="")
    found = imported(path)
    assert (found.formats, found.errors) == (["ics"], [])
    assert profile.put(found) == (4, 0, 0)
    assert profile.put(imported(path)) == (0, 4, 0)
    path.write_text(calendar(LUNCH, YOGA, MOVED, TRIP, exported="20240417T000000Z"), newline="")
    assert profile.put(imported(path)) == (2, 4, 0)


def test_a_long_series_is_bounded_and_a_fast_one_is_not_expanded() -> None:
    daily = YOGA.replace("WEEKLY", "DAILY")
    items = list(read_calendar(calendar(daily, exported="21000101T000000Z"), Options("ana", zone=BERLIN)))
    assert len(items) == MOST_OCCURRENCES + 1
    assert isinstance(items[-1], Skipped)
    for rule in ("SECONDLY", "MINUTELY;COUNT=1000000000", "DAILY;BYHOUR=1,2,3;BYMINUTE=1,2,3"):
        first, skipped = read_calendar(calendar(YOGA.replace("WEEKLY", rule)), Options("ana", zone=BERLIN))
        assert isinstance(first, Document)
        assert isinstance(skipped, Skipped)


def test_a_broken_event_is_reported_and_a_cancelled_one_left_out() -> None:
    broken = "UID:b\nDTSTART:20240399T000000Z\nSUMMARY:Never\n"
    items = list(
        read_calendar(
            calendar(broken, "UID:n\nSUMMARY:No time\n", LUNCH + "STATUS:CANCELLED\n", TRIP), Options("ana")
        )
    )
    assert [type(item) for item in items] == [InvalidDocument, InvalidDocument, Skipped, Document]
    assert "DTSTART" in str(items[0])
    assert str(items[1]) == "a broken event: it has no beginning"


@pytest.mark.parametrize("text", [calendar(LUNCH)[:-60], "BEGIN:VCALENDAR\r\nhello\r\nEND:VCALENDAR\r\n", ""])
def test_a_calendar_that_is_cut_off_is_refused(text: str) -> None:
    with pytest.raises(InvalidDocument, match="not a readable calendar"):
        list(read_calendar(text, Options("ana")))


@given(st.text("DTSTART:2024;=VALE\r\n0159ZRUFQWKY", max_size=80))
def test_any_event_is_a_document_or_a_fault(lines: str) -> None:
    try:
        for item in read_calendar(calendar(f"UID:1\n{lines}\n"), Options("ana", zone=BERLIN)):
            assert isinstance(item, Document | InvalidDocument | Skipped)
    except InvalidDocument:
        pass
