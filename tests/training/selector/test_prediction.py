"""The formulas of query performance prediction, on cases worked out by hand and against plain references."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.selector.measures import highest
from training.selector.prediction import (
    PREDICTORS,
    Retrieved,
    nqc,
    predicted,
    sigma_max,
    sigma_share,
    standardized,
    wig,
)

HAND = Retrieved((4.0, 3.0, 1.0), documents=4, terms=4)
"""S_C is 2; the mean of the scores found is 8/3."""

rankings = st.builds(
    lambda scores, extra, terms: Retrieved(tuple(sorted(scores, reverse=True)), len(scores) + extra, terms),
    st.lists(st.floats(-10, 10, allow_subnormal=False), min_size=1, max_size=120),
    st.integers(0, 5),
    st.integers(1, 9),
)


def test_wig_is_the_gain_over_the_collection() -> None:
    assert wig(HAND) == pytest.approx((8 / 3 - 2) / 2)
    assert wig(HAND, k=1) == pytest.approx((4 - 2) / 2)


def test_nqc_is_the_spread_over_the_collection() -> None:
    assert nqc(HAND) == pytest.approx(statistics.pstdev([4, 3, 1]) / 2)
    assert nqc(HAND, k=2) == pytest.approx(0.5 / 2)
    assert nqc(Retrieved((1.0, -1.0), 2, 1)) == 0, "the score of the collection is 0"


def test_sigma_max_is_the_widest_spread_of_any_prefix() -> None:
    assert sigma_max(HAND) == pytest.approx(statistics.pstdev([4, 3, 1]))
    assert sigma_max(Retrieved((5.0, 1.0, 1.0, 1.0, 1.0), 5, 1)) == pytest.approx(2.0)


def test_sigma_share_is_the_spread_near_the_best_score() -> None:
    assert sigma_share(HAND) == pytest.approx(0.5)
    assert sigma_share(HAND, 0.25) == pytest.approx(statistics.pstdev([4, 3, 1]))


@pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)
def test_a_ranking_that_found_nothing_gets_zero(predictor: object) -> None:
    assert callable(predictor)
    assert predictor(Retrieved((), 7, 3)) == 0
    assert predictor(Retrieved((0.0,) * 7, 7, 3)) == 0


@given(rankings)
def test_they_equal_plain_references(found: Retrieved) -> None:
    scores, collection = found.scores, math.fsum(found.scores) / found.documents
    prefixes = [statistics.pstdev(scores[:k]) for k in range(1, len(scores) + 1)]
    near = [score for score in scores if score >= 0.5 * scores[0]]
    assert wig(found) == pytest.approx(
        statistics.fmean(score - collection for score in scores[:5]) / found.terms**0.5, abs=1e-6
    )
    if abs(collection) > 1e-3:
        assert nqc(found) == pytest.approx(statistics.pstdev(scores[:100]) / abs(collection), rel=1e-6)
    assert sigma_max(found) == pytest.approx(max(prefixes), abs=1e-6)
    assert sigma_share(found) == pytest.approx(statistics.pstdev(near) if near else 0.0, abs=1e-6)


def test_raw_values_prefer_the_retriever_with_the_larger_scale_and_standardized_ones_do_not() -> None:
    small = [Retrieved((0.9, 0.1), 2, 1), Retrieved((0.3, 0.2), 2, 1)]
    large = [Retrieved((30.0, 10.0), 2, 1), Retrieved((90.0, 10.0), 2, 1)]
    values = predicted(sigma_max, list(zip(small, large, strict=True)))
    assert values == pytest.approx(np.array([[0.4, 10.0], [0.05, 40.0]]))
    assert highest(values).tolist() == [[0, 1], [0, 1]]
    assert highest(standardized(values)).tolist() == [[1, 0], [0, 1]]


@given(st.integers(2, 20), st.integers(0, 10_000))
def test_standardized_values_have_mean_zero_and_deviation_one(questions: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(3, 50, (questions, 3))
    values[:, 2] = 0.1 * 3
    found = standardized(values)
    assert found.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-9)
    assert found.std(axis=0) == pytest.approx([1, 1, 0], abs=1e-9)
