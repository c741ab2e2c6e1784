"""Advantages of the samples of one question, by the formula that is chosen.

We compute them ourselves and hand them to the trainer as they are: whatever is the same for all samples of a
question, as the answer without the profile is, would be lost in a trainer that centres them again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rewards = npt.NDArray[np.float64]
"""Shape (samples,); NaN where a sample was not judged."""


@dataclass(frozen=True)
class Formula:
    """How rewards become advantages."""

    name: str
    weight: float = 0.5
    """λ: the part of the baseline that is the answer without the profile; the rest is the group's mean."""
    floor: float = 0.1
    """Added to the standard deviation. Without it, a group of nearly equal rewards that all differ from the
    answer without the profile would outweigh every other."""

    def __post_init__(self) -> None:
        if self.name not in FORMULAS:
            raise ValueError(f"there is no formula {self.name!r}; there are {', '.join(FORMULAS)}")


def advantages(rewards: Rewards, without_profile: float | None, formula: Formula) -> Rewards:
    """Shape (samples,) to (samples,). What was not judged gets 0 and counts in no statistic.

    `without_profile` is r_v: what the policy's own answer without the person's history was worth, on the
    scale of the rewards; None where it is not known, and then the group's mean is the whole baseline.
    """
    judged = ~np.isnan(rewards)
    result = np.zeros_like(rewards)
    if judged.any():
        result[judged] = FORMULAS[formula.name](rewards[judged], without_profile, formula)
    return result


def without_profile_baseline(rewards: Rewards, without_profile: float | None, formula: Formula) -> Rewards:
    """A_i = (s_i − λ·r_v − (1−λ)·mean) / (std + floor).

    After PR² (arXiv 2602.19317), with its intention kept: an answer is good as far as it is better than what
    the policy says to anybody. With λ > 0 a group of equal rewards has a gradient, away from or towards what
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
    """What comes of PR²'s released code: its rewards (`released_rewards`), standardized by TRL.

    Within a question only s_i differs in them: they are (s_i − a)/b with a and b the same for all samples.
    Standardizing takes a and b out, whatever they are, so r_v has no part in the gradient. It is here to
    be compared with.
    """
    return _standardized(released_rewards(rewards, without_profile or 0.0), 1e-4)


def released_rewards(rewards: Rewards, without_profile: float, shift: float = 2.0) -> Rewards:
    """r_i = (s_i − r_v − mu_all)/std_all − shift·r_v/std, as released, before the trainer gets them.

    mu_all and std_all are over the samples and r_v together. A std of 0 becomes 1.
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
