"""Passages by their days: those that a search is limited to, and those that a question names."""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from index.ranking.columns import UNDATED
from index.ranking.profile import Profile
from index.text.languages import ENGLISH
from index.text.words import detect
from index.when.reading import Times, Window, times
from index.when.scope import Scope

FADE = 3.0
"""Days from a window after which the preference has fallen to 1 / e."""


def named_times(profile: Profile, text: str, today: date) -> Times:
    """Return the times that `text` names, in its own language or that of the profile."""
    language = detect(text, short=True) or (profile.language(0) if len(profile) else ENGLISH)
    return times(text, today, language)


def without(text: str, windows: tuple[Window, ...]) -> str:
    """Return `text` without the words of its times: few documents write out when they were written.

    Feasts and seasons stay, since people write about them.
    """
    kept, start = [], 0
    for window in (window for window in windows if not window.is_occasion):
        kept.append(text[start : window.start])
        start = window.stop
    return " ".join([*kept, text[start:]])


def nearness(days: NDArray[np.int64], windows: tuple[Window, ...]) -> NDArray[np.float64]:
    """Return how near passages on `days` (see Profile.days) are to a window, shape (passages,).

    It is 1 on a day of a window, and exp(-d / FADE) at d days from the nearest one, since people also write
    about a thing on the day after. A passage without a date has 0.
    """
    distance = np.full(len(days), np.inf)
    for window in windows:
        before = window.first.toordinal() - days if window.first else np.zeros_like(days)
        after = days - (window.end.toordinal() - 1) if window.end else np.zeros_like(days)
        distance = np.minimum(distance, np.maximum(np.maximum(before, after), 0))
    near: NDArray[np.float64] = np.exp(-distance / FADE)
    near[days == UNDATED] = 0
    return near


def allowed_days(days: NDArray[np.int64], scope: Scope) -> NDArray[np.bool_] | None:
    """Return which of the passages on `days` (see Profile.days) the scope lets be found; None for all."""
    if not (scope.after or scope.before or scope.hides_later):
        return None
    found = np.ones(len(days), bool)
    if scope.hides_later:
        found &= days <= scope.today.toordinal()
    if scope.after or scope.before:
        found &= days != UNDATED
    if scope.after:
        found &= days >= scope.after.toordinal()
    if scope.before:
        found &= days < scope.before.toordinal()
    return found
