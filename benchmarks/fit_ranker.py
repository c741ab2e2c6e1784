"""Fits the weights of the default ranking to questions whose evidence is known, and judges them elsewhere.

A listwise softmax (Cao et al. 2007, ListNet with top-one probabilities) over the best candidates of each
question, weights at least 0, with a ridge towards the weights set by hand. Each data set counts the same.
The judge are data sets that a fit has not seen: each is left out once. Files that share a person, such as
one history in two languages, are one data set. Questions that were asked in a session of the history see
nothing later than themselves. It also prints what each signal is worth on each data set. `--out` writes the
weights fitted to everything, with the figures, as a file for `python -m benchmarks.recall --ranker FILE`.

    python -m benchmarks.fit_ranker --data FILE FILE... [--encoder NAME|DIR] [--ridge R] [--out FILE]
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize

from benchmarks import recall
from benchmarks.evidence import Asked, History, UnusableData, profiles_of, read_histories
from index.encoding.encoders import Encoder, load_encoder
from index.errors import ProfileError
from index.profiles import Profiles
from index.ranking.hybrid import SIGNALS, signals
from index.ranking.profile import Profile
from index.ranking.retrievers import Query, Ranking, Retrievers, hybrid
from index.ranking.weights import BY_HAND, Measured, Ranker, Weights
from training.evaluation.statistics import Interval, paired_bootstrap

READ = 10
CANDIDATES = 100
"""Best passages of a question, by the weights set by hand, that the fit sees beside the evidence."""
RIDGE = 1.0
"""Loss, in nats a question, of weights that are twice those set by hand."""
SEED = 0

Array = NDArray[np.float64]
HAND = BY_HAND.vector


@dataclass(frozen=True)
class DataSet:
    """Histories of some people, in one or several languages. People are renamed by file."""

    name: str
    histories: Sequence[History]


@dataclass(frozen=True)
class Example:
    """The candidates of one question."""

    signals: Array
    """Shape (candidates, SIGNALS)."""
    wanted: Array
    """Probability that a candidate should be first, shape (candidates,): equal for all of the evidence."""


def data_sets(files: Sequence[Path]) -> list[DataSet]:
    """Read files; those that share a person are one data set. Raises UnusableData."""
    joined: list[tuple[list[str], set[str], list[History]]] = []
    for file in files:
        histories = read_histories(file)
        names, people = [file.stem], {history.user for history in histories}
        renamed = [replace(history, user=f"{file.stem}.{history.user}") for history in histories]
        for other in [each for each in joined if each[1] & people]:
            joined.remove(other)
            names, people, renamed = [*other[0], *names], other[1] | people, [*other[2], *renamed]
        joined.append((names, people, renamed))
    return [DataSet(" + ".join(names), histories) for names, _, histories in joined]


def examples(profiles: Profiles, history: History) -> Iterator[Example]:
    """The examples of the questions whose evidence has a signal."""
    profile = profiles.get(history.user)
    texts = [question.text for question in history.questions]
    for question, vector in zip(
        history.questions, profiles.shared.encoded("searches", history.user, texts), strict=True
    ):
        each = signals(profile, question.text, vector, question.today).T
        allowed = _allowed(profile, question)
        evidence = np.zeros(len(profile), bool)
        for document in question.evidence:
            evidence[profile.positions(document)] = True
        evidence &= allowed & (each @ HAND > 0)
        if evidence.any():
            order = np.argsort(np.where(allowed, -(each @ HAND), np.inf), kind="stable")[:CANDIDATES]
            kept = np.union1d(order[allowed[order]], np.flatnonzero(evidence))
            yield Example(each[kept], evidence[kept] / evidence.sum())


def _allowed(profile: Profile, question: Asked) -> NDArray[np.bool_]:
    """Return the passages that a search for the question sees, shape (passages,)."""
    allowed = np.ones(len(profile), bool)
    if question.session:
        allowed = profile.days <= question.today.toordinal()
        allowed[profile.positions(question.session)] = False
    return allowed


def fit(sets: Sequence[Sequence[Example]], ridge: float = RIDGE) -> Weights:
    """Return the weights of least mean cross-entropy over the data sets, plus the ridge.

    The sharpness of the softmax is fitted, too, so that only the weights' proportions matter to the
    cross-entropy. Signals that do not vary teach nothing. Raises ValueError without any example.
    """
    every = [(example, 1 / len(one) / len(sets)) for one in sets for example in one]
    matrix = np.concatenate([example.signals for example, _ in every])
    wanted = np.concatenate([example.wanted for example, _ in every])
    lengths = [len(example.wanted) for example, _ in every]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    shares = np.repeat([share for _, share in every], lengths)
    # A weight matters as much as its signal varies.
    spread = matrix.std(axis=0)
    if not spread.any():
        return BY_HAND
    scale = ridge / np.sum((spread * HAND) ** 2)

    def loss(parameters: Array) -> tuple[float, Array]:
        weights, sharpness = parameters[:-1], np.exp(parameters[-1])
        scores = sharpness * (matrix @ weights)
        highest = np.repeat(np.maximum.reduceat(scores, starts), lengths)
        raised = np.exp(scores - highest)
        total = np.repeat(np.add.reduceat(raised, starts), lengths)
        entropy = float(np.sum(shares * wanted * (np.log(total) + highest - scores)))
        slope = shares * (raised / total - wanted)
        off = spread**2 * (weights - HAND)
        gradient = [*(sharpness * (slope @ matrix) + 2 * scale * off), slope @ scores]
        return entropy + scale * float(off @ (weights - HAND)), np.array(gradient)

    bounds = [(0.0, None)] * len(SIGNALS) + [(-5.0, 10.0)]
    found = minimize(loss, [*HAND, 1.0], jac=True, bounds=bounds, method="L-BFGS-B")
    return Weights(**dict(zip(SIGNALS, map(float, found.x), strict=False)))


class Weighted:
    """The retriever `hybrid` with weights that can be changed, so that profiles need not be loaded again."""

    name = "hybrid"
    needs_vectors = True

    def __init__(self) -> None:
        self.weights = BY_HAND

    def rank(self, profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
        return hybrid(profile, queries, depth, self.weights)

    def shares(self, profiles: Profiles, data: DataSet, weights: Weights) -> list[float]:
        """Return the share of each question's evidence among the first READ documents, by these weights.

        `profiles` must rank with this retriever.
        """
        self.weights = weights
        found: list[float] = []
        for history in data.histories:
            asked = any(question.session for question in history.questions)
            searched = recall.search(profiles, [history], self.name, as_of=asked)
            found += [each.shares[READ] for each in searched]
        return found


@dataclass(frozen=True)
class Judged:
    """The weights and recalls of one data set, question by question."""

    data: DataSet
    held_out: Weights
    """Fitted to the other data sets."""
    by_hand: Sequence[float]
    by_held_out: Sequence[float]
    by_fitted: Sequence[float]

    @property
    def difference(self) -> tuple[float, Interval | None]:
        return difference([self])

    def measured(self) -> Measured:
        means = (float(np.mean(each)) for each in (self.by_hand, self.by_held_out, self.by_fitted))
        by_hand, held_out, fitted = means
        return Measured(
            dataset=self.data.name,
            questions=len(self.by_hand),
            by_hand=by_hand,
            held_out=held_out,
            fitted=fitted,
        )


def difference(judged: Sequence[Judged]) -> tuple[float, Interval | None]:
    """Held-out recall minus that of the weights set by hand, mean over the data sets, with its interval."""
    held_out, by_hand = ([getattr(each, name) for each in judged] for name in ("by_held_out", "by_hand"))
    mean = float(np.mean([np.mean(each) for each in held_out]) - np.mean([np.mean(each) for each in by_hand]))
    return mean, paired_bootstrap(held_out, by_hand, seed=SEED)


def beats(judged: Sequence[Judged]) -> bool:
    """Whether weights are better on data sets that they were not fitted on: surely so in the mean, and
    surely worse on none."""
    _, interval = difference(judged)
    each = [one.difference[1] for one in judged]
    return bool(interval and interval[0] > 0 and not any(one and one[1] < 0 for one in each))


def judge(
    profiles: Profiles, ranking: Weighted, sets: Sequence[DataSet], ridge: float
) -> tuple[Weights, list[Judged]]:
    """Return the weights fitted to all data sets, and what fits without each of them find in it.

    Raises UnusableData if no evidence of a data set has a signal.
    """
    seen = [[one for history in data.histories for one in examples(profiles, history)] for data in sets]
    for data, found in zip(sets, seen, strict=True):
        if not found:
            raise UnusableData(f"{data.name}: no signal leads to any evidence")
    fitted = fit(seen, ridge)
    judged = []
    for number, data in enumerate(sets):
        held_out = fit([*seen[:number], *seen[number + 1 :]], ridge)
        by_hand, by_held_out, by_fitted = (
            ranking.shares(profiles, data, weights) for weights in (BY_HAND, held_out, fitted)
        )
        judged.append(Judged(data, held_out, by_hand, by_held_out, by_fitted))
    return fitted, judged


def losses(
    profiles: Profiles, ranking: Weighted, judged: Sequence[Judged]
) -> dict[str, list[tuple[float, Interval | None]]]:
    """Return, for each signal, the recall that each data set owes to it: by hand, with and without it."""
    found: dict[str, list[tuple[float, Interval | None]]] = {}
    for name in SIGNALS:
        weights = BY_HAND.model_copy(update={name: 0.0})
        for each in judged:
            without = ranking.shares(profiles, each.data, weights)
            mean = float(np.mean(each.by_hand) - np.mean(without))
            interval = paired_bootstrap([each.by_hand], [without], seed=SEED)
            found.setdefault(name, []).append((mean, interval))
    return found


def show(
    fitted: Weights,
    judged: Sequence[Judged],
    lost: Mapping[str, Sequence[tuple[float, Interval | None]]],
    console: Console,
) -> None:
    table = Table(title=f"recall@{READ} by weights that were fitted to the other data sets")
    for column in ("data set", "questions", "by hand", "held out", "difference, 95 %", "fitted to all"):
        table.add_column(column, justify="left" if column == "data set" else "right")
    for each in judged:
        found = each.measured()
        figures = [f"{value:.3f}" for value in (found.by_hand, found.held_out, found.fitted)]
        table.add_row(
            found.dataset, str(found.questions), *figures[:2], _difference(each.difference), figures[2]
        )
    table.add_row("mean", "", "", "", _difference(difference(judged)), "")
    console.print(table)
    weights = Table(title="weights")
    weights.add_column("signal")
    rows = {
        "by hand": BY_HAND,
        **{f"without {each.data.name}": each.held_out for each in judged},
        "all": fitted,
    }
    for column in rows:
        weights.add_column(column, justify="right")
    for name in SIGNALS:
        weights.add_row(name, *(f"{getattr(row, name):.3f}" for row in rows.values()))
    console.print(weights)
    owed = Table(title=f"recall@{READ} by hand that is lost without a signal, 95 %")
    owed.add_column("signal")
    for each in judged:
        owed.add_column(each.data.name, justify="right")
    for name, row in lost.items():
        owed.add_row(name, *map(_difference, row))
    console.print(owed)
    verdict = "beat" if beats(judged) else "do not beat"
    console.print(f"Fitted weights {verdict} those set by hand on data sets that they were not fitted to.")


def _difference(found: tuple[float, Interval | None]) -> str:
    mean, interval = found
    return f"{mean:+.3f}" + (f" [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else "")


def write(file: Path, fitted: Weights, judged: Sequence[Judged], encoder: str, ridge: float) -> None:
    """Write a ranker file: the weights with the data and figures that made them."""
    measured = tuple(each.measured() for each in judged)
    ranker = Ranker(weights=fitted, encoder=encoder, ridge=ridge, measured=measured)
    file.write_text(ranker.model_dump_json(indent=2) + "\n", encoding="utf-8")


def stored(sets: Sequence[DataSet], encoder: Encoder, ranking: Weighted) -> AbstractContextManager[Profiles]:
    """Profiles of all the people, ranked by `ranking` alone."""
    histories = [history for data in sets for history in data.histories]
    return profiles_of(histories, encoder, Retrievers([ranking]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Fit the weights of the default ranking.")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE", help="histories")
    parser.add_argument("--encoder", default="minilm", help="minilm, multilingual, contriever or a folder")
    parser.add_argument("--ridge", type=float, default=RIDGE, help=f"default {RIDGE:g}")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the fitted weights to this file")
    given = parser.parse_args(arguments)
    if not given.ridge > 0:
        parser.error("--ridge must be above 0")
    ranking = Weighted()
    try:
        sets = data_sets(given.data)
        if len(sets) < 2:
            raise UnusableData("one data set cannot be left out: name files of other people")
        with stored(sets, load_encoder(given.encoder), ranking) as profiles:
            fitted, judged = judge(profiles, ranking, sets, given.ridge)
            lost = losses(profiles, ranking, judged)
    except (UnusableData, ProfileError) as error:
        parser.error(str(error))
    show(fitted, judged, lost, Console(width=140))
    if given.out:
        write(given.out, fitted, judged, given.encoder, given.ridge)


if __name__ == "__main__":
    main()
