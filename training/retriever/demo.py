"""`python -m training.retriever.demo`: trains a small encoder in made worlds, and measures it.

Prints a table, and fails, saying why, if one of these claims does not hold for one of the seeds. In the world
of things, each method closes at least half of the gap between the encoder as it was and the oracle, with a
paired interval above 0; with shuffled feedback the interval holds 0. In the world of places it loses at
most .01.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from training.evaluation.statistics import Interval, paired_bootstrap
from training.feedback.records import ENCODER, TASK, write_feedback
from training.proof import prove
from training.retriever.questions import Method
from training.retriever.recipe import Recipe
from training.retriever.small import load_with_fixed_words, write_small_encoder
from training.retriever.train import Source, train
from training.retriever.worlds import people, ranked, shuffled, utility_at_1, vocabularies, with_errors

Setting = Literal["things", "things, shuffled feedback", "places"]

SETTINGS: tuple[Setting, ...] = ("things", "things, shuffled feedback", "places")
METHODS: tuple[Method, ...] = ("ropg-kd", "ropg-rl")
HALF, LOSS = 0.5, 0.01


@dataclass(frozen=True)
class Plan:
    """Sizes, and the settings of both methods."""

    people: int = 600
    held_out: int = 300
    errors: float = 0.05
    """Share of the feedback that is wrong."""
    epochs_kd: int = 4
    epochs_rl: int = 8
    confidence: float = 0.99
    """Strict, since six trainings with shuffled feedback are all required to change nothing."""

    def recipe(self, method: Method, seed: int) -> Recipe:
        """Temperatures below 1, as the vectors are normalized; rates for a small encoder and few steps.

        One draw per question makes a noisy gradient, so a step of ropg-rl has more questions.
        """
        kd = method == "ropg-kd"
        return Recipe(
            method=method,
            temperature=0.1 if kd else 0.3,
            learning_rate=1e-3 if kd else 2e-3,
            epochs=self.epochs_kd if kd else self.epochs_rl,
            batch_size=16 if kd else 32,
            at_once=16,
            confidence=self.confidence,
            seed=seed,
        )


PLAN = Plan()


@dataclass(frozen=True)
class Outcome:
    """True utility of the document ranked first for held-out people, by encoder. The oracle's is 1."""

    seed: int
    setting: Setting
    method: Method
    before: Sequence[float]
    after: Sequence[float]

    @property
    def gain(self) -> float:
        return float(np.mean(self.after) - np.mean(self.before))

    @property
    def closed(self) -> float:
        """Share of the gap between the encoder as it was and the oracle."""
        return self.gain / (1 - float(np.mean(self.before)))

    @property
    def interval(self) -> Interval:
        """95 % interval of the gain: paired, over people."""
        found = paired_bootstrap([self.after], [self.before], seed=0)
        assert found is not None
        return found

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.setting}, {self.method}: {self.gain:+.3f}"

    def shortfalls(self) -> Iterator[str]:
        """Claims that do not hold."""
        low, high = self.interval
        # Rounded, so that a sum of decimal fractions does not miss a threshold that it reaches.
        closed, gain = round(self.closed, 9), round(self.gain, 9)
        where = f"seed {self.seed}, {self.setting}, {self.method}:"
        if self.setting == "things" and (closed < HALF or low <= 0):
            yield f"{where} closes {closed:.0%} of the gap, interval [{low:+.3f}, {high:+.3f}]"
        if self.setting == "things, shuffled feedback" and not low <= 0 <= high:
            yield f"{where} the interval [{low:+.3f}, {high:+.3f}] does not hold 0"
        if self.setting == "places" and gain < -LOSS:
            yield f"{where} loses {-gain:.3f}"


def learn(encoder: Path, task: tuple[int, Setting, Method], plan: Plan = PLAN) -> Outcome:
    """Train on the feedback of people of one vocabulary, and measure with people of the other."""
    seed, setting, method = task
    random = np.random.default_rng([seed, SETTINGS.index(setting)])
    trained_on, held_out = vocabularies(seed)
    world: Literal["things", "places"] = "places" if setting == "places" else "things"
    judged = with_errors(people(world, trained_on, plan.people, random), random, plan.errors)
    if setting == "things, shuffled feedback":
        judged = shuffled(judged, random)
    others = people(world, held_out, plan.held_out, random)
    before = load_with_fixed_words(str(encoder))
    with TemporaryDirectory() as folder:
        feedback, out = Path(folder) / "feedback", Path(folder) / "out"
        write_feedback(feedback, {TASK: "made", ENCODER: before.manifest.to_dict()}, ranked(judged, before))
        source = Source(feedback, str(encoder))
        trained = train(out, source, plan.recipe(method, seed), cpu=True, load=load_with_fixed_words)
        after = load_with_fixed_words(str(trained.folder))
        return Outcome(seed, setting, method, utility_at_1(others, before), utility_at_1(others, after))


def table(outcomes: Sequence[Outcome]) -> str:
    """One row for each training, in Markdown."""
    rows = ["| seed | world | method | before | after | gain, 95 % interval | gap closed |"]
    rows.append("|" + "---|" * 7)
    for outcome in outcomes:
        low, high = outcome.interval
        rows.append(
            f"| {outcome.seed} | {outcome.setting} | {outcome.method} | {np.mean(outcome.before):.3f} "
            f"| {np.mean(outcome.after):.3f} | {outcome.gain:+.3f} [{low:+.3f}, {high:+.3f}] "
            f"| {outcome.closed:.0%} |"
        )
    return "\n".join(rows)


def main() -> int:
    """Return 0 if all claims hold; else print those that do not and return 1."""
    parser = argparse.ArgumentParser(prog="python -m training.retriever.demo", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[40, 41, 42])
    seeds: list[int] = parser.parse_args().seeds
    return prove(write_small_encoder, learn, list(product(seeds, SETTINGS, METHODS)), table)


if __name__ == "__main__":
    sys.exit(main())
