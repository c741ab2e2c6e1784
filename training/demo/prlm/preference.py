"""Reward models of the warm start's own answers: with the person's passages, without, and with another's."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from agent.policy import Policy
from agent.trajectory import Information
from training.demo.prlm.people import Person, Task, sample_task
from training.demo.prlm.rollout import NONE, PRLM, Outcome, Searching, roll_out
from training.reward_model.model import RewardModel, load_reward_model
from training.reward_model.records import Pair, Response, write_pairs
from training.reward_model.small import load_with_fixed_words, write_small_encoder
from training.reward_model.train import Recipe, train

Variant = Literal["published", "user-aware"]
VARIANTS: tuple[Variant, ...] = ("published", "user-aware")
"""As in the paper: the model reads question and answer. Or it reads the person's passages as well, and also
learns from answers with another person's passages."""

_WINDOW = 96


def response(outcome: Outcome) -> Response:
    """The answer as a reward model reads it; the history is what the episode retrieved, in its order."""
    return Response(outcome.task.question, outcome.answer, _read(outcome))


def collect(
    policy: Policy, people: Sequence[Person], searching: Searching, number: int, seed: int
) -> list[Pair]:
    """Answer questions of the people with their own passages, without any, and with another person's.

    A question with an empty answer is left out, so there may be fewer pairs than `number`.
    """
    rng = random.Random(f"pairs {seed}")
    tasks = [sample_task(rng, people) for _ in range(number)]
    strangers = [
        Task(rng.choice([one for one in people if one is not task.person]), task.topic) for task in tasks
    ]

    async def answers() -> tuple[list[Outcome], list[Outcome], list[Outcome]]:
        return (
            await roll_out(tasks, policy, PRLM, searching),
            await roll_out(tasks, policy, NONE, searching),
            await roll_out(strangers, policy, PRLM, searching),
        )

    return [
        Pair(
            str(at),
            own.task.person.name,
            own.task.question,
            own.answer,
            plain.answer,
            _read(own),
            other.answer,
        )
        for at, (own, plain, other) in enumerate(zip(*asyncio.run(answers()), strict=True))
        if own.answer and plain.answer and other.answer
    ]


def train_reward_models(
    folder: Path, pairs: Sequence[Pair], epochs: int, seed: int
) -> dict[Variant, RewardModel]:
    """Train both variants on the pairs. Writes pairs, encoder and models to the folder."""
    write_pairs(folder / "pairs", {"dataset": "the tiny world"}, pairs)
    encoder = str(write_small_encoder(folder / "encoder"))
    found: dict[Variant, RewardModel] = {}
    for variant in VARIANTS:
        aware = variant == "user-aware"
        recipe = Recipe(
            epochs=epochs,
            batch_size=32,
            learning_rate=1e-3,
            warmup=0.1,
            max_tokens=_WINDOW,
            seed=seed,
            history=aware,
            negatives="others" if aware else "plain",
        )
        trained = train(folder / variant, folder / "pairs", encoder, recipe, load=load_with_fixed_words)
        found[variant] = load_reward_model(trained.folder, base=encoder)
    return found


def _read(outcome: Outcome) -> tuple[str, ...]:
    blocks = [step for step in outcome.trajectory.steps if isinstance(step, Information)]
    return tuple(read.passage.text for block in blocks for read in block.passages)
