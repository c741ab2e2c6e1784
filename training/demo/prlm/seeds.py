"""Runs one seed from its warm start to its scores, and keeps the result in a file: no seed runs twice."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from pydantic import TypeAdapter

from index.encoding.encoders import load_encoder
from training.demo.engine import BatchedPolicy
from training.demo.prlm.experiment import (
    WITHOUT,
    Plan,
    Point,
    Preference,
    Scores,
    Setting,
    copied,
    measure,
    reinforce,
    warm_start,
)
from training.demo.prlm.preference import VARIANTS, Variant, collect, train_reward_models
from training.demo.prlm.robustness import sweep
from training.demo.prlm.rollout import PRLM, RAG, vocabulary
from training.folder import pin_configuration, write_json
from training.policy.prlm import Weights
from training.reward_model.contrasts import contrasts, judged
from training.reward_model.measures import Accuracy, accuracy
from training.reward_model.model import RewardModel
from training.reward_model.records import Pair

RAG_BEFORE, PRLM_BEFORE = "rag, untrained", "prlm, untrained"
CONTENT = "prlm, content alone"
PUBLISHED, AWARE = "prlm, published reward model", "prlm, user-aware reward model"
RAG_AFTER = "rag, user-aware reward model"
SYSTEMS = (RAG_BEFORE, PRLM_BEFORE, CONTENT, PUBLISHED, AWARE, RAG_AFTER)


@dataclass(frozen=True)
class Judging:
    """Accuracies of a reward model on held-out people; both sides are read with the person's passages."""

    plain: Accuracy | None
    """Answers with the person's passages against those without any."""
    others: Accuracy | None
    """Answers with the person's passages against those with another person's that differ."""


@dataclass(frozen=True)
class Result:
    """All figures of a seed."""

    seed: int
    sampled: Mapping[str, Scores]
    """By system, at temperature 1."""
    greedy: Mapping[str, Scores]
    judging: Mapping[Variant, Judging]
    curves: Mapping[str, Sequence[Point]]
    """By trained system."""
    grids: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]]
    """Scores by system, retriever and number of passages."""
    seconds: float


_RESULT: TypeAdapter[Result] = TypeAdapter(Result)


def pin(folder: Path, plan: Plan) -> None:
    """Bind the folder to one plan. Raises ChangedConfiguration, naming what differs, if it has another."""
    folder.mkdir(parents=True, exist_ok=True)
    pin_configuration(folder / "settings.json", asdict(plan))


def learn(plan: Plan, seed: int) -> Result:
    """Make the warm start and the reward models, train from the one with each reward, and measure."""
    began = time.monotonic()
    encoder = load_encoder(device="cpu")
    prepare_process()  # Again, as the encoder has taken all cores for itself.
    setting = Setting.of(seed, plan)
    model = warm_start(seed, setting, plan, _log)
    with TemporaryDirectory() as folder:
        policy = BatchedPolicy(model, vocabulary(), torch.Generator().manual_seed(seed))
        pairs = collect(policy, setting.people, setting.training, plan.pairs, seed)
        rewards = train_reward_models(Path(folder), pairs, plan.epochs, seed)
    _log(f"seed {seed}: {len(pairs)} pairs, reward models after {time.monotonic() - began:.0f} s")
    unseen = collect(
        policy, [task.person for task in setting.held_out], setting.training, plan.held_out, seed
    )
    judging = {variant: _judging(rewards[variant], unseen) for variant in VARIANTS}
    published, aware = (Preference(rewards[variant].scores, Weights()) for variant in VARIANTS)
    trainings = {
        CONTENT: (PRLM, WITHOUT),
        PUBLISHED: (PRLM, published),
        AWARE: (PRLM, aware),
        RAG_AFTER: (RAG, aware),
    }
    systems = {RAG_BEFORE: (model, RAG), PRLM_BEFORE: (model, PRLM)}
    curves = {}
    for name, (method, preference) in trainings.items():
        trained = copied(model)
        curves[name] = reinforce(trained, method, seed, setting, preference, plan, _log)
        systems[name] = (trained, method)
    held_out, searching = setting.held_out, setting.training
    return Result(
        seed,
        {name: measure(*system, held_out, searching, seed=seed) for name, system in systems.items()},
        {name: measure(*system, held_out, searching) for name, system in systems.items()},
        judging,
        curves,
        sweep(systems, held_out, encoder, seed),
        time.monotonic() - began,
    )


def run(folder: Path, plan: Plan, seed: int, learned: Callable[[Plan, int], Result] = learn) -> Result:
    """Run a seed, or read its result if it has one."""
    file = folder / f"seed-{seed}.json"
    if not file.exists():
        write_json(file, _RESULT.dump_python(learned(plan, seed), mode="json"))
    return _RESULT.validate_json(file.read_bytes())


def _judging(model: RewardModel, pairs: Sequence[Pair]) -> Judging:
    differing = [pair for pair in pairs if pair.other != pair.personalized]
    return Judging(
        accuracy(judged(model, contrasts(pairs, "plain"))),
        accuracy(judged(model, contrasts(differing, "other"))),
    )


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def prepare_process() -> None:
    """One thread: so small a model gains little from more, and results must not depend on the cores."""
    torch.set_num_threads(1)
