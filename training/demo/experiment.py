"""One seed of the demonstration: its people, its warm start, and its reinforcement learning."""

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from training.demo import world
from training.demo.demonstrations import Demonstrator, reading
from training.demo.engine import BatchedPolicy
from training.demo.measure import Figures, measure, over
from training.demo.model import TinyLlama
from training.demo.rollout import Mode, Rollout, roll_out
from training.demo.trainer import Sample, Trainer, sample_of
from training.demo.vocabulary import Vocabulary
from training.policy.advantage import Formula, advantages

Log = Callable[[str], None]
HOPS = (0, 1, 2)
"""Hops of the questions that are trained on and that enter the mean reward."""
MEASURED_HOPS = (*HOPS, 3)

_FEWEST = 3
"""Number of documents in the first readings."""
_READS_WELL, _LAST = 0.3, 8
"""A document is added once the mean loss of the last `_LAST` steps is below `_READS_WELL`."""


@dataclass(frozen=True)
class Plan:
    """Sizes and durations of all phases. The default is the whole demonstration."""

    users: int = 400
    held_out_users: int = 60
    questions: int = 100
    """Held-out questions for each number of hops."""
    reading_steps: int = 4000
    """Maximum; reading ends once its loss is low. The learning rate always decays over this many steps: names
    of two tokens are distinguished late, and never if the rate has decayed earlier."""
    reading_batch: int = 10
    reading_documents: int = 7
    """Number of documents in the last readings."""
    imitation_steps: int = 300
    imitation_batch: int = 24
    demonstrations: int = 5000
    steps: int = 40
    """Steps of reinforcement learning, with one update each."""
    groups: int = 20
    """Questions per step."""
    samples: int = 12
    """Trajectories per question."""
    evaluate_every: int = 5


@dataclass(frozen=True)
class Setting:
    """The people and held-out questions of a seed, the same in every process."""

    users: Sequence[world.User]
    held_out: Sequence[world.Task]

    @classmethod
    def of(cls, seed: int, plan: Plan) -> "Setting":
        rng = random.Random(seed)
        users = [world.User(rng, "train") for _ in range(plan.users)]
        strangers = [world.User(rng, "held_out") for _ in range(plan.held_out_users)]
        tasks = [
            world.sample_task(rng, rng.choice(strangers), hops)
            for hops in MEASURED_HOPS
            for _ in range(plan.questions)
        ]
        return cls(users, tasks)


@dataclass(frozen=True)
class Point:
    """Results of a training after a number of steps."""

    step: int
    held_out: dict[int, Figures]


def warm_start(seed: int, setting: Setting, plan: Plan, log: Log) -> TinyLlama:
    """Train a model to read, and to search about as well as the demonstrations do."""
    torch.manual_seed(seed)
    rng = random.Random(f"warm start {seed}")
    vocabulary = Vocabulary()
    model = TinyLlama(len(vocabulary))
    began = time.monotonic()
    trainer = Trainer(model, learning_rate=3e-3, steps=plan.reading_steps, warm_up=20)
    documents, losses = _FEWEST, [math.inf]
    for step in range(plan.reading_steps):
        losses.append(trainer.step([reading(rng, vocabulary, documents) for _ in range(plan.reading_batch)]))
        if (step + 1) % 50 == 0:
            log(f"seed {seed}: reading {step + 1}, {documents} documents, loss {losses[-1]:.2f}")
        # Starting with many documents, the model would take far longer to learn to find the right one.
        if fmean(losses[-_LAST:]) < _READS_WELL:
            documents, losses = documents + 1, [math.inf]
        if documents > plan.reading_documents:
            break
    shown = asyncio.run(_demonstrations(rng, setting, plan.demonstrations, vocabulary))
    trainer = Trainer(model, learning_rate=1e-3, steps=plan.imitation_steps, warm_up=10)
    for step in range(plan.imitation_steps):
        value = trainer.step(rng.sample(shown, plan.imitation_batch))
        if (step + 1) % 50 == 0:
            log(f"seed {seed}: imitation {step + 1}, loss {value:.2f}, {time.monotonic() - began:.0f} s")
    return model


async def _demonstrations(
    rng: random.Random, setting: Setting, number: int, vocabulary: Vocabulary
) -> list[Sample]:
    shares: dict[Mode, float] = {"search": 0.8, "rag": 0.12, "none": 0.08}
    samples = []
    for mode, share in shares.items():
        tasks = [_task(rng, setting) for _ in range(int(share * number))]
        outcomes = await roll_out(tasks, [Demonstrator(task, rng, vocabulary) for task in tasks], mode)
        samples += [sample_of(outcome.trajectory) for outcome in outcomes]
    return samples


def reinforce(
    model: TinyLlama, seed: int, setting: Setting, formula: Formula, plan: Plan, log: Log
) -> list[Point]:
    """Train the model on its own trajectories. Returns its curve from step 0."""
    rng = random.Random(f"reinforcement {seed}")
    vocabulary = Vocabulary()
    # Answers without the profile come from the untrained copy. Those of the model in training drift, because
    # nothing rewards it for good answers without a search.
    before = TinyLlama(len(vocabulary))
    before.load_state_dict(model.state_dict())
    policy = BatchedPolicy(model, vocabulary, torch.Generator().manual_seed(seed))
    frozen = BatchedPolicy(before, vocabulary)
    trainer = Trainer(model, learning_rate=5e-4, steps=plan.steps, warm_up=5)
    began = time.monotonic()

    async def step() -> None:
        tasks = [_task(rng, setting) for _ in range(plan.groups)]
        repeated = [task for task in tasks for _ in range(plan.samples)]
        outcomes = await roll_out(repeated, [policy] * len(repeated))
        without = await roll_out(tasks, [frozen] * len(tasks), "none")
        trainer.step(list(_weighted(outcomes, without, formula)))

    points: list[Point] = []
    for number in range(plan.steps + 1):
        if number % plan.evaluate_every == 0 or number == plan.steps:
            held_out = asyncio.run(measure(model, setting.held_out, "search"))
            points.append(Point(number, held_out))
            accuracies = " / ".join(f"{each.accuracy:.2f}" for each in held_out.values())
            log(
                f"seed {seed}, {formula.name}: step {number}, {time.monotonic() - began:.0f} s, held-out "
                f"reward {over(held_out, HOPS).reward:.3f}, accuracy at 0 / 1 / 2 / 3 hops {accuracies}"
            )
        if number < plan.steps:
            asyncio.run(step())
    return points


def _weighted(outcomes: Sequence[Rollout], without: Sequence[Rollout], formula: Formula) -> Iterator[Sample]:
    """Yield the samples of a step, weighted by their advantages."""
    size = len(outcomes) // len(without)
    for number, answer in enumerate(without):
        group = outcomes[number * size : (number + 1) * size]
        rewards = np.array([outcome.total for outcome in group])
        for outcome, advantage in zip(group, advantages(rewards, answer.total, formula), strict=True):
            yield sample_of(outcome.trajectory, float(advantage))


def _task(rng: random.Random, setting: Setting) -> world.Task:
    return world.sample_task(rng, rng.choice(setting.users), rng.choice(HOPS))
