"""The reward of a trajectory: the score of its answer, plus bonuses, minus costs for its form.

The parts are kept separate, so that a rising curve shows which of them rose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    """The score of the answer, bonuses on top of it, and the deductions for the form."""

    score: float | None
    """From 0 to 1, for a rubric Σ / 2n over its aspects (LaMP-QA, section 3); None if it is unjudged."""
    searches: float
    violations: float
    invalid: float
    bonuses: Mapping[str, float | None] = field(default_factory=dict)
    """Weighted additions by name, see training.policy.prlm; None for one that could not be scored."""

    @property
    def total(self) -> float | None:
        """Score plus bonuses minus costs. None if a part is missing: such a trajectory gets no advantage."""
        gained = added(self.score, *self.bonuses.values())
        return None if gained is None else gained - self.searches - self.violations - self.invalid


def added(*parts: float | None) -> float | None:
    """The sum of the parts; None if one is missing, since a failure is no number."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def reward(trajectory: Trajectory, aspects: Sequence[AspectScore] | None, costs: Costs) -> Reward:
    """The reward of one trajectory, whose answer the judge gave these scores.

    `aspects` is None where there was no answer to judge: it covers nothing, so its score is 0.
    """
    score = rubric_score(aspects or ()) if trajectory.answer is not None else 0.0
    return with_costs(trajectory, score, costs)


def with_costs(
    trajectory: Trajectory,
    score: float | None,
    costs: Costs,
    bonuses: Mapping[str, float | None] | None = None,
) -> Reward:
    """A score and bonuses, with the costs of the trajectory's form."""
    return Reward(
        score=score,
        searches=costs.search * trajectory.searches,
        violations=costs.violation * sum(trajectory.violations.values()),
        invalid=costs.invalid * (trajectory.answer is None),
        bonuses=bonuses or {},
    )
