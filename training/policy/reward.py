"""The reward of a trajectory: the score of its answer, plus bonuses, minus costs for its form.

The parts are kept separate, so that a rising curve shows which of them rose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agent.trajectory import Trajectory
from index.numbers import Number
from training.evaluation.records import AspectScore, rubric_score
from training.judging.factory import JudgeConfiguration
from training.policy.rows import Needs, Row


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


class Quality(Protocol):
    """Scores what an answer says."""

    async def score(self, row: Row, answer: str) -> float | None:
        """None if it could not be scored. Raises ValueError for a row without what it needs."""
        ...

    async def check(self) -> None:
        """Raises TrainingError, saying what to do, if it cannot score."""
        ...

    async def aclose(self) -> None:
        """Close connections and files."""
        ...


class RewardFunction(Protocol):
    """Rewards the trajectories of training. For use in one event loop."""

    async def reward(self, row: Row, trajectory: Trajectory) -> Reward:
        """Reward a trajectory. A part that could not be scored is None, never a number."""
        ...

    async def check(self) -> None:
        """Raises TrainingError, saying what to do, if trajectories cannot be rewarded."""
        ...

    async def aclose(self) -> None:
        """Close connections and files."""
        ...


class RewardSettings(Protocol):
    """The part of a configuration that chooses a reward, and opens it."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> Needs:
        """What the reward needs of every row."""
        ...

    async def open(self, judge: JudgeConfiguration, verdicts: Path, costs: Costs) -> RewardFunction:
        """Open the reward; `verdicts` is the file of the judge's verdicts. Raises TrainingError."""
        ...


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
