"""Calendar arithmetic over half-open ranges of days."""

from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Unit = Literal["day", "weekend", "week", "month", "quarter", "year"]
_LEAP = 8
"""Years without a 29 February, at most, around a century."""


@dataclass(frozen=True)
class Days:
    """The days from `first` up to the one before `end`. Raises ValueError if there are none."""

    first: date
    end: date

    def __post_init__(self) -> None:
        if self.first >= self.end:
            raise ValueError(f"{self.first} is not before {self.end}")


def day(first: date, length: int = 1) -> Days:
    return Days(first, first + timedelta(length))


def months(year: int, month: int, length: int = 1) -> Days:
    """Return whole months. `month` may lie outside 1 to 12, and counts on from the year."""
    return Days(_first_of(year, month), _first_of(year, month + length))


def year(number: int) -> Days:
    return months(number, 1, 12)


def week(of: date) -> Days:
    """Return the week from Monday to Sunday that has the day `of`."""
    return day(of - timedelta(of.weekday()), 7)


def third(whole: Days, which: int) -> Days:
    """Return the early (0), middle (1) or late (2) part: ten days of a month, months of anything longer."""
    count = _months_in(whole)
    if count == 1:
        first = whole.first + timedelta(10 * which)
        return Days(first, whole.end if which == 2 else first + timedelta(10))
    size = count // 3
    return months(whole.first.year, whole.first.month + which * size, size)


def half(whole: Days, which: int) -> Days:
    """Return the first (0) or second (1) half of a month (15 days), a year, or another number of months."""
    count = _months_in(whole)
    if count == 1:
        middle = whole.first + timedelta(15)
        return Days(middle, whole.end) if which else Days(whole.first, middle)
    return months(whole.first.year, whole.first.month + which * (count // 2), count // 2)


def shifted(today: date, unit: Unit, by: int) -> Days:
    """Return the calendar unit that is `by` units from that of today: -1 is the last one, 0 this one."""
    match unit:
        case "day":
            return day(today + timedelta(by))
        case "week":
            return week(today + timedelta(7 * by))
        case "weekend":
            return day(week(today + timedelta(7 * by)).first + timedelta(5), 2)
        case "month":
            return months(today.year, today.month + by)
        case "quarter":
            return months(today.year, 3 * ((today.month - 1) // 3 + by) + 1, 3)
        case "year":
            return year(today.year + by)


def distant(today: date, unit: Unit, by: int) -> Days:
    """Return the days that people mean by `by` units from today (negative: ago), one unit around that day.

    A number of years means the calendar year.
    """
    if unit in {"day", "year"}:
        return shifted(today, unit, by)
    if unit in {"week", "weekend"}:
        return day(today + timedelta(7 * by - 3), 7)
    length = 3 if unit == "quarter" else 1
    to = _first_of(today.year, today.month + by * length)
    middle = to.replace(day=min(today.day, monthrange(to.year, to.month)[1]))
    return day(middle - timedelta(15 * length), 31 * length)


def stretch(today: date, unit: Unit, count: int) -> Days:
    """Return the last `count` units up to and with today, by length."""
    if unit in {"day", "week", "weekend"}:
        return Days(today - timedelta(count * (1 if unit == "day" else 7)), today + timedelta(1))
    back = count * {"month": 1, "quarter": 3, "year": 12}[unit]
    return Days(distant(today, "month", -back).first + timedelta(15), today + timedelta(1))


def recurring(of_year: Callable[[int], Days], today: date, which: Literal["latest", "last", "next"]) -> Days:
    """Return one of the yearly days: the latest that has begun, the last that is over, or the next.

    Raises ValueError if `of_year` does for every year, as for a 30 February.
    """
    step = 1 if which == "next" else -1
    fault = ValueError("there is no such day")
    for number in range(today.year - step, today.year + step * (_LEAP + 1), step):
        try:
            found = of_year(number)
        except ValueError as error:
            fault = error
            continue
        done = found.first > today if which == "next" else found.first <= today
        if done and (which != "last" or found.end <= today):
            return found
    raise fault


def _first_of(year: int, month: int) -> date:
    return date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)


def _months_in(whole: Days) -> int:
    return 12 * (whole.end.year - whole.first.year) + whole.end.month - whole.first.month
