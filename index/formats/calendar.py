"""Reads calendars (.ics): a document for each event, and for each time that a repeated one took place."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from index.dates import iso
from index.documents import LABEL_CHARACTERS
from index.errors import InvalidDocument
from index.formats.chats import identity
from index.formats.encodings import text_of
from index.formats.items import parsed
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options, Skipped

if TYPE_CHECKING:
    from icalendar import Component

CALENDAR_BYTES = 64 * 2**20
MOST_OCCURRENCES = 1_000
"""Occurrences of one series that become documents."""
_RARE = frozenset(("DAILY", "WEEKLY", "MONTHLY", "YEARLY"))
_FAST = ("BYHOUR", "BYMINUTE", "BYSECOND", "BYSETPOS")
_YEAR = timedelta(days=366)
_BROKEN = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


def read_calendar(text: str, options: Options, name: str = "calendar") -> Items:
    """Yield the events of a calendar; a series only up to the time of the export, which its stamps tell.

    Raises InvalidDocument if it cannot be read at all. Events without a time of day begin at midnight in the
    options' zone; so are times read that have no zone.
    """
    from icalendar import Calendar

    try:
        if not text.rstrip()[-13:].upper() == "END:VCALENDAR":
            raise ValueError("it ends in the middle")
        calendars = Calendar.from_ical(text, multiple=True)
    except _BROKEN as error:
        raise InvalidDocument(f"not a readable calendar: {str(error)[:200]}; export it again") from None
    number = 0
    for calendar in calendars:
        events = calendar.walk("VEVENT")
        source = f"calendar/{calendar.get('X-WR-CALNAME', name)}"[:LABEL_CHARACTERS]
        exported = max(filter(None, map(_stamp, events)), default=None)
        for series in _series(events):
            number += 1
            try:
                for event in _occurrences(series, exported):
                    yield event if isinstance(event, Skipped) else _document(event, source, options, number)
            except _BROKEN as error:
                yield InvalidDocument(f"a broken event: {str(error) or type(error).__name__}", number)
        for task in calendar.walk("VTODO"):
            yield Skipped("a task of a calendar", str(task.get("SUMMARY", "")))


def _series(events: "Sequence[Component]") -> "Iterator[list[Component]]":
    """Yield the events of each series together, in the order of their beginnings; others by themselves."""
    found: dict[str, list[Component]] = {}
    for index, event in enumerate(events):
        found.setdefault(str(event.get("UID") or index), []).append(event)
    yield from found.values()


def _occurrences(series: "list[Component]", exported: datetime | None) -> "Iterator[Component | Skipped]":
    """Yield the events of a series, a repeated one for each time up to the export; at least the first."""
    rules = [rule for event in series if (rule := event.get("RRULE"))]
    if not rules:
        yield from series
        return
    first = next(event for event in series if event.get("RRULE"))
    hostile = any(
        not isinstance(rule, dict)
        or rule.get("FREQ", [""])[0] not in _RARE
        or any(key in rule for key in _FAST)
        for rule in rules
    )
    if hostile:
        yield first
        yield Skipped("further times of a series that repeats within a day", str(first.get("SUMMARY", "")))
        return
    count = 0
    for count, event in enumerate(_expanded(series, first, exported), 1):
        if count > MOST_OCCURRENCES:
            yield Skipped(
                f"times of a series after the first {MOST_OCCURRENCES:,}", str(first.get("SUMMARY", ""))
            )
            return
        yield event
    if not count:
        yield first


def _expanded(
    series: "list[Component]", first: "Component", exported: datetime | None
) -> "Iterator[Component]":
    from icalendar import Calendar
    from recurring_ical_events import of

    calendar = Calendar()
    for event in series:
        calendar.add_component(event)
    expansion = of(calendar)
    begin = _instant(_when(first, "DTSTART"))
    start = min(_instant(_when(event, "DTSTART")) for event in series) - timedelta(days=1)
    end = exported or begin
    seen: set[Any] = set()
    while start < end:
        # Year by year, so that a series is no longer in memory than it is read.
        until = min(start + _YEAR, end)
        for event in expansion.between(start, until):
            key = _instant(_when(event, "RECURRENCE-ID" if "RECURRENCE-ID" in event else "DTSTART"))
            if key not in seen:
                seen.add(key)
                yield event
        if len(seen) > MOST_OCCURRENCES:
            return
        start = until


def _document(event: "Component", source: str, options: Options, number: int) -> Any:
    if str(event.get("STATUS", "")).upper() == "CANCELLED":
        return Skipped("a cancelled event", str(event.get("SUMMARY", "")))
    if "DTSTART" not in event or event.errors:
        wrong = "; ".join(f"{name}: {why}" for name, why in event.errors) or "it has no beginning"
        return InvalidDocument(f"a broken event: {wrong}", number)
    start, end = _when(event, "DTSTART"), _when(event, "DTEND") if "DTEND" in event else None
    moment = _local(start, options)
    title = " ".join(str(event.get("SUMMARY", "")).split())
    people = [_person(value) for value in _listed(event.get("ATTENDEE"))]
    parts = {
        "": title,
        "When: ": _shown(start, end),
        "Where: ": str(event.get("LOCATION", "")).strip(),
        "With: ": ", ".join(filter(None, people)),
        "Notes: ": str(event.get("DESCRIPTION", "")).strip(),
    }
    uid, key = event.get("UID"), ""
    if "RECURRENCE-ID" in event:
        key = iso(_local(_when(event, "RECURRENCE-ID"), options).astimezone(UTC))
    return parsed(
        {
            "id": identity("event", str(uid), key) if uid else identity("event", iso(moment), title),
            "text": "\n".join(f"{label}{text}" for label, text in parts.items() if text),
            "created_at": moment,
            "source": source,
        }
        | ({"title": title[:LABEL_CHARACTERS]} if title else {}),
        number,
    )


def _shown(start: date, end: date | None) -> str:
    """Return a span of time in its own zone, like 2024-03-05 18:00 to 19:00."""
    if not isinstance(start, datetime):
        last = end - timedelta(days=1) if end is not None and end > start else start
        return f"{start}" if last == start else f"{start} to {last}"
    begin = f"{start:%Y-%m-%d %H:%M}"
    if not isinstance(end, datetime):
        return begin
    return f"{begin} to {end:%H:%M}" if end.date() == start.date() else f"{begin} to {end:%Y-%m-%d %H:%M}"


def _person(value: Any) -> str:
    """Return the name of somebody who was invited, or the address."""
    return str(value.params.get("CN", "")) or str(value).removeprefix("mailto:").removeprefix("MAILTO:")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _stamp(event: "Component") -> datetime | None:
    stamp = getattr(event.get("DTSTAMP"), "dt", None)
    return _instant(stamp) if isinstance(stamp, date) else None


def _when(event: "Component", name: str) -> date:
    """Return the day or the time of a property. Raises ValueError if it has neither."""
    moment = getattr(event.get(name), "dt", None)
    if not isinstance(moment, date):
        raise ValueError(f"{name} is not one day or time")
    return moment


def _instant(moment: date) -> datetime:
    """Return a time that can be compared with others; days and times without a zone are taken as UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _local(moment: date, options: Options) -> datetime:
    if isinstance(moment, datetime) and moment.tzinfo:
        return moment
    return options.local(_instant(moment).replace(tzinfo=None))


def _read(member: Member, options: Options) -> Items:
    if member.size > CALENDAR_BYTES:
        raise InvalidDocument(f"longer than {CALENDAR_BYTES // 2**20} MB")
    with member.open() as stream:
        try:
            text = text_of(stream.read())
        except UnicodeError as error:
            raise InvalidDocument(str(error)) from None
    name = member.name.rpartition("/")[2].removesuffix(".ics")
    yield from read_calendar(text, options, name)


def _recognizes(beginning: Beginning) -> bool:
    return beginning.text.lstrip()[:15].upper() == "BEGIN:VCALENDAR"


ICS = Format("ics", "calendar (.ics)", each(_read), recognizes=_recognizes, suffix=".ics")
