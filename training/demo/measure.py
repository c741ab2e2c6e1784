"""Measures a model on the held-out people, by the number of searches that a question needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from training.demo.engine import BatchedPolicy
from training.demo.model import TinyLlama
from training.demo.rollout import Mode, Rollout, roll_out
from training.demo.vocabulary import Vocabulary
from training.demo.world import Task


@dataclass(frozen=True)
class Figures:
    """Means over the questions with the same number of hops."""

    reward: float
    accuracy: float
    """Fraction of answers that cover the whole rubric."""
    searches: float
    invalid: float
    """Fraction of trajectories without an answer."""


def figures(outcomes: Sequence[Rollout]) -> Figures:
    return Figures(
        reward=fmean(outcome.total for outcome in outcomes),
        accuracy=fmean(outcome.reward.score == 1 for outcome in outcomes),
        searches=fmean(outcome.searches for outcome in outcomes),
        invalid=fmean(outcome.trajectory.answer is None for outcome in outcomes),
    )


async def measure(
    model: TinyLlama, tasks: Sequence[Task], mode: Mode, seed: int | None = None
) -> dict[int, Figures]:
    """Compute figures by hops. Tokens are sampled if a seed is given, else the likeliest ones are taken."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    policy = BatchedPolicy(model, Vocabulary(), generator)
    outcomes = await roll_out(tasks, [policy] * len(tasks), mode)
    return by_hops(outcomes)


def by_hops(outcomes: Sequence[Rollout]) -> dict[int, Figures]:
    groups: dict[int, list[Rollout]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.task.hops, []).append(outcome)
    return {hops: figures(groups[hops]) for hops in sorted(groups)}


def over(by_hops: Mapping[int, Figures], hops: Sequence[int]) -> Figures:
    """Average over these numbers of hops with equal weight."""
    chosen = [by_hops[number] for number in hops]
    return Figures(
        reward=fmean(each.reward for each in chosen),
        accuracy=fmean(each.accuracy for each in chosen),
        searches=fmean(each.searches for each in chosen),
        invalid=fmean(each.invalid for each in chosen),
    )
