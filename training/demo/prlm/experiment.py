"""One seed: its people, its warm start, its reward models, and the trainings that continue from there."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from index.ranking.retrievers import Retrievers
from training.demo.engine import BatchedPolicy
from training.demo.model import Shape, TinyLlama
from training.demo.prlm.demonstrations import demonstration
from training.demo.prlm.people import Person, Task, people, sample_task
from training.demo.prlm.preference import response
from training.demo.prlm.rollout import LIMITS, Outcome, Searching, roll_out, vocabulary
from training.demo.trainer import Sample, Trainer, sample_of
from training.demo.world import TOPICS
from training.policy.advantage import Formula, advantages
from training.policy.prlm import Parts, Weights, is_well_formed, parts
from training.reward_model.records import Response

Log = Callable[[str], None]
Scorer = Callable[[Sequence[Response]], list[float]]
"""Scores responses as a reward model does."""

SHAPE = Shape(width=96, layers=2, heads=3, hidden=256, products=torch.float32)
"""float32, since only some CPUs are faster with bfloat16."""


@dataclass(frozen=True)
class Preference:
    """The scorer that a training adds to the content, and its weight in the reward."""

    scorer: Scorer
    weights: Weights


WITHOUT = Preference(lambda responses: [0.0] * len(responses), Weights(preference=0.0))
"""Content and form alone."""


@dataclass(frozen=True)
class Plan:
    """Sizes and durations of all phases. The default is the whole demonstration."""

    people: int = 400
    held_out: int = 150
    """Held-out people, with one question each."""
    warm_steps: int = 800
    warm_batch: int = 6
    pairs: int = 600
    epochs: int = 4
    """Of the reward models."""
    steps: int = 40
    """Steps of reinforcement learning, with one update each."""
    groups: int = 16
    """Questions per step."""
    samples: int = 8
    """Trajectories per question."""
    evaluate_every: int = 10


@dataclass(frozen=True)
class Setting:
    """The people and held-out questions of a seed, the same in every process."""

    people: Sequence[Person]
    held_out: Sequence[Task]
    training: Searching
    """BM25 over the histories of all people, as in training."""

    @classmethod
    def of(cls, seed: int, plan: Plan) -> "Setting":
        rng = random.Random(seed)
        known = people(rng, "train", plan.people)
        strangers = people(rng, "held_out", plan.held_out)
        profiles = {person.name: person.profile() for person in (*known, *strangers)}
        tasks = [Task(person, rng.choice(TOPICS)) for person in strangers]
        return cls(known, tasks, Searching(Retrievers().get("bm25"), profiles, {}))


@dataclass(frozen=True)
class Scores:
    """Scores of the held-out questions, in their order, each from 0 to 1."""

    content: Sequence[float]
    manner: Sequence[float]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Scores":
        return cls([each.content for each in outcomes], [each.manner for each in outcomes])

    @property
    def score(self) -> Sequence[float]:
        """The test score: content and manner with equal weight."""
        return [(content + manner) / 2 for content, manner in zip(self.content, self.manner, strict=True)]


@dataclass(frozen=True)
class Point:
    """A training after a number of steps: means of its reward's parts, and of held-out scores."""

    step: int
    quality: float
    preference: float
    """Mean of σ(s)."""
    content: float
    manner: float


def warm_start(seed: int, setting: Setting, plan: Plan, log: Log) -> TinyLlama:
    """Train a model to read, and to answer about as well as the demonstrations do."""
    torch.manual_seed(seed)
    rng = random.Random(f"warm start {seed}")
    tokens = vocabulary()
    model = TinyLlama(len(tokens), SHAPE)
    trainer = Trainer(model, learning_rate=3e-3, steps=plan.warm_steps, warm_up=20)
    fewest, full = 2, 0.5
    for step in range(plan.warm_steps):
        # With many passages from the start, the model would take far longer to learn to find the right one.
        grown = min(step / (full * plan.warm_steps), 1.0)
        most = fewest + round(grown * (LIMITS.max_documents - fewest))
        loss = trainer.step(
            [demonstration(rng, setting.people, tokens, most) for _ in range(plan.warm_batch)]
        )
        if (step + 1) % 100 == 0:
            log(f"seed {seed}: warm start {step + 1}, up to {most} passages, loss {loss:.2f}")
    return model


def reinforce(
    model: TinyLlama,
    method: str,
    seed: int,
    setting: Setting,
    preference: Preference,
    plan: Plan,
    log: Log,
) -> list[Point]:
    """Train the model by GRPO on its own answers by the method. Returns its curve.

    The reward is PrLM's. Questions and random numbers are the same for all trainings of a seed.
    """
    rng = random.Random(f"reinforcement {seed}")
    policy = BatchedPolicy(model, vocabulary(), torch.Generator().manual_seed(seed))
    trainer = Trainer(model, learning_rate=5e-4, steps=plan.steps, warm_up=3)
    points: list[Point] = []
    for number in range(plan.steps):
        tasks = [sample_task(rng, setting.people) for _ in range(plan.groups)]
        repeated = [task for task in tasks for _ in range(plan.samples)]
        outcomes = asyncio.run(roll_out(repeated, policy, method, setting.training))
        rewards = rewarded(outcomes, preference.scorer)
        totals = [each.total(preference.weights) for each in rewards]
        if number % plan.evaluate_every == 0:
            points.append(_point(number, model, method, seed, setting, rewards))
            log(f"seed {seed}, {method}: {points[-1]}")
        trainer.step(list(weighted(outcomes, totals, plan.samples)))
    points.append(_point(plan.steps, model, method, seed, setting, rewards))
    return points


def rewarded(outcomes: Sequence[Outcome], scorer: Scorer) -> list[Parts]:
    """The parts of PrLM's reward, whose quality is the answer's content."""
    scores = scorer([response(each) for each in outcomes])
    return [
        parts(each.answer, each.content, well_formed=is_well_formed(each.trajectory), s=s)
        for each, s in zip(outcomes, scores, strict=True)
    ]


def weighted(outcomes: Sequence[Outcome], rewards: Sequence[float | None], size: int) -> Iterator[Sample]:
    """Yield the trajectories of a step, in groups of `size`, weighted by their advantages."""
    for at in range(0, len(outcomes), size):
        group = np.array(rewards[at : at + size], dtype=np.float64)
        for outcome, advantage in zip(outcomes[at:], advantages(group, None, Formula("grpo")), strict=False):
            yield sample_of(outcome.trajectory, float(advantage))


def measure(
    model: TinyLlama,
    method: str,
    tasks: Sequence[Task],
    searching: Searching,
    *,
    k: int = LIMITS.top_k,
    seed: int | None = None,
) -> Scores:
    """Score one answer to each question: sampled if a seed is given, else of the likeliest tokens."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    policy = BatchedPolicy(model, vocabulary(), generator)
    return Scores.of(asyncio.run(roll_out(tasks, policy, method, searching, k)))


def copied(model: TinyLlama) -> TinyLlama:
    """A model of its own with the same weights."""
    other = TinyLlama(len(vocabulary()), SHAPE)
    other.load_state_dict(model.state_dict())
    return other


def _point(
    step: int, model: TinyLlama, method: str, seed: int, setting: Setting, rewards: Sequence[Parts]
) -> Point:
    found = measure(model, method, setting.held_out, setting.training, seed=seed)
    return Point(
        step,
        fmean(each.quality or 0.0 for each in rewards),
        fmean(each.preference or 0.0 for each in rewards),
        fmean(found.content),
        fmean(found.manner),
    )
