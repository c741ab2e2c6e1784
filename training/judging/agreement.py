"""Measures how far a judge's verdicts agree with people, who rate a sample of the same answers.

People use the same scale and a form (training/judging/forms.py) that does not show the verdicts.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.evaluation.report.formatting import plural
from training.evaluation.statistics import LEVEL, RESAMPLES, Interval
from training.judging.forms import Rating, load_judged, read_ratings
from training.judging.judge import SCALE

FEW = 50
"""With fewer rated aspects than about this, an agreement is a hint, not a measurement."""

_SIZE = len(SCALE)
_UNDEFINED = 0.05
"""Largest fraction of resamples without a kappa for which an interval is still given."""
_CELLS = 4_000_000
_NOMINAL = 1.0 - np.eye(_SIZE)
_QUADRATIC = np.subtract.outer(np.arange(_SIZE), np.arange(_SIZE)).astype(np.float64) ** 2

Confusion = tuple[tuple[int, ...], ...]
_Pair = tuple[str, int, int]
"""A question, and two scores of one of its aspects."""
_Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A statistic of a sample, with its 95 % interval: percentile bootstrap over the questions.

    `value` is None if undefined. `interval` is None as well in that case, for a single question, and if the
    value is undefined in many resamples.
    """

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Compared:
    """Agreement of two readings of the same answers, over `pairs` pairs of scores."""

    aspects: int
    pairs: int
    exact: Estimate
    """Share of the pairs whose scores are equal."""
    kappa: Estimate
    """Cohen (1960). Undefined if both sides gave one and the same score throughout."""
    weighted_kappa: Estimate
    """Cohen (1968), weighted by squared differences: a 2 for a 0 counts four times a 1 for a 0."""


@dataclass(frozen=True)
class Agreement:
    """A run's verdicts beside people's ratings. Ratings are compared one by one, not averaged."""

    judge: str
    raters: int
    ratings: int
    """Number of lines with a score, from all raters."""
    rated_aspects: int
    unfilled: int
    """Number of lines whose score is still null."""
    unjudged: int
    """Number of ratings of aspects without a verdict, which no number below includes."""
    with_judge: Compared
    table: Confusion
    """table[rating][verdict]: the number of pairs."""
    between_raters: Compared | None
    """Mean of the defined kappas over pairs of raters; None if no two rated the same aspect."""


def agreement(folder: Path, file: Path, *, seed: int = 0) -> Agreement:
    """Compare the verdicts of the run in `folder` with the ratings in `file` (JSONL).

    A line is `{"id": question id, "aspect": its text, "score": 0, 1, 2 or null, "rater"?: who}`. More keys
    are allowed, as in the form; a `response` must be the run's. Raises InvalidFile, naming file and line,
    and ValueError if the folder holds no run with rubrics.
    """
    run = load_judged(folder)
    records = {record.id: record for record in run.records}
    ratings, unfilled = read_ratings(file, records)
    verdicts = {
        (record.id, aspect.aspect): aspect.score
        for record in run.records
        for aspect in record.aspects
        if aspect.score is not None
    }
    judged = [rating for rating in ratings if rating.rated in verdicts]
    beside = [(rating.question, rating.score, verdicts[rating.rated]) for rating in judged]
    table = _tables([beside]).sum(axis=(0, 1))
    return Agreement(
        judge=run.judge or "none",
        raters=len({rating.rater for rating in ratings}),
        ratings=len(ratings),
        rated_aspects=len({rating.rated for rating in ratings}),
        unfilled=unfilled,
        unjudged=len(ratings) - len(beside),
        with_judge=_compared([beside], len({rating.rated for rating in judged}), seed),
        table=tuple(tuple(int(count) for count in row) for row in table),
        between_raters=_between(ratings, seed),
    )


def as_text(found: Agreement) -> str:
    """Format the agreement as plain-text tables, with their meaning in words."""
    unfilled = f"; {plural(found.unfilled, 'line')} not filled in" if found.unfilled else ""
    lines = [
        f"Judge: {found.judge}",
        f"Ratings: {found.ratings} of {plural(found.rated_aspects, 'aspect')}, "
        f"by {'1 person' if found.raters == 1 else f'{found.raters} people'}{unfilled}",
        f"Without a verdict, and left out below: {plural(found.unjudged, 'rating')}",
        "",
    ]
    columns = {"judge and people": found.with_judge}
    if found.between_raters:
        columns["between people"] = found.between_raters
    rows = [["", *columns]]
    rows.append(["aspects", *(str(compared.aspects) for compared in columns.values())])
    rows.append(["pairs of scores", *(str(compared.pairs) for compared in columns.values())])
    rows.append(["the same score", *(_shown(compared.exact) for compared in columns.values())])
    rows.append(["kappa", *(_shown(compared.kappa) for compared in columns.values())])
    rows.append(["kappa, quadratic", *(_shown(compared.weighted_kappa) for compared in columns.values())])
    lines += [*_aligned(rows), "", "How often, by what people gave (rows) and the judge (columns):"]
    counts = [["", *map(str, SCALE)]]
    counts += [[str(score), *map(str, row)] for score, row in zip(SCALE, found.table, strict=True)]
    lines += [*_aligned(counts), "", *_in_words(found)]
    return "\n".join(lines)


def _between(ratings: Sequence[Rating], seed: int) -> Compared | None:
    by_aspect: dict[tuple[str, str], list[Rating]] = defaultdict(list)
    for rating in ratings:
        by_aspect[rating.rated].append(rating)
    groups: dict[tuple[str, str], list[_Pair]] = defaultdict(list)
    for same in by_aspect.values():
        for one, other in combinations(sorted(same, key=lambda rating: rating.rater), 2):
            groups[one.rater, other.rater].append((one.question, one.score, other.score))
    if not groups:
        return None
    aspects = sum(len(same) > 1 for same in by_aspect.values())
    return _compared([groups[raters] for raters in sorted(groups)], aspects, seed)


def _compared(groups: Sequence[Sequence[_Pair]], aspects: int, seed: int) -> Compared:
    """`groups` holds one group for people and the judge, or one for each pair of raters."""
    tables = _tables(groups)
    resampled = _resampled(tables, seed)
    point = tables.sum(axis=1)[np.newaxis]

    def estimate(values: _Counts, again: _Counts) -> Estimate:
        value = None if np.isnan(values[0]) else float(values[0])
        defined = again[~np.isnan(again)]
        if value is None or not len(again) or len(defined) < (1 - _UNDEFINED) * len(again):
            return Estimate(value, None)
        low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Estimate(value, (float(low), float(high)))

    return Compared(
        aspects,
        int(tables.sum()),
        exact=estimate(_exact(point), _exact(resampled)),
        kappa=estimate(_mean_kappa(point, _NOMINAL), _mean_kappa(resampled, _NOMINAL)),
        weighted_kappa=estimate(_mean_kappa(point, _QUADRATIC), _mean_kappa(resampled, _QUADRATIC)),
    )


def _tables(groups: Sequence[Sequence[_Pair]]) -> _Counts:
    """Count pairs of scores: (groups, questions, 3, 3)."""
    questions = sorted({question for group in groups for question, _, _ in group})
    rows = {question: row for row, question in enumerate(questions)}
    counts = np.zeros((len(groups), len(questions), _SIZE, _SIZE))
    for number, group in enumerate(groups):
        for question, one, other in group:
            counts[number, rows[question], one, other] += 1
    return counts


def _resampled(tables: _Counts, seed: int) -> _Counts:
    """Bootstrap the tables: (RESAMPLES, groups, 3, 3), or (0, groups, 3, 3) for fewer than two questions.

    Whole questions are drawn, with all their aspects: verdicts on the same answer are not independent.
    """
    groups, questions = tables.shape[:2]
    if questions < 2:
        return np.zeros((0, groups, _SIZE, _SIZE))
    chance = np.random.default_rng(seed)
    flat = tables.transpose(1, 0, 2, 3).reshape(questions, -1)
    at_once = max(1, _CELLS // questions)
    parts = []
    for start in range(0, RESAMPLES, at_once):
        rows = min(at_once, RESAMPLES - start)
        times = chance.multinomial(questions, np.full(questions, 1 / questions), size=rows)
        parts.append(times.astype(np.float64) @ flat)
    return np.concatenate(parts).reshape(RESAMPLES, groups, _SIZE, _SIZE)


def _exact(tables: _Counts) -> _Counts:
    """Fraction of equal scores over all groups together, by resample; nan if there are no pairs."""
    pooled = tables.sum(axis=1)
    return _divided(np.trace(pooled, axis1=1, axis2=2), pooled.sum(axis=(1, 2)))


def _mean_kappa(tables: _Counts, weights: _Counts) -> _Counts:
    """Mean of 1 - Σwo / Σwe over the groups in which it is defined, by resample."""
    rows, columns = tables.sum(axis=3), tables.sum(axis=2)
    expected = rows[..., :, np.newaxis] * columns[..., np.newaxis, :]
    disagreed = (weights * tables).sum(axis=(2, 3)) * tables.sum(axis=(2, 3))
    kappas = 1 - _divided(disagreed, (weights * expected).sum(axis=(2, 3)))
    defined = ~np.isnan(kappas)
    return _divided(np.where(defined, kappas, 0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def _divided(above: _Counts, below: _Counts) -> _Counts:
    quotients: _Counts = np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
    return quotients


def _shown(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    ends = estimate.interval
    return f"{estimate.value:.2f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def _in_words(found: Agreement) -> Iterator[str]:
    compared, kappa = found.with_judge, found.with_judge.kappa
    if not compared.pairs:
        yield "No rating has a verdict, so nothing is compared."
        return
    more = sum(found.table[i][j] for i in SCALE for j in SCALE if j > i)
    less = sum(found.table[i][j] for i in SCALE for j in SCALE if j < i)
    yield f"The judge gave more than people {_times(more)}, and less {_times(less)}."
    if kappa.value is None:
        yield "Kappa is undefined: people and judge gave one and the same score throughout."
    else:
        yield "Kappa is 0 for chance agreement and 1 for complete agreement."
        if kappa.interval and kappa.interval[0] <= 0:
            yield "Its interval includes 0: these ratings do not show that the judge agrees beyond chance."
    between = found.between_raters
    if between is None:
        yield "No aspect was rated by two people, so it is not known how far people agree with each other."
    elif between.kappa.value is None:
        yield "Between people kappa is undefined: they gave one and the same score throughout."
    else:
        yield "The agreement between people is about the most that can be expected of a judge."
        if between.kappa.interval and between.kappa.interval[0] <= 0:
            yield "But that may be chance as well: look at the aspects before you look at the judge."
    if compared.aspects < FEW:
        yield (
            f"Only {plural(compared.aspects, 'aspect')} could be compared: with fewer than about {FEW}, "
            "take these numbers as a hint."
        )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
