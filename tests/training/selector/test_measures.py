"""Success and winning rates, oracles and intervals, on cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.selector.data import Candidate, Example
from training.selector.measures import (
    PoolScores,
    at_random,
    best_single,
    highest,
    oracle,
    outcome,
    outcomes,
    pool_scores,
    single,
    winning_rates,
)
from training.tasks.errors import DataError

MEMBERS = ("none", "bm25", "dense")
HAND = PoolScores(
    MEMBERS,
    ("q1", "q2", "q3", "q4"),
    np.array([[0.2, 0.8, 0.5], [0.6, 0.6, 0.1], [0.0, 0.0, 0.0], [0.1, 0.2, 0.9]]),
)


def example(number: int, **scores: float | None) -> Example:
    members = {name: Candidate(prompt="p", output="o", score=score) for name, score in scores.items()}
    return Example(id=f"q{number}", input=f"question {number}", members=members)


def test_questions_without_a_score_for_every_member_are_counted() -> None:
    scores = pool_scores(
        ["none", "bm25"],
        [example(1, none=0.5, bm25=1), example(2, none=0.5), example(3, none=0.1, bm25=None)],
    )
    assert scores.questions == ("q1",)
    assert scores.values.tolist() == [[0.5, 1.0]]
    assert scores.left_out == 2
    with pytest.raises(DataError, match="no question has a score for every member"):
        pool_scores(["none", "dense"], [example(1, none=0.5, bm25=1)])


def test_a_strategy_succeeds_where_it_attains_the_best_score_ties_included() -> None:
    # bm25 is best for q1, shares the best of q2 with none, and that of q3 with all.
    found = outcome(HAND, single(HAND, "bm25"), single(HAND, "none"))
    assert found.success == pytest.approx(3 / 4)
    assert found.score == pytest.approx(1.6 / 4)
    assert found.gain == pytest.approx((1.6 - 0.9) / 4)
    assert outcome(HAND, single(HAND, "none"), single(HAND, "none")).success == pytest.approx(2 / 4)
    assert outcome(HAND, single(HAND, "none"), single(HAND, "none")).gain_interval == (0.0, 0.0)


def test_scores_that_differ_by_a_rounding_error_tie() -> None:
    scores = PoolScores(("a", "b"), ("q",), np.array([[0.1 + 0.2, 0.3]]))
    assert outcome(scores, single(scores, "b"), single(scores, "a")).success == 1


def test_the_bounds_are_the_means_of_the_lowest_and_highest_scores() -> None:
    base = single(HAND, "none")
    assert outcome(HAND, oracle(HAND, worst=True), base).score == pytest.approx((0.2 + 0.1 + 0 + 0.1) / 4)
    assert outcome(HAND, oracle(HAND), base).score == pytest.approx((0.8 + 0.6 + 0 + 0.9) / 4)
    assert outcome(HAND, oracle(HAND), base).success == 1


def test_chance_is_expected_not_drawn() -> None:
    found = outcome(HAND, at_random(HAND), single(HAND, "none"))
    assert found.score == pytest.approx((1.5 + 1.3 + 0 + 1.2) / 12)
    assert found.success == pytest.approx((1 + 2 + 3 + 1) / 12)


def test_winning_rates_credit_all_of_the_best_and_add_up_to_one() -> None:
    rates = winning_rates(HAND)
    # Wins: none 2 (q2, q3), bm25 3 (q1, q2, q3), dense 2 (q3, q4).
    assert {name: found.rate for name, found in rates.items()} == pytest.approx(
        {"none": 2 / 7, "bm25": 3 / 7, "dense": 2 / 7}
    )
    for found in rates.values():
        assert found.interval is not None
        assert found.interval[0] <= found.rate <= found.interval[1]


def test_the_best_single_member_has_the_highest_mean() -> None:
    assert best_single(HAND) == "bm25"
    tied = PoolScores(("a", "b"), ("q",), np.array([[0.5, 0.5]]))
    assert best_single(tied) == "a"


def test_the_highest_value_chooses_and_the_first_of_equals() -> None:
    assert highest(np.array([[0.0, 2.0, 2.0], [3.0, 1.0, 2.0]])).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_one_question_has_no_interval() -> None:
    scores = PoolScores(("a", "b"), ("q",), np.array([[0.5, 0.6]]))
    found = outcomes(scores, {"b": single(scores, "b")}, "a")["b"]
    assert found.gain == pytest.approx(0.1)
    assert found.gain_interval is found.success_interval is None
    assert winning_rates(scores)["b"].interval is None


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 12), st.integers(2, 6), st.integers(0, 10_000))
def test_every_strategy_lies_between_the_oracles(questions: int, members: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 3, (questions, members)) / 2
    names = tuple(f"m{number}" for number in range(members))
    scores = PoolScores(names, tuple(map(str, range(questions))), values)
    strategy = highest(random.random(values.shape))
    base = single(scores, best_single(scores))
    low, found, high = (
        outcome(scores, one, base) for one in (oracle(scores, worst=True), strategy, oracle(scores))
    )
    assert low.score <= found.score + 1e-9 <= high.score + 2e-9
    assert found.success <= high.success == 1
    assert sum(rate.rate for rate in winning_rates(scores).values()) == pytest.approx(1)
