"""The day on which a search is made, and the days that it is limited to."""

import re
from dataclasses import dataclass, replace
from datetime import date, datetime

from index.errors import InvalidPeriod
from index.values import Period
from index.when.days import Unit, stretch
from index.when.zones import zone_named

_LAST = re.compile(r"(?P<count>\d{1,4}) ?(?P<unit>[dwmy])")
_SHOWN = 60
_UNITS: dict[str, Unit] = {"d": "day", "w": "week", "m": "month", "y": "year"}


@dataclass(frozen=True)
class Scope:
    """Limits of a search in time. Days are local: those of a document where it was written.

    Raises InvalidPeriod if no day is left.
    """

    today: date
    """The person's day, from which a question's times are seen."""
    after: date | None = None
    """The first day. Documents without a date are left out."""
    before: date | None = None
    """The day behind the last one. Documents without a date are left out."""
    hides_later: bool = False
    """Whether documents later than `today` are left out. Those without a date are not."""
    time_zone: str = "UTC"
    """IANA name of the person's time zone."""

    def __post_init__(self) -> None:
        if self.after and self.before and self.after >= self.before:
            raise InvalidPeriod(f"after ({self.after}) has to be earlier than before ({self.before})")

    def within(self, after: date | None, before: date | None) -> "Scope":
        """Return the part of this scope from the day `after` up to the one before `before`.

        Unlike a scope that somebody asks for, it may have no day: then nothing is found.
        """
        first = max(filter(None, (self.after, after)), default=None)
        end = min(filter(None, (self.before, before)), default=None)
        if first and end and first >= end:
            first, end = date.max, None
        return replace(self, after=first, before=end)


def scope_of(period: Period, time_zone: str, moment: datetime) -> Scope:
    """Return the scope of `period` at `moment`, in its time zone or else `time_zone`.

    Raises InvalidPeriod for a time zone that does not exist, and for a period that has no day.
    """
    zone = zone_named(period.time_zone or time_zone)
    return scope_on(period, period.as_of or moment.astimezone(zone).date(), zone.key)


def scope_on(period: Period, today: date, time_zone: str = "UTC") -> Scope:
    """Return the scope of `period` on the day `today` of a person. Raises InvalidPeriod if it has no day."""
    if period.last and period.after:
        raise InvalidPeriod("give either last or after")
    after = first_of_last(period.last, today) if period.last else period.after
    return Scope(today, after, period.before, hides_later=period.as_of is not None, time_zone=time_zone)


def scope_as_of(day: date) -> Scope:
    """Return the scope of a question that is asked on `day`, in UTC, and sees nothing later."""
    return scope_on(Period(as_of=day), day)


def first_of_last(period: str, today: date) -> date:
    """Return the first day of the last 30d, 2w, 6m or 1y until `today`. Raises InvalidPeriod."""
    match = _LAST.fullmatch(period.strip())
    if not match or int(match["count"]) == 0:
        raise InvalidPeriod(f"{period[:_SHOWN]!r} is not a period: give a number and d, w, m or y, like 30d")
    try:
        return stretch(today, _UNITS[match["unit"]], int(match["count"])).first
    except (ValueError, OverflowError):
        raise InvalidPeriod(f"{period[:_SHOWN]!r} begins before the calendar does") from None
