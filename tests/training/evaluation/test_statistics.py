"""The statistics against SciPy, and against slow, plain references."""

import itertools
import math
import random
import statistics as reference

import numpy as np
import pytest
from scipy import stats

from training.evaluation.statistics import (
    EXACT,
    McNemar,
    bootstrap_interval,
    histogram,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_t,
    quartile_bin,
    quartile_edges,
    ratio_interval,
    spread,
)


@pytest.mark.parametrize("n", [2, 5, 60, 1000])
def test_the_paired_t_test_is_scipys(n: int) -> None:
    chance = np.random.default_rng(n)
    first, second = chance.random(n), chance.random(n) - 0.05
    ours, theirs = paired_t(first.tolist(), second.tolist()), stats.ttest_rel(first, second)
    assert ours.pairs == n
    assert ours.mean == pytest.approx(float(np.mean(first - second)), rel=1e-12)
    assert ours.t == pytest.approx(theirs.statistic, rel=1e-9)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-8)


@pytest.mark.parametrize("t", [1e-9, 0.1, -2.0, 30.0])
def test_p_values_have_their_closed_forms(t: float) -> None:
    # Both have the mean t; one and two degrees of freedom have elementary distributions.
    two, three = paired_t([t - 1, t + 1], [0, 0]), paired_t([t - 3, t, t + 3], [0, 0, 0])
    assert two.t == pytest.approx(t)
    assert three.t == pytest.approx(t / math.sqrt(3))
    assert two.p == pytest.approx(1 - 2 / math.pi * math.atan(abs(t)), rel=1e-8)
    assert three.p == pytest.approx(1 - abs(t) / math.sqrt(6 + t * t), rel=1e-8)


def test_differences_that_do_not_vary_have_no_t() -> None:
    for first, second in (([0.3, 0.7], [0.3, 0.7]), ([0.3, 0.8, 0.4], [0.2, 0.7, 0.3]), ([1.0], [0.0])):
        tested = paired_t(first, second)
        assert (tested.t, tested.p) == (None, None)
        assert tested.mean == pytest.approx(first[0] - second[0])


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        paired_t([], [])
    with pytest.raises(ValueError, match="shorter"):
        paired_t([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="shorter"):
        paired_bootstrap([[1.0, 2.0]], [[1.0]], seed=0)


def test_the_interval_is_that_of_all_resamples() -> None:
    # Few enough to list every resample: the bootstrap draws from exactly these.
    first, second = [0.0, 0.3, 0.5, 1.0], [0.2, 0.9, 0.4]
    means = [
        (sum(one) / 4 + sum(other) / 3) / 2
        for one in itertools.product(first, repeat=4)
        for other in itertools.product(second, repeat=3)
    ]
    found = bootstrap_interval([first, second], seed=1, resamples=20_000)
    assert found == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.01)


def test_the_interval_is_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(5).random(80)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=7)
    found = bootstrap_interval([values.tolist()], seed=1, resamples=20_000)
    assert found == pytest.approx(tuple(theirs.confidence_interval), abs=0.003)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    chance = random.Random(3)
    hits = 0
    for trial in range(200):
        found = bootstrap_interval([[chance.random() for _ in range(40)]], seed=trial, resamples=300)
        assert found is not None
        hits += found[0] <= 0.5 <= found[1]
    assert 0.88 <= hits / 200 <= 0.99


def test_an_interval_is_the_same_again_and_none_for_a_single_score() -> None:
    assert bootstrap_interval([[0.1, 0.5, 0.9]], seed=4) == bootstrap_interval([[0.1, 0.5, 0.9]], seed=4)
    assert bootstrap_interval([[0.1, 0.5], [0.3]], seed=4) is None
    assert bootstrap_interval([], seed=4) is None


def test_the_paired_interval_is_that_of_the_differences() -> None:
    first, second = [[0.5, 1.0, 0.75], [0.25, 0.5]], [[0.25, 0.5, 0.75], [0.0, 0.75]]
    differences = [[0.25, 0.5, 0.0], [0.25, -0.25]]
    assert paired_bootstrap(first, second, seed=9) == bootstrap_interval(differences, seed=9)
    assert paired_bootstrap([[0.2, 0.9]], [[0.2, 0.9]], seed=9) == (0.0, 0.0)


def test_holm_corrects_as_in_his_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.8, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_histogram_counts_every_value_once_or_refuses() -> None:
    edges = [0.0, 0.25, 0.5, 1.0]
    assert histogram([0.0, 0.2, 0.25, 0.5, 1.0], edges) == [2, 1, 2]
    assert histogram([], edges) == [0, 0, 0]
    with pytest.raises(ValueError, match="outside"):
        histogram([1.01], edges)


def test_quartile_bins_hold_a_quarter_each_and_keep_equal_values_together() -> None:
    edges = quartile_edges(range(1, 101))
    bins = [quartile_bin(value, edges) for value in range(1, 101)]
    assert [bins.count(number) for number in range(4)] == [25, 25, 25, 25]
    same = quartile_edges([5, 5, 5, 5])
    assert quartile_bin(5, same) == 0


def test_a_spread_is_that_of_the_standard_library() -> None:
    values = [random.Random(1).random() for _ in range(99)]
    found, deciles = spread(values), reference.quantiles(values, n=10, method="inclusive")
    assert found is not None
    assert (found.p10, found.p90) == pytest.approx((deciles[0], deciles[-1]))
    assert (found.p25, found.median, found.p75) == pytest.approx(
        reference.quantiles(values, n=4, method="inclusive")
    )
    assert spread([]) is None


def test_the_interval_of_a_ratio_resamples_pairs() -> None:
    # Every pair has the same ratio, so any sample of pairs has it, too.
    found = ratio_interval([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], seed=1)
    assert found == pytest.approx((0.5, 0.5))
    low, high = ratio_interval([0.0, 1.0] * 50, [1.0, 1.0] * 50, seed=1) or (0, 0)
    mean = bootstrap_interval([[0.0, 1.0] * 50], seed=2) or (0, 0)
    assert (low, high) == pytest.approx(mean, abs=0.03)
    assert ratio_interval([1.0], [2.0], seed=1) is None
    with pytest.raises(ValueError, match="argument"):
        ratio_interval([1.0, 2.0], [2.0], seed=1)


def outcomes(only_first: int, only_second: int, both: int = 7, neither: int = 3) -> tuple[list[float], ...]:
    counts = (only_first, only_second, both, neither)
    first = [value for count, value in zip(counts, (1.0, 0.0, 1.0, 0.0), strict=True) for _ in range(count)]
    second = [value for count, value in zip(counts, (0.0, 1.0, 1.0, 0.0), strict=True) for _ in range(count)]
    return first, second


@pytest.mark.parametrize(("one", "other"), [(1, 0), (5, 5), (8, 2), (0, 12), (3, 21)])
def test_mcnemar_is_exact_for_few_discordant_pairs(one: int, other: int) -> None:
    n = one + other
    tail = sum(math.comb(n, i) for i in range(min(one, other) + 1)) / 2**n
    found = mcnemar(*outcomes(one, other))
    assert (found.only_first, found.only_second) == (one, other)
    assert found.p == pytest.approx(min(1.0, 2 * tail))


@pytest.mark.parametrize(("one", "other"), [(10, 15), (59, 121), (40, 40), (3, 97)])
def test_mcnemar_is_corrected_chi_squared_for_many(one: int, other: int) -> None:
    assert one + other >= EXACT
    statistic = max(abs(one - other) - 1, 0) ** 2 / (one + other)
    # The tail of chi-squared with one degree of freedom.
    expected = math.erfc(math.sqrt(statistic / 2))
    assert mcnemar(*outcomes(one, other)).p == pytest.approx(expected)
    assert mcnemar(*outcomes(other, one)) == McNemar(other, one, mcnemar(*outcomes(one, other)).p)


def test_mcnemar_without_discordant_pairs_has_no_p() -> None:
    assert mcnemar([1, 0, 1], [1, 0, 1]) == McNemar(0, 0, None)
    assert mcnemar([], []) == McNemar(0, 0, None)


@pytest.mark.parametrize(("first", "second"), [([0.5], [1]), ([1, 0], [1])])
def test_mcnemar_refuses_other_scores(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match=r"0 and 1|argument 2"):
        mcnemar(first, second)
