"""Reads the days to which a policy limits a search of its own."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from agent.trajectory import Search
from index.errors import InvalidPeriod
from index.values import Period
from index.when.scope import scope_on

LIMITS = ("after", "before", "last")
"""The attributes of a search tag, and the parameters of the search tool, that limit a search in time."""
_ATTRIBUTE = re.compile(r"""(?<!\w)(\w{1,20}) ?= ?(?:"([^"]{0,40})"|'([^']{0,40})'|([^\s"']{1,40}))""")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNWRITABLE = re.compile(r"[^\w./:+ -]")
_LONGEST = 20


def read_days(attributes: str, today: date | None) -> tuple[date | None, date | None]:
    """Return the first day and the day behind the last one of `after="2024-03-01" before="2024-04-01"`.

    None stands for an open end. `last="30d"` is the time up to `today`. Raises InvalidPeriod, whose message
    tells the policy what to write instead.
    """
    if not attributes.strip():
        return None, None
    given = {name: "".join(values) for name, *values in _ATTRIBUTE.findall(attributes)}
    unknown = [name for name in given if name not in LIMITS]
    if unknown or not given:
        what = f"there is no {unknown[0]!r}" if unknown else "the days cannot be read"
        raise InvalidPeriod(f'{what}: write after="2024-03-01" before="2024-04-01", or last="30d"')
    last = given.get("last")
    if last and today is None:
        raise InvalidPeriod("it is not known which day today is: give after instead of last")
    period = Period(_day(given.get("after")), _day(given.get("before")), last or None)
    scope = scope_on(period, today or date.min)
    return scope.after, scope.before


def read_search(query: str, attributes: str, today: date | None, at_ms: float) -> Search:
    """The step of a search whose tag has these attributes. If they cannot be read, it says why."""
    try:
        after, before = read_days(attributes, today)
    except InvalidPeriod as error:
        return Search(query, at_ms, problem=str(error))
    return Search(query, at_ms, after=after, before=before)


def as_attributes(given: Mapping[Any, object]) -> str:
    """The limits among a tool call's arguments as attributes of a search tag; '' without any.

    Characters that a tag cannot hold are replaced, so that the model gets an error about a wrong value.
    """
    said = {name: str(given[name]) for name in LIMITS if given.get(name) not in (None, "")}
    return "".join(f' {name}="{_UNWRITABLE.sub("?", value)[:_LONGEST]}"' for name, value in said.items())


def _day(text: str | None) -> date | None:
    if not text:
        return None
    try:
        # fromisoformat alone would read weeks and other forms, too.
        return date.fromisoformat(text if _DAY.fullmatch(text) else "")
    except ValueError:
        raise InvalidPeriod(f"{text[:_LONGEST]!r} is not a day: write one like 2024-03-01") from None
