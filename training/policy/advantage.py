"""Advantages of the samples of one question, by a choice of formulas.

They are computed here and passed to the trainer unchanged. A trainer that centred them again would cancel
every term that is equal for all samples of a question, such as the score without the profile.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.numbers import Number

Rewards = npt.NDArray[np.float64]
"""Shape (samples,); NaN where a sample was not judged."""


@dataclass(frozen=True)
class Formula:
    """A formula that turns rewards into advantages, with its parameters."""

    name: str
    weight: Number = 0.5
    """λ: the weight of the score without the profile in the baseline; the group's mean has the rest."""
    floor: Number = 0.1
    """Added to the standard deviation. Without it, a group of nearly equal rewards that all differ from the
    score without the profile would outweigh every other group."""

    def __post_init__(self) -> None:
        if self.name not in FORMULAS:
            raise ValueError(f"unknown formula {self.name!r}; choose from {', '.join(FORMULAS)}")


def advantages(rewards: Rewards, without_profile: float | None, formula: Formula) -> Rewards:
    """Advantages of shape (samples,) for rewards of that shape.

    An unjudged sample gets 0 and is left out of mean and deviation. `without_profile` is r_v, the reward of
    the policy's own answer without the profile, on the scale of the rewards. If it is None (unknown), the
    baseline is the group's mean alone.
    """
    judged = ~np.isnan(rewards)
    result = np.zeros_like(rewards)
    if judged.any():
        result[judged] = FORMULAS[formula.name](rewards[judged], without_profile, formula)
    return result


def without_profile_baseline(rewards: Rewards, without_profile: float | None, formula: Formula) -> Rewards:
    """A_i = (s_i − λ·r_v − (1−λ)·mean) / (std + floor).

    Follows the intention of PR² (arXiv 2602.19317): an answer is good as far as it is better than what the
    policy tells anyone. With λ > 0 a group of equal rewards still has a gradient, towards or away from what
    all of its samples did.
    """
    mean = rewards.mean()
    weight = 0.0 if without_profile is None else formula.weight
    baseline = weight * (without_profile or 0.0) + (1 - weight) * mean
    shaped: Rewards = (rewards - baseline) / (_std(rewards) + formula.floor)
    return shaped


def grpo(rewards: Rewards, without_profile: float | None, formula: Formula) -> Rewards:
    """A_i = (s_i − mean) / (std + 1e-9), with the unbiased std: OpenRLHF's `group_norm`."""
    return _standardized(rewards, 1e-9)


def released(rewards: Rewards, without_profile: float | None, formula: Formula) -> Rewards:
    """The advantages of PR²'s released code: its rewards (`released_rewards`), standardized by TRL.

    Within a question these rewards are (s_i − a)/b, with the same a and b for all samples. Standardizing
    cancels a and b, so r_v has no effect on the gradient. Provided for comparison.
    """
    return _standardized(released_rewards(rewards, without_profile or 0.0), 1e-4)


def released_rewards(rewards: Rewards, without_profile: float, shift: float = 2.0) -> Rewards:
    """r_i = (s_i − r_v − mu_all)/std_all − shift·r_v/std, as in the released code before the trainer.

    mu_all and std_all are over the samples and r_v together. A std of 0 is replaced by 1.
    """
    together = np.append(rewards, without_profile)
    std, std_all = _std(rewards) or 1.0, _std(together) or 1.0
    shaped: Rewards = (rewards - without_profile - together.mean()) / std_all - shift * without_profile / std
    return shaped


def _standardized(rewards: Rewards, floor: float) -> Rewards:
    shaped: Rewards = (rewards - rewards.mean()) / (_std(rewards) + floor)
    return shaped


def _std(rewards: Rewards) -> float:
    return float(rewards.std(ddof=1)) if len(rewards) > 1 else 0.0


FORMULAS: Mapping[str, Callable[[Rewards, float | None, Formula], Rewards]] = {
    "without_profile": without_profile_baseline,
    "grpo": grpo,
    "released": released,
}
