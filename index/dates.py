"""Reads and writes points in time. The one reader for every entrance: JSON, CSV, conversations, mail.

Nothing is guessed: a value that names no day, or a number that is no plausible time, is refused by name.
Where a source states how it writes its dates, a Style passes that on.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any, Literal

FIRST_YEAR, LAST_YEAR = 1990, 2099
"""Years in which a number is accepted as a time since 1970."""
EARLIEST_COMPACT = 1900
"""First year of a day that is written as a plain number, like 20240305."""
_WINDOW = tuple(datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (FIRST_YEAR, LAST_YEAR + 1))
_UNITS = (1, 1_000, 1_000_000)
"""Units of a second in which a time since 1970 may be counted. Their windows do not overlap."""

_FIRST_SERIAL, _LAST_SERIAL = 61, 73_051
"""Days of a spreadsheet: 1 March 1900 (its 29 February 1900 never was) up to the end of 2099."""
_SERIAL_ZERO = datetime(1899, 12, 30)
_LATEST_SHORT_YEAR = 68
"""Two-digit years up to here are 20xx, later ones 19xx, as in POSIX."""

Order = Literal["day-first", "month-first"]


@dataclass(frozen=True)
class Style:
    """How a source writes its dates, where the text of a date alone does not say."""

    order: Order | None = None
    """Order of day and month in dates like 05/03/2024 or 5.3.24."""
    serials: bool = False
    """Numbers are days of a spreadsheet, counted from 1900; their fraction is the time of day."""
    coarse: bool = False
    """A year or a month is accepted, and stands for its first day."""
    zone: tzinfo | None = UTC
    """Zone of a time that is written without an offset. None is the zone of this machine."""


STRICT = Style()

_ZONE = r"Z|UTC|GMT|[+-]\d\d(?::?\d\d)?"
_ISO = re.compile(
    r"(?P<year>\d{4})(?P<separator>[-/.]?)(?P<month>\d\d?)(?P=separator)(?P<day>\d\d?)"
    r"(?:[T ]\s?(?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,20}))?)?)?"
    rf"(?:\s?(?P<zone>{_ZONE}))?",
    re.IGNORECASE,
)
_MAIL = re.compile(
    r"(?:[a-z]{3,9},?\s{1,3})?\d\d?\s{1,3}[a-z]{3,9}\s{1,3}(?:\d{4}|\d\d)\s{1,3}\d\d?:\d\d(?::\d\d)?"
    r"(?:\s{1,3}(?:[+-]\d{4}|UTC?|GMT|Z|[ECMP][SD]T))?(?:\s{0,3}\([^()]{0,100}\))?",
    re.IGNORECASE,
)
"""RFC 2822, with the two-digit years that old mail has. Other names of zones are ambiguous."""
_YEAR = re.compile(r"(?P<year>\d{4})(?:[-/.](?P<month>\d\d?))?")
_CLOCK = (
    r"(?:,?\s{1,2}(?:at\s)?(?P<hour>\d\d?)[:.](?P<minute>\d\d)(?:[:.](?P<second>\d\d))?"
    rf"(?:\s?(?P<half>[ap])\.?\s?m\b\.?)?(?:\s?(?P<zone>{_ZONE}))?)?"
)
_SLASHES = re.compile(
    r"(?P<first>\d\d?)(?P<separator>[-/.])\s?(?P<next>\d\d?)(?P=separator)\s?(?P<year>\d{4}|\d\d)" + _CLOCK,
    re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
_DAY = r"\d\d?(?:st|nd|rd|th)?"
_WORDS = re.compile(
    rf"(?:[a-z]{{3,9}},?\s)?(?:(?P<day>{_DAY})\.?\s(?P<month>{_MONTH})\.?|"
    rf"(?P<month_first>{_MONTH})\.?\s(?P<day_next>{_DAY})),?\s(?P<year>\d{{4}})" + _CLOCK,
    re.IGNORECASE,
)
"""English names of months: 5 March 2024, Mar 5th, 2024, 10:15 AM."""
_NUMBER = re.compile(r"[+-]?\d{1,30}(?:\.\d{0,30})?")
_DIGITS = re.compile(r"\d{8}|\d{14}")
_SHOWN = 60


def iso(moment: datetime) -> str:
    """Format `moment` with its own offset, like 2024-05-01T12:00:00+02:00, or with Z in UTC.

    The first ten characters are the day where it was written.
    """
    text = moment.isoformat()
    return text.removesuffix("+00:00") + "Z" if moment.utcoffset() == timedelta() else text


def read_date(value: Any, style: Style = STRICT) -> datetime:
    """Read a point in time and keep its offset; a time without one is in the zone of `style`, UTC by default.

    Accepts ISO 8601 of any precision from days on, also compact (20240305T101500) or with slashes
    (2024/03/05), RFC 2822 (mail), English names of months (March 5, 2024 10:15 AM), and numbers: days like
    20240305, and seconds, milliseconds or microseconds since 1970 from FIRST_YEAR to LAST_YEAR. `style` adds
    what its source states. Raises ValueError, naming the value.
    """
    try:
        moment = _read(value, style)
        if moment is not None and moment.tzinfo is None:
            moment = moment.astimezone() if style.zone is None else moment.replace(tzinfo=style.zone)
    except (ValueError, OverflowError, OSError):  # The last one for years that the machine's zone lacks.
        moment = None
    if moment is None:
        raise ValueError(_refusal(value, style))
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None
    return moment


def date_if_read(value: Any, style: Style = STRICT) -> datetime | None:
    """Read a point in time like `read_date`. None for a value that it refuses."""
    try:
        return read_date(value, style)
    except ValueError:
        return None


def settled_order(dates: Iterable[str]) -> Order | None:
    """Find the order of day and month that all `dates`, like 05/03/2024, agree with.

    None if no date has a number above 12 to settle it, or if two dates contradict each other.
    """
    found: set[Order] = set()
    for text in dates:
        if match := _SLASHES.fullmatch(text.strip()):
            if int(match["first"]) > 12:
                found.add("day-first")
            if int(match["next"]) > 12:
                found.add("month-first")
    return found.pop() if len(found) == 1 else None


def _read(value: Any, style: Style) -> datetime | None:
    match value:
        case datetime():
            return value
        case date():
            return datetime(value.year, value.month, value.day)
        case bool():
            return None
        case int() | float():
            return _from_number(str(value), value, style)
        case str():
            return _from_text(value.strip(), style)
    return None


def _from_text(text: str, style: Style) -> datetime | None:
    if _NUMBER.fullmatch(text):
        return _from_number(text, float(text), style)
    if found := _ISO.fullmatch(text):
        return _from_iso(found)
    if style.coarse and (found := _YEAR.fullmatch(text)):
        return datetime(int(found["year"]), int(found["month"] or 1), 1)
    if style.order and (found := _SLASHES.fullmatch(text)):
        return _from_slashes(found, style.order)
    if found := _WORDS.fullmatch(text):
        month = found["month"] or found["month_first"]
        day = (found["day"] or found["day_next"]).rstrip("stndrhSTNDRH")
        return _at_clock(found, int(found["year"]), _MONTHS.index(month[:3].lower()) + 1, int(day))
    return parsedate_to_datetime(text) if _MAIL.fullmatch(text) else None


def _from_slashes(found: re.Match[str], order: Order) -> datetime:
    year, day, month = int(found["year"]), int(found["first"]), int(found["next"])
    if len(found["year"]) == 2:
        year += 2000 if year <= _LATEST_SHORT_YEAR else 1900
    if order == "month-first":
        day, month = month, day
    return _at_clock(found, year, month, day)


def _at_clock(found: re.Match[str], year: int, month: int, day: int) -> datetime:
    """Return the day at the time that a match of _CLOCK found."""
    hour = int(found["hour"] or 0)
    if half := found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("an hour before or after noon is 1 to 12")
        hour = hour % 12 + (12 if half in "pP" else 0)
    zone = _zone(found["zone"]) if found["zone"] else None
    return datetime(year, month, day, hour, int(found["minute"] or 0), int(found["second"] or 0), tzinfo=zone)


def _from_number(text: str, number: float, style: Style) -> datetime | None:
    if style.serials and _FIRST_SERIAL <= number < _LAST_SERIAL:
        # A fraction of a day is exact to less than a millisecond.
        return _SERIAL_ZERO + timedelta(milliseconds=round(number * 86_400_000))
    if style.coarse and _YEAR.fullmatch(text) and EARLIEST_COMPACT <= int(text) <= LAST_YEAR:
        return datetime(int(text), 1, 1)
    if _DIGITS.fullmatch(text) and EARLIEST_COMPACT <= int(text[:4]) <= LAST_YEAR:
        return datetime.strptime(text, "%Y%m%d%H%M%S"[: 6 if len(text) == 8 else None])
    for unit in _UNITS:
        if _WINDOW[0] <= number / unit < _WINDOW[1]:
            return datetime.fromtimestamp(number / unit, UTC)
    return None


def _from_iso(found: re.Match[str]) -> datetime:
    if not found["separator"] and len(found["month"] + found["day"]) != 4:
        raise ValueError("a compact date has two digits for the month and two for the day")
    fraction = int((found["fraction"] or "").ljust(6, "0")[:6])
    day = int(found["year"]), int(found["month"]), int(found["day"])
    time = int(found["hour"] or 0), int(found["minute"] or 0), int(found["second"] or 0), fraction
    return datetime(*day, *time, tzinfo=_zone(found["zone"]) if found["zone"] else None)


def _zone(text: str) -> timezone:
    if text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    if digits[2:] > "59":
        raise ValueError("an offset has less than 60 minutes")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _refusal(value: Any, style: Style) -> str:
    text = str(value).strip() if isinstance(value, str | int | float) else type(value).__name__
    shown = repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
    if _YEAR.fullmatch(text) and not style.coarse:
        return f"{shown} names no day: give one, like 2024-03-05"
    if _NUMBER.fullmatch(text):
        return (
            f"{shown} is not a plausible time: a number is a day like 20240305, or a time since 1970 in "
            f"seconds, milliseconds or microseconds that falls in the years {FIRST_YEAR} to {LAST_YEAR}"
        )
    if style.order is None and _SLASHES.fullmatch(text):
        return f"{shown} does not say whether the day or the month comes first: give it like 2024-03-05"
    return f"Input should be a valid datetime, like 2024-03-05T10:15:00+01:00, not {shown}"
