"""Measures how well a strategy chooses among the members of a pool: scores, success and winning rates.

A strategy is a matrix of the shape (questions, members): the probability of choosing each member. So a
trained selector, one retriever for all questions, the oracle and chance are measured by the same formulas.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.statistics import Interval, bootstrap_interval, ratio_interval
from training.selector.data import Example
from training.tasks.errors import DataError

Values = NDArray[np.float64]

_EQUAL = 1e-12
"""Scores that differ by less are ties."""


@dataclass(frozen=True)
class PoolScores:
    """The score of every member, for the questions that all members have a score for."""

    members: tuple[str, ...]
    questions: tuple[str, ...]
    values: Values
    """Shape (questions, members)."""
    left_out: int = 0
    """Questions without a score for every member."""

    @property
    def is_best(self) -> NDArray[np.bool_]:
        """Whether a member attains the highest score of the pool; several may."""
        best: NDArray[np.bool_] = self.values >= self.values.max(axis=1, keepdims=True) - _EQUAL
        return best


def pool_scores(members: Sequence[str], examples: Iterable[Example]) -> PoolScores:
    """Raises DataError if there is no question with a score for every member."""
    kept, left_out = {}, 0
    for example in examples:
        if example.scores.keys() >= set(members):
            kept[example.id] = [example.scores[name] for name in members]
        else:
            left_out += 1
    if not kept:
        raise DataError("no question has a score for every member of the pool")
    return PoolScores(tuple(members), tuple(kept), np.array(list(kept.values())), left_out)


def best_single(scores: PoolScores) -> str:
    """The member with the highest mean score, to be chosen on other data than it is measured on."""
    return scores.members[int(scores.values.mean(axis=0).argmax())]


def single(scores: PoolScores, member: str) -> Values:
    """One member for every question."""
    return _one_hot(np.full(len(scores.questions), scores.members.index(member)), len(scores.members))


def at_random(scores: PoolScores) -> Values:
    """Every member with the same probability."""
    return np.full(scores.values.shape, 1 / len(scores.members))


def oracle(scores: PoolScores, *, worst: bool = False) -> Values:
    """The best member for each question, or the worst: the bounds of any strategy."""
    return highest(-scores.values if worst else scores.values)


def highest(values: Values) -> Values:
    """The member with the highest value for each question; among equals, the first."""
    return _one_hot(values.argmax(axis=1), values.shape[1])


def _one_hot(chosen: NDArray[np.intp], members: int) -> Values:
    return np.eye(members)[chosen]


@dataclass(frozen=True)
class Outcome:
    """The result of one strategy. Intervals are None if there are fewer than two questions."""

    score: float
    """Mean score of the chosen members."""
    score_interval: Interval | None
    success: float
    """Success rate: the share of questions whose chosen member attains the pool's highest score."""
    success_interval: Interval | None
    gain: float
    """Mean score less that of the reference."""
    gain_interval: Interval | None


def outcome(scores: PoolScores, strategy: Values, reference: Values, *, seed: int = 0) -> Outcome:
    """Measure a strategy, with paired bootstrap intervals over questions."""
    score = (strategy * scores.values).sum(axis=1)
    success = (strategy * scores.is_best).sum(axis=1)
    gain = score - (reference * scores.values).sum(axis=1)
    return Outcome(
        float(score.mean()),
        bootstrap_interval([score.tolist()], seed=seed),
        float(success.mean()),
        bootstrap_interval([success.tolist()], seed=seed),
        float(gain.mean()),
        bootstrap_interval([gain.tolist()], seed=seed),
    )


def outcomes(
    scores: PoolScores, strategies: Mapping[str, Values], reference: str, *, seed: int = 0
) -> dict[str, Outcome]:
    """Measure every strategy, and its gain over the member `reference`."""
    base = single(scores, reference)
    return {name: outcome(scores, values, base, seed=seed) for name, values in strategies.items()}


@dataclass(frozen=True)
class WinningRate:
    """A member's share of the wins in a pool, with its bootstrap interval over questions."""

    rate: float
    interval: Interval | None


def winning_rates(scores: PoolScores, *, seed: int = 0) -> dict[str, WinningRate]:
    """The share of wins by member: every best of a question wins, and the shares add up to 1."""
    wins = scores.is_best.astype(np.float64)
    total = wins.sum(axis=1)
    return {
        name: WinningRate(
            float(wins[:, number].sum() / total.sum()),
            ratio_interval(wins[:, number].tolist(), total.tolist(), seed=seed),
        )
        for number, name in enumerate(scores.members)
    }
