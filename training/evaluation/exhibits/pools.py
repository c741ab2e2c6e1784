"""Figure 3 (winning rates), Table 4 (success rates beside predictors) and Table 5 (pools and bounds)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from index.documents import all_faults
from training.evaluation.exhibits import published
from training.evaluation.exhibits.groups import (
    POOL,
    ROPG,
    RSPG,
    WITHOUT,
    WITHOUT_ROPG,
    Group,
    column_of_retriever,
    selector_of,
)
from training.evaluation.loading import each_trajectory
from training.evaluation.report import charts
from training.evaluation.report.blocks import Block, Chart, Paragraph, Section, Table
from training.evaluation.report.figures import SEED
from training.evaluation.report.formatting import NONE as NOTHING
from training.evaluation.report.formatting import interval, number
from training.evaluation.statistics import LEVEL, Interval, bootstrap_interval
from training.selector.measures import PoolScores, oracle, winning_rates
from training.selector.prediction import PREDICTORS

CHOSEN = (*RSPG, *WITHOUT)
"""The columns of runs with a selector."""


class Compared(BaseModel):
    """The success rate of one way to choose."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    success: float
    success_interval: tuple[float, float] | None


class PoolFile(BaseModel):
    """A file of `pr2 evaluate pool --json`: ways to choose among the retrievers of a pool."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    hash: str
    """Identifies the questions."""
    strategies: Mapping[str, Compared]

    @property
    def predictors(self) -> dict[str, Compared]:
        """The query performance predictors, raw and standardized."""
        return {name: one for name, one in self.strategies.items() if name.removesuffix(", z") in PREDICTORS}


def load_pools(files: Sequence[Path]) -> list[PoolFile]:
    """Read files of `pr2 evaluate pool --json`. Raises ValueError, naming the file."""
    pools = []
    for file in files:
        try:
            pools.append(PoolFile.model_validate(json.loads(file.read_bytes())))
        except OSError as error:
            raise ValueError(f"{file}: {error.strerror}") from None
        except ValidationError as error:
            raise ValueError(f"{file} is no file of pr2 evaluate pool: {all_faults(error)}") from None
        except ValueError as error:
            raise ValueError(f"{file} is no JSON ({error})") from None
    return pools


def scores_of(group: Group, columns: Sequence[str]) -> PoolScores | None:
    """The main metric of these columns over the questions that all have scored, higher for better.

    None if there are fewer than two columns, or no such question.
    """
    measure = group.measures[0]
    found = [group.scores(column, measure) for column in columns if column in group.runs]
    shared = sorted(set.intersection(*map(set, found))) if found else []
    if len(found) < 2 or not shared:
        return None
    values = np.array([[measure.gain(scores[name]) for scores in found] for name in shared])
    return PoolScores(tuple(column for column in columns if column in group.runs), tuple(shared), values)


def members_of(group: Group, column: str) -> tuple[str, ...]:
    """The columns of the retrievers that a selector's run chose from."""
    return tuple(map(column_of_retriever, selector_of(group.runs[column])["members"]))


def pool_of(group: Group) -> tuple[str, ...]:
    """The pool of the first selector's run or, without one, the paper's."""
    chosen = next((name for name in CHOSEN if name in group.runs), None)
    return POOL if chosen is None else members_of(group, chosen)


def wins_section(groups: Sequence[Group]) -> Section:
    """Figure 3: how often each retriever of the pool is the best."""
    rows, dots = [], []
    columns = dict.fromkeys(name for group in groups for name in pool_of(group))
    for group in groups:
        scores = scores_of(group, pool_of(group))
        rates = winning_rates(scores, seed=SEED) if scores else {}
        rows.append(
            [
                group.name,
                *(
                    _with_interval(rates[name].rate, rates[name].interval) if name in rates else NOTHING
                    for name in columns
                ),
            ]
        )
        drawn = [
            charts.Dot(name, one.rate, one.interval, "", series)
            for series, (name, one) in enumerate(rates.items())
        ]
        if drawn:
            dots.append((group.name, drawn))
    rows.append(
        [
            f"published, lowest to highest\n{published.LLM}",
            *(published.WINS.get(n, NOTHING) for n in columns),
        ]
    )
    about = (
        "A retriever wins a question if none of the pool scores higher by the main metric; all that tie "
        f"win, and the rates add up to 1. In brackets: {LEVEL * 100:g} % intervals, bootstrap over the "
        "questions that all of them have scored. Retrievers without a run do not take part."
    )
    blocks: list[Block] = [Paragraph(about), Table(["Data", *columns], rows)]
    if dots:
        blocks.append(Chart(charts.dots(dots, "Winning rates"), "Winning rates, with intervals."))
    return Section("Figure 3: winning rates", blocks)


def success_section(groups: Sequence[Group], pools: Sequence[PoolFile]) -> Section:
    """Table 4: how often the choice is a best retriever of the pool."""
    rows = []
    for group in groups:
        predictors = {
            name: one for pool in pools if pool.hash == group.hash for name, one in pool.predictors.items()
        }
        best = max(predictors.items(), key=lambda pair: pair[1].success, default=None)
        cell = NOTHING
        if best:
            cell = f"{_with_interval(best[1].success, best[1].success_interval)}\n{best[0]}"
        rows.append([group.name, cell, *(_success(group, column) for column in CHOSEN)])
        if theirs := published.SUCCESS.get(group.number or 0):
            *predicted, pre, post = theirs
            names = dict(zip(predicted, PREDICTORS, strict=True))
            row = [f"published: LaMP-{group.number}\n{published.LLM}"]
            row.append(f"{max(predicted):.3f}\n{names[max(predicted)]}")
            rows.append([*row, f"{pre:.3f}", f"{post:.3f}", NOTHING, NOTHING])
    about = (
        "The share of questions for which the chosen retriever attains the pool's best score; ties "
        "succeed. The scores are those of the members' own runs. The best predictor is the one with the "
        f"highest rate on these questions. In brackets: {LEVEL * 100:g} % intervals, bootstrap over "
        "questions."
    )
    return Section(
        "Table 4: success rates",
        [Paragraph(about), Table(["Data", "Best predictor", *CHOSEN], rows)],
    )


def success_of(group: Group, column: str) -> list[float] | None:
    """1 for each question for which the selector chose a best retriever, else 0, in the order of their ids.

    None if a member of its pool has no run.
    """
    members = members_of(group, column)
    if any(name not in group.runs for name in members) or (scores := scores_of(group, members)) is None:
        return None
    row = {question: place for place, question in enumerate(scores.questions)}
    chosen = {
        question: column_of_retriever(trajectory.selection.retriever)
        for question, trajectory in each_trajectory(group.runs[column].folder, row.keys())
        if trajectory.selection
    }
    best = scores.is_best
    return [float(best[row[q], members.index(name)]) for q, name in sorted(chosen.items())]


def _success(group: Group, column: str) -> str:
    found = success_of(group, column) if column in group.runs else None
    if not found:
        return NOTHING
    return _with_interval(sum(found) / len(found), bootstrap_interval([found], seed=SEED))


def pool_section(groups: Sequence[Group]) -> Section:
    """Table 5: selectors and bounds of the pool with ROPG and without it."""
    rows = []
    for group in groups:
        whole = [name for name in dict.fromkeys((*pool_of(group), *ROPG)) if name in group.runs]
        without = [name for name in whole if name not in ROPG]
        pools = (
            {", whole pool": whole, WITHOUT_ROPG: without} if whole != without else {WITHOUT_ROPG: without}
        )
        for suffix, columns in pools.items():
            if (scores := scores_of(group, columns)) is None:
                continue
            bounds = [_mean(group, scores, worst=True), _mean(group, scores, worst=False)]
            kind = WITHOUT_ROPG if suffix == WITHOUT_ROPG else ""
            cells = [_chosen(group, name + kind, scores, bounds[1]) for name in RSPG]
            label = f"{group.name}{suffix}\n{', '.join(scores.members)}"
            rows.append([label, number(bounds[0]), *cells, number(bounds[1])])
        if theirs := published.POOL.get(group.number or 0):
            names = [f"{name}{WITHOUT_ROPG}" for name in RSPG]
            ends = [theirs["oracle, lower bound"], theirs["oracle, upper bound"]]
            row = [f"published: LaMP-{group.number}{WITHOUT_ROPG}; bounds of the whole pool\n{published.LLM}"]
            rows.append(
                [*row, f"{ends[0]:.3f}", *(f"{theirs[name]:.3f}" for name in names), f"{ends[1]:.3f}"]
            )
    about = (
        "Means of the main metric over the questions that all members of the pool have scored. The bounds "
        "choose the worst and the best member for each question. In percent: the share of the upper bound "
        "(for metrics where lower is better, of its inverse)."
    )
    head = ["Data, pool", "Lower bound", *RSPG, "Upper bound"]
    return Section("Table 5: pools", [Paragraph(about), Table(head, rows)])


def _mean(group: Group, scores: PoolScores, *, worst: bool) -> float:
    gains = (oracle(scores, worst=worst) * scores.values).sum(axis=1)
    return group.measures[0].gain(float(gains.mean()))


def _chosen(group: Group, column: str, scores: PoolScores, bound: float) -> str:
    if column not in group.runs:
        return NOTHING
    found = group.scores(column, group.measures[0])
    values = [found[question] for question in scores.questions if question in found]
    if not values:
        return NOTHING
    mean = sum(values) / len(values)
    low, high = sorted((mean, bound))
    return f"{number(mean)}\n{100 * low / high:.1f} %" if high else number(mean)


def _with_interval(value: float, ends: Interval | None) -> str:
    return f"{number(value)}\n{interval(ends)}" if ends else number(value)
