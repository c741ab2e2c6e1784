"""Computes the numbers of a report, from the runs' records and prices alone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from training.evaluation.loading import LoadedRun
from training.evaluation.records import Record
from training.evaluation.statistics import (
    Interval,
    McNemar,
    PairedT,
    bootstrap_interval,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_t,
    quartile_bin,
    quartile_edges,
)

SEED = 0
"""Seed of every bootstrap: the same runs give the same report."""


@dataclass(frozen=True)
class Score:
    """A mean score and the questions behind it. `score` is None if no question is fully judged."""

    score: float | None
    interval: Interval | None
    judged: int
    """Questions whose aspects are all judged; only these enter `score` and `interval`."""
    unjudged: int
    """Questions with an unjudged aspect."""
    unjudged_aspects: int
    with_unjudged: float | None
    """The score if those questions are included, each scored on its judged aspects."""


@dataclass(frozen=True)
class RunScores:
    """A run's scores. The macro average is over the categories with a judged question."""

    categories: dict[str, Score]
    macro: Score

    @property
    def covered(self) -> int:
        """Number of categories that `macro` averages."""
        return sum(score.score is not None for score in self.categories.values())


def run_scores(run: LoadedRun, categories: Sequence[str]) -> RunScores:
    """Score one run in each category and over all of them."""
    groups = [[record for record in run.records if record.category == name] for name in categories]
    each = {name: _score([group]) for name, group in zip(categories, groups, strict=True)}
    return RunScores(each, _score(groups))


def _score(groups: Sequence[Sequence[Record]]) -> Score:
    full = [[r.score for r in group if r.score is not None] for group in groups]
    lenient = [[r.score_of_judged for r in group if r.score_of_judged is not None] for group in groups]
    records = [record for group in groups for record in group]
    return Score(
        score=macro_mean(full),
        interval=bootstrap_interval([group for group in full if group], seed=SEED),
        judged=sum(map(len, full)),
        unjudged=sum(record.score is None for record in records),
        unjudged_aspects=sum(aspect.score is None for record in records for aspect in record.aspects),
        with_unjudged=macro_mean(lenient),
    )


def macro_mean(groups: Sequence[Sequence[float]]) -> float | None:
    """Average the means of the non-empty groups; None if all groups are empty."""
    means = [sum(group) / len(group) for group in groups if group]
    return sum(means) / len(means) if means else None


def best_run(runs: Sequence[LoadedRun], categories: Sequence[str]) -> LoadedRun | None:
    """Find the run with the best macro average among those on the first run's scale.

    A run that covers more categories precedes one that covers fewer; of equal runs the first is taken.
    """
    scored = [(run, run_scores(run, categories)) for run in runs if run.same_scale(runs[0])]
    ranked = [(s.covered, run.gain(s.macro.score), run) for run, s in scored if s.macro.score is not None]
    return max(ranked, key=lambda entry: entry[:2])[-1] if ranked else None


@dataclass(frozen=True)
class Comparison:
    """`first` minus `second`, over the questions that are fully judged in both."""

    first: LoadedRun
    second: LoadedRun
    test: PairedT
    interval: Interval | None
    """Interval of the mean difference over questions, which the t-test is about as well."""
    macro: float
    macro_interval: Interval | None
    hits: McNemar | None = None
    """McNemar's test, where the score is accuracy."""
    corrected_p: float | None = None
    """p with Holm's correction for the number of comparisons in the report."""

    @property
    def p(self) -> float | None:
        """The p-value of McNemar's test where there is one, else of the t-test."""
        return self.hits.p if self.hits else self.test.p


def comparisons(runs: Sequence[LoadedRun]) -> list[Comparison]:
    """Compare all pairs of runs that are on the same scale and share a judged question.

    The run given later comes first in its pair, because baselines are given first.
    """
    pairs = [(later, earlier) for earlier, later in combinations(runs, 2) if earlier.same_scale(later)]
    found = [comparison for pair in pairs for comparison in _compared(*pair)]
    tested = [index for index, comparison in enumerate(found) if comparison.p is not None]
    corrected = holm([p for comparison in found if (p := comparison.p) is not None])
    for index, p in zip(tested, corrected, strict=True):
        found[index] = replace(found[index], corrected_p=p)
    return found


def _compared(first: LoadedRun, second: LoadedRun) -> Iterator[Comparison]:
    left, right = first.scores, second.scores
    category = {record.id: record.category for record in first.records}
    shared = sorted(left.keys() & right.keys())
    if not shared:
        return
    groups = [[i for i in shared if category[i] == name] for name in sorted({category[i] for i in shared})]
    ours, theirs = [[left[i] for i in ids] for ids in groups], [[right[i] for i in ids] for ids in groups]
    all_ours, all_theirs = [left[i] for i in shared], [right[i] for i in shared]
    macro = macro_mean([[left[i] - right[i] for i in ids] for ids in groups])
    assert macro is not None
    yield Comparison(
        first,
        second,
        paired_t(all_ours, all_theirs),
        paired_bootstrap([all_ours], [all_theirs], seed=SEED),
        macro,
        paired_bootstrap(ours, theirs, seed=SEED),
        mcnemar(all_ours, all_theirs) if first.counts_hits else None,
    )


@dataclass(frozen=True)
class Lift:
    """Score of `run` minus score of `base`, a run without the profile, for each question judged in both."""

    run: LoadedRun
    base: LoadedRun
    differences: tuple[float, ...]


def lifts(runs: Sequence[LoadedRun]) -> list[Lift]:
    """Compare every run with a run of the method `none` on the same scale, if there is one.

    Of several, the first with the same policy is taken, else the first.
    """
    found = []
    for run in runs:
        bases = [base for base in runs if base.method == "none" and base.same_scale(run)]
        if run.method == "none" or not bases:
            continue
        policy = run.manifest.get("policy")
        base = next((base for base in bases if base.manifest.get("policy") == policy), bases[0])
        ours, theirs = run.scores, base.scores
        ids = sorted(ours.keys() & theirs.keys())
        if ids:
            found.append(Lift(run, base, tuple(ours[i] - theirs[i] for i in ids)))
    return found


@dataclass(frozen=True)
class Group:
    """Scores of questions, or aspects, that share a property, named by `label`."""

    label: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        return sum(self.values) / len(self.values) if self.values else None

    @property
    def interval(self) -> Interval | None:
        return bootstrap_interval([self.values], seed=SEED)


def by_searches(run: LoadedRun) -> list[Group]:
    """Group scores by the number of searches made for the question, fewest first."""
    numbers = sorted({record.searches for record in run.records})
    return [_group(str(number), (r for r in run.records if r.searches == number)) for number in numbers]


def by_profile_size(runs: Sequence[LoadedRun]) -> dict[str, list[Group]]:
    """Group scores by quartile of the profile size, for each run name. All runs share the bins."""
    sizes = sorted({r.id: r.profile_size for run in runs for r in run.records}.values())
    if not sizes:
        return {}
    edges = quartile_edges(sizes)
    bins = [[size for size in sizes if quartile_bin(size, edges) == number] for number in range(4)]
    labels = {
        number: f"{held[0]}" if held[0] == held[-1] else f"{held[0]} to {held[-1]}"
        for number, held in enumerate(bins)
        if held
    }
    return {
        run.name: [
            _group(label, (r for r in run.records if quartile_bin(r.profile_size, edges) == number))
            for number, label in labels.items()
        ]
        for run in runs
    }


def by_aspect(run: LoadedRun) -> list[Group]:
    """Group aspect scores, halved to 0 to 1, by position in the rubric; unjudged aspects are left out."""
    longest = max((len(record.aspects) for record in run.records), default=0)
    return [
        Group(
            str(position + 1),
            tuple(
                score / 2
                for record in run.records
                if len(record.aspects) > position and (score := record.aspects[position].score) is not None
            ),
        )
        for position in range(longest)
    ]


def _group(label: str, records: Iterable[Record]) -> Group:
    return Group(label, tuple(r.score for r in records if r.score is not None))


def tokens(record: Record) -> int:
    """Count the tokens that the policy read and wrote for one question."""
    return record.prompt_tokens + record.policy_tokens


def cost(run: LoadedRun) -> float | None:
    """Price the policy's tokens by the manifest; None if it gives no prices."""
    prices = run.manifest.get("prices")
    if not isinstance(prices, dict):
        return None
    prompt, completion = prices.get("prompt_per_million"), prices.get("completion_per_million")
    if prompt is None or completion is None:
        return None
    read = sum(record.prompt_tokens for record in run.records)
    written = sum(record.policy_tokens for record in run.records)
    return float((read * prompt + written * completion) / 1e6)
