"""Measures how often a reward model prefers the personalized answer of pairs that it has not seen.

Intervals are over people, whose pairs resemble each other.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.evaluation.statistics import Interval, ratio_interval

_SEED = 0


@dataclass(frozen=True)
class Judged:
    """One pair of answers with the model's scores."""

    user: str
    margin: float
    """Score of the better answer minus that of the other. Raises ValueError if it is not a number."""
    longer: int
    """Tokens of the better answer minus those of the other."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.margin):
            raise ValueError(f"a margin of {self.margin} is not a number: the model has diverged")


@dataclass(frozen=True)
class Accuracy:
    """Share of pairs in which the better answer has the higher score; equal scores count half."""

    value: float
    interval: Interval | None
    """95 %, over people; None if there is only one."""
    pairs: int

    def __str__(self) -> str:
        low, high = self.interval or (float("nan"), float("nan"))
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}], {self.pairs} pairs"


def accuracy(judged: Sequence[Judged]) -> Accuracy | None:
    """Pairwise accuracy. None if there are no pairs."""
    return _weighted((one, 1.0) for one in judged)


def length_controlled(judged: Sequence[Judged]) -> Accuracy | None:
    """Mean of the accuracies on pairs whose better answer is longer, and on those where it is shorter.

    Any score that only rises with the length, or only falls, gets exactly .5. Unlike a regression on the
    difference of lengths this fits nothing, and unlike matching lengths it has no threshold and drops only
    the pairs of equal length. None if either kind is missing: then length cannot be told from merit.
    """
    longer = sum(one.longer > 0 for one in judged)
    shorter = sum(one.longer < 0 for one in judged)
    if not longer or not shorter:
        return None
    return _weighted((one, 1 / (longer if one.longer > 0 else shorter)) for one in judged if one.longer)


def longer_wins(judged: Sequence[Judged]) -> Accuracy | None:
    """The accuracy of a model that prefers the longer answer. None if there are no pairs."""
    return accuracy([Judged(one.user, float(one.longer), one.longer) for one in judged])


def _weighted(judged: Iterable[tuple[Judged, float]]) -> Accuracy | None:
    won, weights, pairs = defaultdict[str, float](float), defaultdict[str, float](float), 0
    for one, weight in judged:
        won[one.user] += weight * (1.0 if one.margin > 0 else 0.5 if one.margin == 0 else 0.0)
        weights[one.user] += weight
        pairs += 1
    if not pairs:
        return None
    interval = ratio_interval(list(won.values()), list(weights.values()), seed=_SEED)
    return Accuracy(sum(won.values()) / sum(weights.values()), interval, pairs)


def best_of(n: int, worths: Sequence[float], scores: Sequence[float]) -> float:
    """Expected worth of the answer with the highest score among n, over all choices of n of the answers.

    The answer with i answers below it is the best of C(i, n - 1) of the C(N, n) choices. Among equal scores,
    the earlier answer is taken for the lower. Raises ValueError if there are fewer than n answers.
    """
    count = len(worths)
    if not 1 <= n <= count:
        raise ValueError(f"there are {count} answers, so there is no best of {n}")
    ordered = sorted(zip(scores, range(count), worths, strict=True))
    return sum(math.comb(i, n - 1) * worth for i, (_, _, worth) in enumerate(ordered)) / math.comb(count, n)
