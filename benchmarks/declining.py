"""Measures declining: how well a score tells questions that a history answers from those that it does not.

Pure functions. A question is declined if its score is below a threshold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LOST = 0.1
"""The largest share of answerable questions that a threshold may decline on the data that chose it."""


@dataclass(frozen=True)
class Scores:
    """Scores of a data set's questions: higher where the history seems to answer."""

    answerable: Sequence[float]
    unanswerable: Sequence[float]


@dataclass(frozen=True)
class Declined:
    """Shares of a data set's questions that a threshold of other data sets declines."""

    threshold: float
    answerable: float
    unanswerable: float


def auroc(scores: Scores) -> float | None:
    """Probability that an answerable question scores above an unanswerable one, ties counting half.

    The area under the ROC curve (Hanley & McNeil 1982). None without questions of both kinds.
    """
    if not scores.answerable or not scores.unanswerable:
        return None
    high, low = np.asarray(scores.answerable)[:, None], np.asarray(scores.unanswerable)[None]
    return float(((high > low) + 0.5 * (high == low)).mean())


def threshold_of(data: Sequence[Scores], lost: float = LOST) -> float:
    """The highest threshold that declines at most `lost` of the answerable questions of each data set.

    It is the lowest of the data sets' own, so that none pays for another. Raises ValueError if no data set
    has answerable questions.
    """
    own = []
    for scores in data:
        ordered = sorted(scores.answerable)
        if ordered:
            # Scores below the threshold are declined: this one is the first that is kept.
            own.append(ordered[min(int(lost * len(ordered)), len(ordered) - 1)])
    return min(own)


def share_below(values: Sequence[float], threshold: float) -> float:
    """Share of values below the threshold; 0 without values."""
    return sum(value < threshold for value in values) / len(values) if values else 0.0


def leave_one_out(data: Mapping[str, Scores]) -> dict[str, Declined]:
    """Shares of each data set that a threshold chosen on the others declines; empty for a single data set."""
    found = {}
    for name, scores in data.items():
        others = [other for key, other in data.items() if key != name]
        if others:
            threshold = threshold_of(others)
            found[name] = Declined(
                threshold,
                share_below(scores.answerable, threshold),
                share_below(scores.unanswerable, threshold),
            )
    return found
