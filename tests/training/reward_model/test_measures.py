"""Accuracies of reward models, and the best of n answers."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.reward_model.measures import Judged, accuracy, best_of, length_controlled, longer_wins

judgements = st.lists(
    st.builds(Judged, st.sampled_from("abcd"), st.floats(-5, 5), st.integers(-9, 9)), min_size=1
)


def test_accuracy_is_the_share_of_pairs_with_half_for_ties_and_an_interval_over_people() -> None:
    found = accuracy([Judged("a", 1.0, 0), Judged("a", 0.5, 0), Judged("b", -1.0, 0), Judged("b", 0.0, 0)])
    assert found is not None
    assert (found.value, found.pairs) == (0.625, 4)
    # Resampled people are a and a, a and b, or b and b: 1, .625 or .25.
    assert found.interval == (0.25, 1.0)
    assert str(found) == "0.625 [0.250, 1.000], 4 pairs"


def test_there_is_no_interval_over_one_person_and_no_accuracy_without_pairs() -> None:
    alone = accuracy([Judged("a", 1.0, 0)] * 5)
    assert alone is not None
    assert (alone.value, alone.interval) == (1.0, None)
    assert accuracy([]) is None
    assert longer_wins([]) is None


def test_a_model_that_prefers_longer_answers_is_found_out() -> None:
    judged = [Judged(f"u{n}", float(longer), longer) for n, longer in enumerate([3, 2, 5, 1, 4, 9, -2, 2])]
    found, controlled, longer = accuracy(judged), length_controlled(judged), longer_wins(judged)
    assert found is not None
    assert longer is not None
    assert controlled is not None
    assert found.value == longer.value == 7 / 8
    assert controlled.value == pytest.approx(0.5)


@settings(max_examples=25)  # Each draws an interval.
@given(judgements, st.sampled_from([1.0, -1.0]))
def test_any_score_that_is_monotone_in_the_length_gets_half(found: list[Judged], sign: float) -> None:
    controlled = length_controlled([Judged(one.user, sign * one.longer**3, one.longer) for one in found])
    both = any(one.longer > 0 for one in found) and any(one.longer < 0 for one in found)
    assert (controlled is not None) == both
    assert controlled is None or controlled.value == pytest.approx(0.5)


@settings(max_examples=25)  # Each draws an interval.
@given(judgements)
def test_accuracies_are_shares_and_a_perfect_model_has_all(found: list[Judged]) -> None:
    for measure in (accuracy, length_controlled, longer_wins):
        value = measure(found)
        assert value is None or 0 <= value.value <= 1 + 1e-12
    perfect = length_controlled([Judged(one.user, 1.0, one.longer) for one in found])
    assert perfect is None or perfect.value == pytest.approx(1.0)


def test_a_score_that_is_not_a_number_is_an_error_and_not_a_lost_pair() -> None:
    with pytest.raises(ValueError, match="diverged"):
        Judged("a", float("nan"), 0)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(-3, 3)), min_size=1, max_size=7), st.data())
def test_the_best_of_n_is_the_mean_over_all_choices_of_n(
    answers: list[tuple[float, int]], data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, len(answers)))
    worths, scores = [worth for worth, _ in answers], [float(score) for _, score in answers]
    chosen = [
        worths[max(choice, key=lambda i: (scores[i], i))] for choice in combinations(range(len(answers)), n)
    ]
    assert best_of(n, worths, scores) == pytest.approx(sum(chosen) / len(chosen))


def test_there_is_no_best_of_more_answers_than_there_are() -> None:
    with pytest.raises(ValueError, match="there are 2 answers, so there is no best of 3"):
        best_of(3, [0.0, 1.0], [0.0, 1.0])
