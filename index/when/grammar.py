"""A grammar of times: a language's words and patterns, and one meaning of what its patterns find.

Patterns are regular expressions with two short forms: `<month>` is the group `month`, which matches the words
of the table of that name, and a space is any white space. The meaning of a group does not depend on the
language, so a language is data.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, cast

from index.when import days
from index.when.days import Days, Unit
from index.when.feasts import feast

Table = Mapping[str, int]
Side = Literal["since", "before", "after"]

_GROUP = re.compile(r"<(\w+)>")
_NAMED_GROUP = re.compile(r"\(\?P<\w+>")
_DIGITS: Mapping[str, str] = {
    "year": r"(?:19|20)\d\d(?!\d)",
    "day": r"[0-3]?\d(?!\d)",
    "mm": r"[01]?\d(?!\d)",
    "number": r"\d{1,3}(?!\d)",
}
"""Groups that match digits, besides the words of their tables. Others match words alone."""
_WHICH: Mapping[int, Literal["last", "next"]] = {-1: "last", 1: "next"}


@dataclass(frozen=True)
class Range:
    """How a language says from one time to another: what stands before, between and behind them."""

    opening: str
    joint: str
    closing: str = ""


@dataclass(frozen=True)
class Relation:
    """How a language says since, before or after a time: what stands before and behind it."""

    side: Side
    opening: str = ""
    closing: str = ""


@dataclass(frozen=True)
class Language:
    """Words and patterns of one language. All words are in lower case."""

    tables: Mapping[str, Table]
    """Meanings of words by group: `month`, `season` (first month, as meteorologists in the north count
    them; winter ends in the next year), `weekday` (Monday is 0), `which` (last is -1), `yearly` and `near`
    (years and days from this one), `part` (0 to 2), `half` (0, 1), and others that speak for themselves."""
    units: Mapping[str, Unit]
    feasts: Mapping[str, str]
    """Names of `feasts.feast`."""
    points: Sequence[str]
    """Patterns of times that need nothing before them."""
    led_points: Sequence[str] = ()
    """Patterns of names that are times only behind one of `leads`, such as May."""
    led_years: Sequence[str] = ()
    """The same for `year_leads`."""
    leads: str = "(?!)"
    year_leads: str = "(?!)"
    """Match the text just before a time."""
    ranges: Sequence[Range] = ()
    relations: Sequence[Relation] = ()
    distances: Sequence[str] = ()
    """Patterns that stand before a time and name another by its distance: two weeks before."""
    spaced: bool = True
    """Whether words are separated by white space."""


@dataclass(frozen=True)
class Point:
    """A time that a text names: its days, None if there are no such days, and where the text ends."""

    days: Days | None
    stop: int
    has_year: bool
    """Whether the text settles the year, in which other times are then meant, too."""
    is_occasion: bool
    """Whether the text names a feast or a season."""


class Grammar:
    """Compiled patterns of a language. Nothing in them repeats without a bound."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.points, self.led_points, self.led_years = map(
            self._whole, (language.points, language.led_points, language.led_years)
        )
        points = [*self.points, *self.led_points, *self.led_years]
        together = "|".join(pattern.pattern for pattern in points)
        self.any_point = re.compile(_NAMED_GROUP.sub("(?:", together), re.IGNORECASE)
        """Matches where one of the points does, at a small part of the time that all of them take."""
        self.distances = [self._compiled(source) for source in language.distances]
        self.ranges = [
            (self._compiled(each.opening), self._compiled(each.joint), self._compiled(each.closing))
            for each in language.ranges
        ]
        self.relations = [
            (each.side, self._compiled(each.opening), self._compiled(each.closing))
            for each in language.relations
        ]
        self.leads = re.compile(rf"(?:{language.leads})\s?\Z", re.IGNORECASE)
        # With case: German tells names by it.
        self.year_leads = re.compile(rf"(?:{language.year_leads})\s?\Z")

    def patterns(self) -> list[re.Pattern[str]]:
        """Return all patterns, each of which is only tried at a place in a text."""
        several = [*self.ranges, *(relation[1:] for relation in self.relations)]
        lists = ([self.any_point], self.points, self.led_points, self.led_years, self.distances, *several)
        return [pattern for patterns in lists for pattern in patterns]

    def point(self, text: str, at: int, today: date, year: int | None = None, *, led: bool) -> Point | None:
        """Read the longest time that begins at `at`; without a year of its own it is in `year`, if given."""
        if not self.any_point.match(text, at):
            return None
        before = text[max(at - 24, 0) : at]
        tried = list(self.points)
        if led or self.leads.search(before):
            tried += self.led_points
        if led or self.year_leads.search(before):
            tried += self.led_years
        found = [match for pattern in tried if (match := pattern.match(text, at))]
        if not found:
            return None
        longest = max(found, key=lambda match: match.end())
        groups = {name: said for name, said in longest.groupdict().items() if said}
        has_year = bool(groups.keys() & {"year", "yearly", "unit", "near", "which"})
        try:
            meant = self._meaning(groups, today, year)
        except (ValueError, OverflowError):
            meant = None
        return Point(meant, longest.end(), has_year, bool(groups.keys() & {"feast", "season"}))

    def distant(self, match: re.Match[str], point: Days) -> Days:
        """Return the days that a match of `distances` names, seen from `point`.

        Raises ValueError or OverflowError if there are none.
        """
        sign = self._value("side", match["side"])
        edge = point.first if sign < 0 else point.end - timedelta(1)
        if weekday := match.groupdict().get("weekday"):
            return _weekday(edge, self._value("weekday", weekday), "last" if sign < 0 else "next")
        number = self._value("number", match["number"]) if match["number"] else 1
        unit = self.language.units[match["unit"].casefold()]
        if unit == "weekend":
            return days.shifted(edge, unit, sign)
        if number > 1 or unit == "day":
            return days.distant(edge, unit, sign * number)
        other = days.distant(edge, "day", sign * {"week": 7, "month": 31, "quarter": 92, "year": 366}[unit])
        return Days(other.first, point.first) if sign < 0 else Days(point.end, other.end)

    def _whole(self, sources: Sequence[str]) -> list[re.Pattern[str]]:
        """Compile patterns that end with a word."""
        end = r"(?!\w)" if self.language.spaced else ""
        return [self._compiled(f"(?:{source}){end}") for source in sources]

    def _compiled(self, source: str) -> re.Pattern[str]:
        return re.compile(_GROUP.sub(self._group, source).replace(" ", r"\s"), re.IGNORECASE)

    def _group(self, match: re.Match[str]) -> str:
        name = match[1]
        words = {"unit": self.language.units, "feast": self.language.feasts}.get(
            name, self.language.tables.get(name, {})
        )
        longest_first = sorted(words, key=lambda word: (-len(word), word))
        choices = [
            *(re.escape(word).replace("\\ ", " ") for word in longest_first),
            *filter(None, [_DIGITS.get(name)]),
        ]
        return f"(?P<{name}>{'|'.join(choices)})"

    def _value(self, name: str, said: str) -> int:
        table = self.language.tables.get(name, {})
        word = " ".join(said.casefold().split())
        return table[word] if word in table else int(word)

    def _meaning(self, said: Mapping[str, str], today: date, year: int | None) -> Days:
        """Return the days that groups mean. Raises ValueError or OverflowError if there are none."""

        def value(name: str, default: int | None = None) -> int | None:
            return self._value(name, said[name]) if name in said else default

        yearly = value("yearly")
        named = value("year", year if yearly is None else today.year + yearly)
        which = value("which")
        if "near" in said:
            return days.shifted(today, "day", cast(int, value("near")))
        if "weekday" in said:
            return self._weekday_of(said, today)
        if "unit" in said:
            unit = self.language.units[said["unit"].casefold()]
            if "ago" in said:
                return days.distant(today, unit, -cast(int, value("number")))
            if "past" in said:
                return days.stretch(today, unit, cast(int, value("number", 1)))
            return days.shifted(today, unit, which or 0)

        def of_year(number: int) -> Days:
            return self._within(said, number)

        if named is not None:
            return of_year(named)
        if which == 0:
            latest = days.recurring(of_year, today, "latest")
            # This winter may have begun in the last year.
            return latest if latest.end > today else of_year(today.year)
        return days.recurring(of_year, today, _WHICH.get(which or 0, "latest"))

    def _weekday_of(self, said: Mapping[str, str], today: date) -> Days:
        wanted = self._value("weekday", said["weekday"])
        which = self._value("which", said["which"]) if "which" in said else None
        if "weekly" in said:
            return days.day(days.shifted(today, "week", which or 0).first + timedelta(wanted))
        if which == 0:
            return days.day(days.week(today).first + timedelta(wanted))
        return _weekday(today, wanted, _WHICH.get(which or 0, "latest"))

    def _within(self, said: Mapping[str, str], year: int) -> Days:
        """Return the days in `year`."""

        def value(name: str) -> int:
            return self._value(name, said[name])

        month = value("month") if "month" in said else value("mm") if "mm" in said else None
        if month is not None and "day" in said:
            return days.day(date(year, month, value("day")))
        if month is not None:
            if not 1 <= month <= 12:
                raise ValueError(f"there is no month {month}")
            whole = days.months(year, month)
        elif "season" in said:
            whole = days.months(year, value("season"), 3)
        elif "quarter" in said:
            whole = days.months(year, 3 * value("quarter") - 2, 3)
        elif "feast" in said:
            return feast(self.language.feasts[" ".join(said["feast"].casefold().split())], year)
        else:
            whole = days.year(year)
        if "part" in said:
            return days.third(whole, value("part"))
        if "half" in said:
            return days.half(whole, value("half"))
        if "nth" in said:
            first = days.distant(whole.first, "day", 7 * value("nth") - 7).first
            return Days(first, min(first + timedelta(7), whole.end))
        return whole


def _weekday(today: date, wanted: int, which: Literal["latest", "last", "next"]) -> Days:
    """Return the nearest such weekday (Monday is 0): until today, before it, or after it."""
    if which == "next":
        return days.day(today + timedelta((wanted - today.weekday() - 1) % 7 + 1))
    start = today - timedelta(which == "last")
    return days.day(start - timedelta((start.weekday() - wanted) % 7))
