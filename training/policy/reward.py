"""The reward of a trajectory: the judge's score of its answer, minus costs for its form.

The parts are kept separate, so that a rising curve shows which of them rose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.trajectory import Trajectory
from index.numbers import Number
from training.evaluation.records import AspectScore, rubric_score


@dataclass(frozen=True)
class Costs:
    """Deductions for the form of a trajectory, each at least 0."""

    search: Number = 0.0
    """Per search."""
    violation: Number = 0.0
    """Per violation of the tag format that the episode tolerated."""
    invalid: Number = 0.2
    """Once for a trajectory that ends without an answer."""


@dataclass(frozen=True)
class Reward:
    """A score from 0 to 1, and the deductions for the form."""

    score: float | None
    """Σ / 2n over the rubric's aspects (LaMP-QA, section 3); None where an aspect is unjudged."""
    searches: float
    violations: float
    invalid: float

    @property
    def total(self) -> float | None:
        """The score minus the costs. None without a score: such a trajectory gets no advantage."""
        return None if self.score is None else self.score - self.searches - self.violations - self.invalid


def reward(trajectory: Trajectory, aspects: Sequence[AspectScore] | None, costs: Costs) -> Reward:
    """The reward of one trajectory, whose answer the judge gave these scores.

    `aspects` is None where there was no answer to judge: it covers nothing, so its score is 0.
    """
    return Reward(
        score=rubric_score(aspects or ()) if trajectory.answer is not None else 0.0,
        searches=costs.search * trajectory.searches,
        violations=costs.violation * sum(trajectory.violations.values()),
        invalid=costs.invalid * (trajectory.answer is None),
    )
