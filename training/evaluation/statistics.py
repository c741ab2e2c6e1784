"""What can be said about scores of a sample of questions: intervals, paired tests, bins.

Pure functions of numbers. Whatever draws at random takes its seed, so that a report can be made twice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
RESAMPLES = 2_000
LEVEL = 0.95
_DRAWS = 1_000_000
"""Made at once, so that memory stays small however many questions there are."""
_TINY = 1e-300


def bootstrap_interval(
    groups: Sequence[Sequence[float]], *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval | None:
    """Percentile bootstrap interval of the mean of the groups' means (Efron & Tibshirani 1993, chapter 13).

    `groups` is one sequence of scores for each category: each is drawn again with replacement within itself,
    since the categories are no sample. One group gives the interval of a plain mean. None where a group
    holds fewer than two scores: drawn again, one score tells nothing of how scores vary.
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
    """The same for `first` minus `second`, question by question: the questions are drawn, not the runs.

    Both hold the same groups of the same lengths, in the same order; otherwise raises ValueError.
    """
    differences = [
        [one - other for one, other in zip(left, right, strict=True)]
        for left, right in zip(first, second, strict=True)
    ]
    return bootstrap_interval(differences, seed=seed, resamples=resamples, level=level)


@dataclass(frozen=True)
class PairedT:
    """A paired t-test. `t` and `p` (two-sided) are None where the differences do not vary."""

    mean: float
    """Of first minus second."""
    pairs: int
    t: float | None
    p: float | None


def paired_t(first: Sequence[float], second: Sequence[float]) -> PairedT:
    """Student's t-test of the differences of pairs (Student 1908), with n - 1 degrees of freedom.

    Raises ValueError for sequences that are empty or of different lengths.
    """
    differences = np.array([one - other for one, other in zip(first, second, strict=True)])
    n = len(differences)
    if not n:
        raise ValueError("no pairs to test")
    mean = float(differences.mean())
    deviation = float(differences.std(ddof=1)) if n > 1 else 0.0
    # Equal differences of decimal fractions differ by rounding errors, which are no variation.
    if deviation <= 1e-12 * max(1.0, abs(mean)):
        return PairedT(mean, n, None, None)
    t = mean / (deviation / math.sqrt(n))
    return PairedT(mean, n, t, student_p(t, n - 1))


def student_p(t: float, freedom: float) -> float:
    """P(|T| ≥ |t|) for Student's t: I_x(freedom/2, 1/2) at x = freedom/(freedom + t²) (DLMF 8.17)."""
    whole = freedom + t * t
    # Near x = 1 floating point has too few digits left for t.
    if t * t < 1:
        return 1 - incomplete_beta(t * t / whole, 0.5, freedom / 2)
    return incomplete_beta(freedom / whole, freedom / 2, 0.5)


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        # There the fraction converges slowly; the mirrored one does not.
        return 1 - incomplete_beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return front * _beta_fraction(x, a, b) / a


def _beta_fraction(x: float, a: float, b: float) -> float:
    # Lentz's method as modified by Thompson and Barnett (1986).
    d = 1 / _nonzero(1 - (a + b) * x / (a + 1))
    c, value = 1.0, d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for coefficient in (even, odd):
            d = 1 / _nonzero(1 + coefficient * d)
            c = _nonzero(1 + coefficient / c)
            step = c * d
            value *= step
        if abs(step - 1) < 1e-15:
            return value
    raise ArithmeticError(f"I_x(a, b) did not converge at x={x}, a={a}, b={b}")


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the order in which they came."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, least = [0.0] * len(p_values), 0.0
    for done, place in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - done) * p_values[place]))
        corrected[place] = least
    return corrected


def histogram(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many values lie in each of `len(edges) - 1` bins [edge, next edge); the last holds its end too.

    Raises ValueError for a value outside of the edges: none may be left out in silence.
    """
    counted: NDArray[np.intp] = np.histogram(values, bins=np.asarray(edges))[0]
    if int(counted.sum()) != len(values):
        raise ValueError(f"values outside of {edges[0]} to {edges[-1]}")
    return [int(count) for count in counted]


def quartile_edges(values: Sequence[float]) -> tuple[float, float, float]:
    """The quartiles of `values` (linear interpolation), which cut them into four bins."""
    low, middle, high = np.quantile(np.asarray(values, dtype=np.float64), [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def quartile_bin(value: float, edges: tuple[float, float, float]) -> int:
    """0 to 3. A value on an edge is in the lower bin, so that equal values share one."""
    return sum(value > edge for edge in edges)


@dataclass(frozen=True)
class Spread:
    """How values are spread: quantiles by linear interpolation."""

    count: int
    mean: float
    p10: float
    p25: float
    median: float
    p75: float
    p90: float
    maximum: float


def spread(values: Sequence[float]) -> Spread | None:
    """None for no values."""
    if not values:
        return None
    array = np.asarray(values, dtype=np.float64)
    p10, p25, median, p75, p90 = (float(q) for q in np.quantile(array, [0.1, 0.25, 0.5, 0.75, 0.9]))
    return Spread(len(values), float(array.mean()), p10, p25, median, p75, p90, float(array.max()))
