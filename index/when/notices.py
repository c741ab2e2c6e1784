"""Says which of the days that a question names are missing from a history, or from the calendar."""

from collections.abc import Iterator
from datetime import date
from itertools import islice

from index.ranking.profile import Profile
from index.ranking.times import allowed_days, named_times
from index.values import Notice
from index.when.scope import Scope

MOST = 4
"""Notices of one search, so that a question full of times leaves room for passages."""
_SHOWN = 80


def notices(
    profile: Profile, question: str, after: date | None, before: date | None, scope: Scope
) -> tuple[Notice, ...]:
    """Return what there is to say about the days of a search that `scope` limits.

    Its days are those that `question` names, which is '' if it was read before, and those from `after` up to
    the one before `before`, if the policy limits the search itself.
    """
    found = _notices(profile, question, after, before, scope)
    return tuple(islice(dict.fromkeys(found), MOST))


def _notices(
    profile: Profile, question: str, after: date | None, before: date | None, scope: Scope
) -> Iterator[Notice]:
    named = named_times(profile, question, scope.today)
    yield from (Notice("impossible", said=said[:_SHOWN]) for said in named.impossible)
    for first, end in [*((window.first, window.end) for window in named.windows), (after, before)]:
        if not first and not end:
            continue
        allowed = allowed_days(profile.days, scope.within(first, end))
        if allowed is not None and not allowed.any():
            yield Notice("empty", first, end)
