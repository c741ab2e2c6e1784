"""Statistics of scores over a sample of questions: intervals, paired tests, bins.

Pure functions. Those that draw at random take a seed, so that a report is reproducible.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Interval = tuple[float, float]
RESAMPLES = 2_000
LEVEL = 0.95
EXACT = 25
"""Discordant pairs below which McNemar's test is exact."""
_DRAWS = 1_000_000
"""Draws per batch, which bounds memory for any number of questions."""


def bootstrap_interval(
    groups: Sequence[Sequence[float]], *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval | None:
    """Percentile bootstrap interval of the mean of the groups' means (Efron & Tibshirani 1993, chapter 13).

    `groups` holds one sequence of scores for each category. Each is resampled within itself, since the
    categories are not a sample. One group gives the interval of a plain mean. None if a group has fewer than
    two scores: resampling one score says nothing about variation.
    """
    if not groups or any(len(group) < 2 for group in groups):
        return None
    random = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for group in groups:
        values = np.asarray(group, dtype=np.float64)
        at_once = max(1, _DRAWS // len(values))
        for start in range(0, resamples, at_once):
            part = means[start : start + at_once]
            part += values[random.integers(0, len(values), (len(part), len(values)))].mean(axis=1)
    low, high = np.quantile(means / len(groups), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap(
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Bootstrap `first` minus `second`, question by question: questions are resampled, not runs.

    Raises ValueError unless both have groups of the same lengths, in the same order.
    """
    differences = [
        [one - other for one, other in zip(left, right, strict=True)]
        for left, right in zip(first, second, strict=True)
    ]
    return bootstrap_interval(differences, seed=seed, resamples=resamples, level=level)


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Percentile bootstrap interval of Σ numerators / Σ denominators, resampled in pairs.

    The denominators are positive. None if there are fewer than two pairs. Raises ValueError if the sequences
    differ in length.
    """
    pairs = np.array(list(zip(numerators, denominators, strict=True)), dtype=np.float64)
    if len(pairs) < 2:
        return None
    random = np.random.default_rng(seed)
    sums = np.zeros((resamples, 2))
    at_once = max(1, _DRAWS // len(pairs))
    for start in range(0, resamples, at_once):
        part = sums[start : start + at_once]
        part += pairs[random.integers(0, len(pairs), (len(part), len(pairs)))].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedT:
    """A paired t-test. `t` and `p` (two-sided) are None if the differences do not vary."""

    mean: float
    """Mean of first minus second."""
    pairs: int
    t: float | None
    p: float | None


def paired_t(first: Sequence[float], second: Sequence[float]) -> PairedT:
    """Student's t-test of the differences of pairs (Student 1908), with n - 1 degrees of freedom.

    Raises ValueError if the sequences are empty or differ in length.
    """
    differences = np.array([one - other for one, other in zip(first, second, strict=True)])
    n = len(differences)
    if not n:
        raise ValueError("no pairs to test")
    mean = float(differences.mean())
    deviation = float(differences.std(ddof=1)) if n > 1 else 0.0
    # Equal differences of decimal fractions still differ by rounding errors.
    if deviation <= 1e-12 * max(1.0, abs(mean)):
        return PairedT(mean, n, None, None)
    tested = stats.ttest_1samp(differences, 0.0)
    return PairedT(mean, n, float(tested.statistic), float(tested.pvalue))


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two classifiers. `p` (two-sided) is None if they are right on the same questions."""

    only_first: int
    """Questions that the first alone has right."""
    only_second: int
    p: float | None


def mcnemar(first: Sequence[float], second: Sequence[float]) -> McNemar:
    """Test whether two classifiers are right equally often (McNemar 1947), from 1 for right and 0 for wrong.

    Exact (binomial) for fewer than EXACT discordant pairs, else by χ² with Edwards' continuity correction
    (1948). Raises ValueError for other values, or sequences that differ in length.
    """
    pairs = list(zip(first, second, strict=True))
    if not {value for pair in pairs for value in pair} <= {0, 1}:
        raise ValueError("McNemar's test needs scores of 0 and 1")
    one = sum(left > right for left, right in pairs)
    other = sum(left < right for left, right in pairs)
    discordant = one + other
    if not discordant:
        return McNemar(0, 0, None)
    if discordant < EXACT:
        p = stats.binomtest(one, discordant).pvalue
    else:
        p = stats.chi2.sf(max(abs(one - other) - 1, 0) ** 2 / discordant, 1)
    return McNemar(one, other, float(p))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple comparisons (Holm 1979), keeping their order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, least = [0.0] * len(p_values), 0.0
    for done, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - done) * p_values[index]))
        corrected[index] = least
    return corrected


def histogram(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Count the values in each of `len(edges) - 1` bins [edge, next edge); the last bin includes its end.

    Raises ValueError if a value is outside the edges, rather than drop it silently.
    """
    counted: NDArray[np.intp] = np.histogram(values, bins=np.asarray(edges))[0]
    if int(counted.sum()) != len(values):
        raise ValueError(f"values outside {edges[0]} to {edges[-1]}")
    return [int(count) for count in counted]


def quartile_edges(values: Sequence[float]) -> tuple[float, float, float]:
    """Quartiles of `values` (linear interpolation), which divide them into four bins."""
    low, middle, high = np.quantile(np.asarray(values, dtype=np.float64), [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def quartile_bin(value: float, edges: tuple[float, float, float]) -> int:
    """Bin of a value, 0 to 3. A value on an edge is in the lower bin, so that equal values share a bin."""
    return sum(value > edge for edge in edges)


@dataclass(frozen=True)
class Spread:
    """Quantiles of a distribution, by linear interpolation."""

    p10: float
    p25: float
    median: float
    p75: float
    p90: float


def spread(values: Sequence[float]) -> Spread | None:
    """Quantiles of `values`; None if there are none."""
    if not values:
        return None
    quantiles = np.quantile(np.asarray(values, dtype=np.float64), [0.1, 0.25, 0.5, 0.75, 0.9])
    return Spread(*map(float, quantiles))
