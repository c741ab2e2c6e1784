"""One seed of the demonstration: its people, its warm start, and what reinforcement learning makes of it."""

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
from training.demo.rollout import Mode, Outcome, roll_out
from training.demo.trainer import Sample, Trainer, sample_of
from training.demo.vocabulary import Vocabulary
from training.policy.advantage import Formula, advantages

Log = Callable[[str], None]
HOPS = (0, 1, 2)
"""Of the questions that are trained, and that the mean reward is over."""
MEASURED_HOPS = (*HOPS, 3)

_FEWEST = 3
"""Documents of the first readings."""
_READS_WELL, _LAST = 0.3, 8
"""The mean loss of so many steps at which a document is added."""


@dataclass(frozen=True)
class Plan:
    """How long everything goes on. The default is the whole demonstration."""

    users: int = 400
    held_out_users: int = 60
    questions: int = 100
    """Held-out questions of each number of hops."""
    reading_steps: int = 4000
    """At the most; reading ends when it goes well. The learning rate falls as if it took all: names of two
    tokens are told apart late, and not at all when it has fallen before."""
    reading_batch: int = 10
    reading_documents: int = 7
    """Of the last readings."""
    imitation_steps: int = 300
    imitation_batch: int = 24
    demonstrations: int = 5000
    steps: int = 40
    """Of reinforcement learning, each one update."""
    groups: int = 20
    """Questions a step."""
    samples: int = 12
    """Trajectories of each question."""
    evaluate_every: int = 5


@dataclass(frozen=True)
class Setting:
    """The people of a seed, and the held-out questions. The same in every process."""

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
    """Where a training stands after so many steps."""

    step: int
    held_out: dict[int, Figures]


def warm_start(seed: int, setting: Setting, plan: Plan, log: Log) -> TinyLlama:
    """A model that can read, and searches about as well as the demonstrations do."""
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
        # With many documents from the start, finding the right one takes far longer to learn.
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
    """Train the model on its own trajectories. Returns its curve, from step 0 on."""
    rng = random.Random(f"reinforcement {seed}")
    vocabulary = Vocabulary()
    # What was said without the profile before the training began. That of the model in training drifts:
    # nothing rewards it for keeping its answers without a search in shape.
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


def _weighted(outcomes: Sequence[Outcome], without: Sequence[Outcome], formula: Formula) -> Iterator[Sample]:
    """The samples of a step, each with its advantage."""
    size = len(outcomes) // len(without)
    for number, answer in enumerate(without):
        group = outcomes[number * size : (number + 1) * size]
        rewards = np.array([outcome.total for outcome in group])
        for outcome, advantage in zip(group, advantages(rewards, answer.total, formula), strict=True):
            yield sample_of(outcome.trajectory, float(advantage))


def _task(rng: random.Random, setting: Setting) -> world.Task:
    return world.sample_task(rng, rng.choice(setting.users), rng.choice(HOPS))
