"""What a trajectory is worth to the trainer: the judge's score of its answer, and the cost of its form.

The parts stay apart, so that a curve that rises shows what made it rise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.trajectory import Trajectory
from training.evaluation.records import AspectScore, rubric_score


@dataclass(frozen=True)
class Costs:
    """What is taken off for the form of a trajectory, each at least 0."""

    search: float = 0.0
    """For every search."""
    violation: float = 0.0
    """For every deviation from the tags that the episode let pass."""
    invalid: float = 0.2
    """For a trajectory that ends without an answer."""


@dataclass(frozen=True)
class Reward:
    """A score from 0 to 1, and what its form costs."""

    score: float | None
    """Σ / 2n over the rubric's aspects (LaMP-QA, section 3); None where an aspect is unjudged."""
    searches: float
    violations: float
    invalid: float

    @property
    def total(self) -> float | None:
        """The score less the costs; None without a score: such a trajectory has no advantage."""
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
