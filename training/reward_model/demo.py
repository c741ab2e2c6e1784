"""`python -m training.reward_model.demo`: trains small reward models in a made world, and measures them.

Prints two tables, and fails, saying why, if one of these claims does not hold for one of the seeds. People,
manners and things are held out. Of answers of equal length, the model prefers the personalized one, with a
lower bound above .5. Where both answers follow somebody's profile, the model that reads the history prefers
the person's own in .70 of the pairs, and in about .5 with the histories of others. The true score of the
best of n answers under the model does not fall from n = 1 to 64.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from training.evaluation.statistics import Interval, bootstrap_interval, paired_bootstrap
from training.proof import prove
from training.reward_model.contrasts import Contrast, contrasts, judged
from training.reward_model.measures import Accuracy, accuracy, best_of
from training.reward_model.model import RewardModel, load_reward_model
from training.reward_model.records import write_pairs
from training.reward_model.small import load_with_fixed_words, write_small_encoder
from training.reward_model.train import Recipe, train
from training.reward_model.worlds import Person, Vocabulary, pairs, people, sampled, vocabularies

Variant = Literal["published", "user-aware"]

Best = dict[int, list[float]]

VARIANTS: tuple[Variant, ...] = ("published", "user-aware")
OWN, ABOUT = 0.7, 0.05
"""The accuracy to reach where both answers follow a profile, and the distance from .5 that is about .5."""
SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Plan:
    """Sizes, and what both variants have in common."""

    people: int = 300
    held_out: int = 400
    questions: int = 2
    """Of each person."""
    asked: int = 200
    """Held-out people who are answered many times, for the best of n."""
    copies: float = 0.1
    """Share of those answers that copy a note of the person's history instead, in a second measurement."""
    epochs: int = 8
    """With 4, the model that reads histories learns to compare them on some seeds only in the last steps."""
    batch_size: int = 32
    learning_rate: float = 1e-3

    def recipe(self, variant: Variant, seed: int) -> Recipe:
        """The settings of a variant: more steps and a higher rate than published, for a small encoder."""
        aware = variant == "user-aware"
        return Recipe(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup=0.1,
            max_tokens=96,
            seed=seed,
            history=aware,
            negatives="others" if aware else "plain",
        )


PLAN = Plan()


@dataclass(frozen=True)
class Outcome:
    """Measures of one reward model on people who were held out."""

    seed: int
    variant: Variant
    matched: Accuracy
    """Personalized against plain answers of the same length."""
    own: Accuracy
    """Answers with the person's own profile against answers with another's."""
    shuffled: Accuracy
    """The same, with the histories of others."""
    best: Mapping[int, Sequence[float]]
    """By n: the true score of each person's best of n answers."""
    copied: Mapping[int, Sequence[float]]
    """The same, where some answers are copies of notes, all manner and no content. No claim is made."""

    def gain(self, n: int, more: int) -> Interval:
        """95 % interval of what the best of `more` is worth beyond the best of n: paired, over people."""
        found = paired_bootstrap([self.best[more]], [self.best[n]], seed=0)
        assert found is not None
        return found

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.variant}"

    def shortfalls(self) -> Iterator[str]:
        """Claims that do not hold."""
        where = f"{self}:"
        if _low(self.matched) <= 0.5:
            yield f"{where} length-matched accuracy {self.matched}"
        if self.variant == "published":
            return
        if self.own.value < OWN or _low(self.own) <= 0.5:
            yield f"{where} own against another's profile {self.own}"
        if abs(self.shuffled.value - 0.5) > ABOUT:
            yield f"{where} with the histories of others {self.shuffled}"
        if self.gain(SIZES[0], SIZES[-1])[0] <= 0:
            yield f"{where} the best of {SIZES[-1]} is worth no more than any answer"
        for n, more in pairwise(SIZES):
            if self.gain(n, more)[1] < 0:
                yield f"{where} the best of {more} is worth less than the best of {n}"


def learn(encoder: Path, task: tuple[int, Variant], plan: Plan = PLAN) -> Outcome:
    """Train on people of one vocabulary, and measure with people of the other."""
    seed, variant = task
    random = np.random.default_rng([seed, 1])
    trained_on, held_out = vocabularies(seed)
    made = pairs(people(trained_on, plan.people, "a", random), plan.questions, trained_on, random)
    others = people(held_out, plan.held_out, "b", random)
    unseen = pairs(others, plan.questions, held_out, random)
    with TemporaryDirectory() as folder:
        write_pairs(Path(folder) / "pairs", {"dataset": "made"}, made)
        out = Path(folder) / "out"
        recipe = plan.recipe(variant, seed)
        trained = train(out, Path(folder) / "pairs", str(encoder), recipe, load=load_with_fixed_words)
        model = load_reward_model(trained.folder, base=str(encoder))
    plain = judged(model, contrasts(unseen, "plain"))
    own = contrasts(unseen, "other")
    return Outcome(
        seed,
        variant,
        _known(accuracy([one for one in plain if one.longer == 0])),
        _known(accuracy(judged(model, own))),
        _known(accuracy(judged(model, shuffled(own)))),
        *best_by_size(model, others[: plan.asked], plan.copies, held_out, random),
    )


def shuffled(found: Sequence[Contrast]) -> list[Contrast]:
    """Give every person the history of the next one."""
    histories = {one.user: one.better.history for one in found}
    users = list(histories)
    strangers = dict(zip(users, [*users[1:], users[0]], strict=True))
    return [
        replace(
            one,
            better=replace(one.better, history=histories[strangers[one.user]]),
            worse=replace(one.worse, history=histories[strangers[one.user]]),
        )
        for one in found
    ]


def best_by_size(
    model: RewardModel,
    asking: Sequence[Person],
    copies: float,
    vocabulary: Vocabulary,
    random: np.random.Generator,
) -> tuple[Best, Best]:
    """By n: the true score of each person's best of n answers under the model, without and with copies."""
    most = SIZES[-1]
    found: tuple[Best, Best] = ({n: [] for n in SIZES}, {n: [] for n in SIZES})
    for person in asking:
        responses, worths = sampled(person, most, vocabulary, random)
        scores = model.scores(responses)
        written = list(range(most))
        mixed = [
            int(random.integers(most, len(responses))) if random.random() < copies else one for one in written
        ]
        for values, chosen in zip(found, (written, mixed), strict=True):
            for n, of_people in values.items():
                of_people.append(best_of(n, [worths[i] for i in chosen], [scores[i] for i in chosen]))
    return found


def accuracies(outcomes: Sequence[Outcome]) -> str:
    """One row for each reward model, in Markdown."""
    rows = ["| seed | variant | length-matched | own or another's profile | histories of others |"]
    rows.append("|" + "---|" * 5)
    rows += [
        f"| {one.seed} | {one.variant} | {one.matched} | {one.own} | {one.shuffled} |" for one in outcomes
    ]
    return "\n".join(rows)


def worths(outcomes: Sequence[Outcome]) -> str:
    """The true score of the best of n, two rows for each reward model, in Markdown."""
    rows = ["| seed | variant | answers | " + " | ".join(f"best of {n}" for n in SIZES) + " |"]
    rows.append("|" + "---|" * (3 + len(SIZES)))
    for outcome in outcomes:
        for answers, best in (("written", outcome.best), ("and copies", outcome.copied)):
            cells = []
            for n in SIZES:
                low, high = bootstrap_interval([best[n]], seed=0) or (float("nan"), float("nan"))
                cells.append(f"{np.mean(best[n]):.3f} [{low:.3f}, {high:.3f}]")
            rows.append(f"| {outcome.seed} | {outcome.variant} | {answers} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def tables(outcomes: Sequence[Outcome]) -> str:
    """Both tables, in Markdown."""
    return f"{accuracies(outcomes)}\n\n{worths(outcomes)}"


def _known(found: Accuracy | None) -> Accuracy:
    assert found is not None
    return found


def _low(found: Accuracy) -> float:
    return found.interval[0] if found.interval else 0.0


def main() -> int:
    """Return 0 if all claims hold; else print those that do not and return 1."""
    parser = argparse.ArgumentParser(prog="python -m training.reward_model.demo", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5])
    seeds: list[int] = parser.parse_args().seeds
    return prove(write_small_encoder, learn, list(product(seeds, VARIANTS)), tables)


if __name__ == "__main__":
    sys.exit(main())
