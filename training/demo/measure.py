"""What a model does on the held-out people, by how many searches a question needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from training.demo.engine import BatchedPolicy
from training.demo.model import TinyLlama
from training.demo.rollout import Mode, Outcome, roll_out
from training.demo.vocabulary import Vocabulary
from training.demo.world import Task


@dataclass(frozen=True)
class Figures:
    """Means over the questions of one number of hops."""

    reward: float
    accuracy: float
    """The share of answers that cover the whole rubric."""
    searches: float
    invalid: float
    """The share of trajectories without an answer."""


def figures(outcomes: Sequence[Outcome]) -> Figures:
    return Figures(
        reward=fmean(outcome.total for outcome in outcomes),
        accuracy=fmean(outcome.reward.score == 1 for outcome in outcomes),
        searches=fmean(outcome.searches for outcome in outcomes),
        invalid=fmean(outcome.trajectory.answer is None for outcome in outcomes),
    )


async def measure(
    model: TinyLlama, tasks: Sequence[Task], mode: Mode, seed: int | None = None
) -> dict[int, Figures]:
    """Figures by hops. The likeliest tokens are taken; with a seed they are sampled."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    policy = BatchedPolicy(model, Vocabulary(), generator)
    outcomes = await roll_out(tasks, [policy] * len(tasks), mode)
    return by_hops(outcomes)


def by_hops(outcomes: Sequence[Outcome]) -> dict[int, Figures]:
    of: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        of.setdefault(outcome.task.hops, []).append(outcome)
    return {hops: figures(of[hops]) for hops in sorted(of)}


def over(by_hops: Mapping[int, Figures], hops: Sequence[int]) -> Figures:
    """The mean over questions of these numbers of hops, each counted alike."""
    of = [by_hops[number] for number in hops]
    return Figures(
        reward=fmean(each.reward for each in of),
        accuracy=fmean(each.accuracy for each in of),
        searches=fmean(each.searches for each in of),
        invalid=fmean(each.invalid for each in of),
    )
