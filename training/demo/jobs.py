"""The two jobs of a demonstration, each run in its own process and joined by a checkpoint in the folder."""

import asyncio
import random
import sys
from pathlib import Path

import torch

from training.demo.demonstrations import Demonstrator
from training.demo.experiment import Plan, Setting, reinforce, warm_start
from training.demo.measure import by_hops, measure
from training.demo.model import TinyLlama
from training.demo.report import NONE, RAG, READER, WARM, Curve, Row
from training.demo.rollout import roll_out
from training.demo.vocabulary import Vocabulary
from training.policy.advantage import Formula


def warm(folder: Path, seed: int) -> list[Row]:
    """Train and save the seed's warm start, and measure the ways to answer with it."""
    plan = Plan()
    setting = Setting.of(seed, plan)
    model = warm_start(seed, setting, plan, _log)
    torch.save(model.state_dict(), _checkpoint(folder, seed))
    rng, vocabulary = random.Random(seed), Vocabulary()
    readers = [Demonstrator(task, rng, vocabulary) for task in setting.held_out]
    return [
        Row(seed, NONE, asyncio.run(measure(model, setting.held_out, "none"))),
        Row(seed, READER, by_hops(asyncio.run(roll_out(setting.held_out, readers, "rag")))),
        Row(seed, RAG, asyncio.run(measure(model, setting.held_out, "rag"))),
        Row(seed, WARM, asyncio.run(measure(model, setting.held_out, "search"))),
    ]


def learn(folder: Path, training: tuple[int, str]) -> Curve:
    """Continue from the seed's warm start with the formula."""
    seed, formula = training
    plan = Plan()
    model = TinyLlama(len(Vocabulary()))
    model.load_state_dict(torch.load(_checkpoint(folder, seed)))
    return Curve(seed, formula, reinforce(model, seed, Setting.of(seed, plan), Formula(formula), plan, _log))


def _checkpoint(folder: Path, seed: int) -> Path:
    return folder / f"warm-start-{seed}.pt"


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
