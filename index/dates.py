"""Reads and writes points in time. The one reader for every entrance: JSON, CSV, conversations, mail.

Nothing is guessed: a value that names no day, or a number that is no plausible time, is refused by name.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

FIRST_YEAR, LAST_YEAR = 1990, 2099
"""Years in which a number is accepted as a time since 1970."""
EARLIEST_COMPACT = 1900
"""First year of a day that is written as a plain number, like 20240305."""
_WINDOW = tuple(datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (FIRST_YEAR, LAST_YEAR + 1))
_UNITS = (1, 1_000, 1_000_000)
"""Units of a second in which a time since 1970 may be counted. Their windows do not overlap."""

_ZONE = r"Z|UTC|GMT|[+-]\d\d(?::?\d\d)?"
_ISO = re.compile(
    r"(?P<year>\d{4})(?P<separator>[-/.]?)(?P<month>\d\d?)(?P=separator)(?P<day>\d\d?)"
    r"(?:[T ]\s?(?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,20}))?)?)?"
    rf"(?:\s?(?P<zone>{_ZONE}))?",
    re.IGNORECASE,
)
_MAIL = re.compile(
    r"(?:[a-z]{3,9},?\s{1,3})?\d\d?\s{1,3}[a-z]{3,9}\s{1,3}\d{4}\s{1,3}\d\d?:\d\d(?::\d\d)?"
    r"(?:\s{1,3}(?:[+-]\d{4}|UTC?|GMT|Z|[ECMP][SD]T))?(?:\s{0,3}\([^()]{0,100}\))?",
    re.IGNORECASE,
)
"""RFC 2822. Other names of zones are ambiguous."""
_YEAR = re.compile(r"\d{4}|\d{4}[-/.]\d\d?")
_NUMBER = re.compile(r"[+-]?\d{1,30}(?:\.\d{0,30})?")
_DIGITS = re.compile(r"\d{8}|\d{14}")
_SHOWN = 60


def iso(moment: datetime) -> str:
    """Format `moment` with its own offset, like 2024-05-01T12:00:00+02:00, or with Z in UTC.

    The first ten characters are the day where it was written.
    """
    text = moment.isoformat()
    return text.removesuffix("+00:00") + "Z" if moment.utcoffset() == timedelta() else text


def read_date(value: Any) -> datetime:
    """Read a point in time and keep its offset; a time without one is assumed to be UTC.

    Accepts ISO 8601 of any precision from days on, also compact (20240305T101500) or with slashes
    (2024/03/05), RFC 2822 (mail), and numbers: days like 20240305, and seconds, milliseconds or microseconds
    since 1970 from FIRST_YEAR to LAST_YEAR. Raises ValueError, naming the value.
    """
    try:
        moment = _read(value)
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise ValueError(_refusal(value))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None
    return moment


def _read(value: Any) -> datetime | None:
    match value:
        case datetime():
            return value
        case date():
            return datetime(value.year, value.month, value.day)
        case bool():
            return None
        case int() | float():
            return _from_number(str(value), value)
        case str():
            text = value.strip()
            if _NUMBER.fullmatch(text):
                return _from_number(text, float(text))
            if found := _ISO.fullmatch(text):
                return _from_iso(found)
            return parsedate_to_datetime(text) if _MAIL.fullmatch(text) else None
    return None


def _from_number(text: str, number: float) -> datetime | None:
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
    return datetime(*day, *time, tzinfo=_zone(found["zone"]) if found["zone"] else UTC)


def _zone(text: str) -> timezone:
    if text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    if digits[2:] > "59":
        raise ValueError("an offset has less than 60 minutes")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _refusal(value: Any) -> str:
    text = str(value).strip() if isinstance(value, str | int | float) else type(value).__name__
    shown = repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
    if _YEAR.fullmatch(text):
        return f"{shown} names no day: give one, like 2024-03-05"
    if _NUMBER.fullmatch(text):
        return (
            f"{shown} is not a plausible time: a number is a day like 20240305, or a time since 1970 in "
            f"seconds, milliseconds or microseconds that falls in the years {FIRST_YEAR} to {LAST_YEAR}"
        )
    return f"Input should be a valid datetime, like 2024-03-05T10:15:00+01:00, not {shown}"
