from dataclasses import replace

import pytest

from agent.trajectory import Answer, Invalid, Limits, Search, Trajectory
from training.evaluation.records import AspectScore
from training.policy.reward import Costs, reward

ANSWERED = Trajectory(
    "?", Limits(), steps=(Search("a"), Search("b"), Answer("yes")), finish_reason="answered"
)
COSTS = Costs(search=0.05, violation=0.1, invalid=0.2)


def scored(*scores: int | None) -> list[AspectScore]:
    return [AspectScore(str(number), score) for number, score in enumerate(scores)]


def test_the_score_is_that_of_lamp_qa_and_costs_are_separate() -> None:
    found = reward(replace(ANSWERED, violations={"outside": 2}), scored(2, 1, 0), COSTS)
    assert found.score == pytest.approx(0.5)
    assert (found.searches, found.violations, found.invalid) == pytest.approx((0.1, 0.2, 0.0))
    assert found.total == pytest.approx(0.2)


def test_an_aspect_without_a_verdict_leaves_the_trajectory_without_a_reward() -> None:
    found = reward(ANSWERED, scored(2, None), COSTS)
    assert found.score is None
    assert found.total is None


def test_a_missing_answer_scores_zero_and_costs() -> None:
    found = reward(Trajectory("?", Limits(), steps=(Invalid("no_action"),)), None, COSTS)
    assert found.score == 0.0
    assert found.total == pytest.approx(-0.2)


def test_an_answer_whose_judging_failed_as_a_whole_has_no_score() -> None:
    assert reward(ANSWERED, None, COSTS).total is None
