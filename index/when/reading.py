"""Finds the times in a question and returns them as windows of days."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cache

from index.when.days import Days
from index.when.grammar import Grammar, Point

LONGEST = 2_000
"""Characters of a question that are read for times."""
_START = re.compile(r"(?<!\w)\w")
_ANY = re.compile(r"\w")


@dataclass(frozen=True)
class Window:
    """Days that a question names: from `first` up to the one before `end`; None where it is open.

    Days are local ones, as they are shown to people: a document lies in the window if the day where it was
    written does.
    """

    first: date | None
    end: date | None
    start: int
    stop: int
    """Place of the words in the question."""
    is_occasion: bool = False
    """Whether the words name a feast or a season, which texts also write about."""


@dataclass(frozen=True)
class Times:
    """Times of a question, in order, and the texts that name days which do not exist, like 30 February."""

    windows: tuple[Window, ...] = ()
    impossible: tuple[str, ...] = ()


def times(question: str, today: date, language: str) -> Times:
    """Return the times that `question` names, asked on the person's local day `today`.

    `language` is an ISO 639-1 code. English, German and Chinese have grammars; of others, dates whose month
    is named are read. A time without a year is the latest that has begun. English and German names of months
    count behind a preposition or beside a number alone.
    """
    found = list(_Reader(_grammar(language), today).read(question[:LONGEST]))
    return Times(
        tuple(window for window in found if isinstance(window, Window)),
        tuple(said for said in found if isinstance(said, str)),
    )


@cache
def _grammar(language: str) -> Grammar:
    from index.when.chinese import CHINESE
    from index.when.english import ENGLISH
    from index.when.german import GERMAN
    from index.when.names import dates_in

    own = {"en": ENGLISH, "de": GERMAN, "zh": CHINESE}
    return Grammar(own[language] if language in own else dates_in(language))


@dataclass(frozen=True)
class _Found:
    """A window's days, None where it is open, and the end of its text. Without `exists` it is impossible."""

    first: date | None
    end: date | None
    stop: int
    exists: bool = True
    is_occasion: bool = False


@dataclass(frozen=True)
class _Reader:
    grammar: Grammar
    today: date
    points: dict[tuple[int, int | None, bool], Point | None] = field(default_factory=dict)
    """Points read so far, by place, year and lead: several patterns try the same place."""

    def read(self, text: str) -> Iterator[Window | str]:
        """Yield windows, and the texts of days that do not exist."""
        if not self.grammar.any_point.search(text):
            return  # Every time holds a point, and most questions have none.
        stop = 0
        for place in (_START if self.grammar.language.spaced else _ANY).finditer(text):
            at = place.start()
            if at < stop:
                continue
            found = max(self._at(text, at), key=lambda found: found.stop, default=None)
            if found is not None:
                stop = found.stop
                said = text[at:stop]
                window = Window(found.first, found.end, at, stop, found.is_occasion)
                yield window if found.exists else said

    def _at(self, text: str, at: int) -> Iterator[_Found]:
        if point := self._point(text, at):
            yield _found(point.days, point)
        yield from self._ranges(text, at)
        yield from self._relations(text, at)
        for pattern in self.grammar.distances:
            if (match := pattern.match(text, at)) and (point := self._point(text, match.end(), led=True)):
                try:
                    meant = self.grammar.distant(match, point.days) if point.days else None
                except (ValueError, OverflowError):
                    meant = None
                yield _found(meant, point)

    def _ranges(self, text: str, at: int) -> Iterator[_Found]:
        for opening, joint, closing in self.grammar.ranges:
            begun = opening.match(text, at)
            one = self._point(text, begun.end(), led=True) if begun else None
            joined = joint.match(text, one.stop) if one else None
            other = self._point(text, joined.end(), led=True) if joined else None
            closed = closing.match(text, other.stop) if other else None
            if not (begun and one and joined and other and closed):
                continue
            first, last = one.days, other.days
            if first and last:
                # A year that one of them names holds for both.
                if other.has_year and not one.has_year:
                    first = self._in_year(text, begun.end(), last.first.year)
                elif one.has_year and not other.has_year:
                    last = self._in_year(text, joined.end(), first.first.year)
                elif not one.has_year and first.first >= last.end:
                    first = self._in_year(text, begun.end(), last.first.year - 1)
            if first and last and first.first < last.end:
                occasion = one.is_occasion or other.is_occasion
                yield _Found(first.first, last.end, closed.end(), is_occasion=occasion)
            else:
                yield _Found(None, None, closed.end(), exists=False)

    def _relations(self, text: str, at: int) -> Iterator[_Found]:
        for side, opening, closing in self.grammar.relations:
            begun = opening.match(text, at)
            point = self._point(text, begun.end(), led=True) if begun else None
            closed = closing.match(text, point.stop) if point else None
            if not (point and closed):
                continue
            days, stop = point.days, closed.end()
            if days is None:
                yield _Found(None, None, stop, exists=False)
            elif side == "before":
                yield _Found(None, days.first, stop, is_occasion=point.is_occasion)
            else:
                first = days.first if side == "since" else days.end
                yield _Found(first, None, stop, is_occasion=point.is_occasion)

    def _in_year(self, text: str, at: int, year: int) -> Days | None:
        point = self._point(text, at, year, led=True)
        return point.days if point else None

    def _point(self, text: str, at: int, year: int | None = None, *, led: bool = False) -> Point | None:
        key = (at, year, led)
        if key not in self.points:
            self.points[key] = self.grammar.point(text, at, self.today, year, led=led)
        return self.points[key]


def _found(days: Days | None, point: Point) -> _Found:
    if days is None:
        return _Found(None, None, point.stop, exists=False)
    return _Found(days.first, days.end, point.stop, is_occasion=point.is_occasion)
