"""Table 1 (lengths and profiles), Table 3 (scores and their tests), and the mean relative gains."""

import statistics
from collections.abc import Sequence

from training.evaluation.exhibits import published
from training.evaluation.exhibits.groups import BASELINES, COLUMNS, NONE, ROPG, RSPG, WITHOUT, Group, Measure
from training.evaluation.report.blocks import Paragraph, Section, Table
from training.evaluation.report.formatting import NONE as NOTHING
from training.evaluation.report.formatting import number
from training.evaluation.statistics import mcnemar, paired_t
from training.tasks.lamp.metrics import GOLD

P = 0.05
"""Level of significance, as in the paper: not corrected for the number of tests."""
MARKS = dict(zip(BASELINES, "NBRDF", strict=True))
"""The letters of the baselines; F is for fusion (RRF)."""


def lengths_section(groups: Sequence[Group]) -> Section:
    """Table 1: the questions of each data set."""
    rows = []
    for group in groups:
        # Runs that are not finished have fewer questions.
        records = max((run.records for run in group.runs.values()), key=len)
        references = [str(r.assessment.details[GOLD]) for r in records if GOLD in r.assessment.details]
        rows.append(
            [
                group.name,
                str(len(records)),
                _spread([len(record.question.split()) for record in records]),
                _spread([len(text.split()) for text in references]),
                _spread([record.profile_size for record in records]),
            ]
        )
    about = (
        "Mean ± standard deviation. Lengths are in words, separated by white space; the "
        "output is the reference, where the data have one. Profiles are in documents."
    )
    head = ["Data", "Questions", "Input", "Output", "Profile"]
    return Section("Table 1: data", [Paragraph(about), Table(head, rows)])


def _spread(values: Sequence[float]) -> str:
    if not values:
        return NOTHING
    return f"{statistics.fmean(values):.2f} ± {statistics.pstdev(values):.2f}"


def scores_section(groups: Sequence[Group]) -> Section:
    """Table 3: the scores of all columns, with the baselines that each differs from."""
    others = dict.fromkeys(name for group in groups for name in group.columns if name not in COLUMNS)
    head = [*COLUMNS, *others]
    rows = []
    for group in groups:
        for measure in group.measures:
            rows.append([_title(group, measure), *(_cell(group, measure, column) for column in head)])
            theirs = [published.score(group.number, measure.name, column) for column in head]
            if any(value is not None for value in theirs):
                task = f"published: LaMP-{group.number} {measure.name}\n{published.LLM}"
                rows.append([task, *(value or NOTHING for value in theirs)])
    letters = ", ".join(f"{mark} {name}" for name, mark in MARKS.items())
    about = (
        f"Two-tailed paired tests against each baseline ({letters}), over the questions that both have "
        "scored: McNemar's test for accuracy and F1, else the paired t-test. Letters after ▲ are baselines "
        f"that the column is better than with p < {P}, after ▼ those that it is worse than; not corrected "
        "for the number of tests. F1 is tested by whether each response is right. Rows of the paper: "
        f"{published.ABOUT}; they are not comparable with another LLM or other data."
    )
    return Section("Table 3: scores", [Paragraph(about), Table(["Data, metric", *head], rows)])


def _title(group: Group, measure: Measure) -> str:
    return f"{group.name}\n{measure.name} {'↓' if measure.lower else '↑'}"


def _cell(group: Group, measure: Measure, column: str) -> str:
    if column not in group.runs:
        return NOTHING
    value = number(group.value(column, measure))
    if column in BASELINES:
        return value
    better, worse = significant(group, measure, column)
    marks = [f"▲{''.join(better)}"] if better else []
    marks += [f"▼{''.join(worse)}"] if worse else []
    return f"{value}\n{' '.join(marks)}" if marks else value


def significant(group: Group, measure: Measure, column: str) -> tuple[list[str], list[str]]:
    """The marks of the baselines that the column is significantly better than, and worse than."""
    better: list[str] = []
    worse: list[str] = []
    for baseline, mark in MARKS.items():
        if baseline not in group.runs:
            continue
        ours, theirs = group.paired(column, baseline, measure)
        if not ours:
            continue
        test = mcnemar(ours, theirs) if measure.binary else paired_t(ours, theirs)
        if test.p is None or test.p >= P:
            continue
        difference = measure.gain(sum(ours) - sum(theirs))
        (better if difference > 0 else worse).append(mark)
    return better, worse


def gains_section(groups: Sequence[Group]) -> Section:
    """The mean relative gains of the trained methods, over all data and metrics."""
    rows = []
    given = {name for group in groups for name in group.runs}
    for column in (*ROPG, *RSPG, *(name for name in WITHOUT if name in given)):
        over_none = _gains(groups, column, (NONE,))
        over_best = _gains(groups, column, BASELINES)
        rows.append([column, _mean(over_none), _mean(over_best)])
        if theirs := published.GAINS.get(column):
            rows.append(
                [f"published: {column}\n{published.LLM}", *(f"{100 * gain:+.1f} %" for gain in theirs)]
            )
    about = (
        "The difference of the scores over the baseline's score, averaged over all data and metrics that "
        "both have; positive is better. The best baseline is that of each data set and metric. A baseline "
        "of 0 has no relative gain and is left out. The best baseline is known only after the fact, as in "
        "the paper."
    )
    head = ["Method", "Over None", "Over the best baseline"]
    return Section("Mean relative gains", [Paragraph(about), Table(head, rows)])


def _gains(groups: Sequence[Group], column: str, baselines: Sequence[str]) -> list[float]:
    found = []
    for group in groups:
        for measure in group.measures:
            values = [group.value(name, measure) for name in baselines if name in group.runs]
            ours = group.value(column, measure) if column in group.runs else None
            gain = relative_gain(measure, ours, [value for value in values if value is not None])
            if gain is not None:
                found.append(gain)
    return found


def relative_gain(measure: Measure, ours: float | None, baselines: Sequence[float]) -> float | None:
    """The gain over the best of the baselines, relative to it. None without values, or if the best is 0."""
    if ours is None or not baselines:
        return None
    best = min(baselines) if measure.lower else max(baselines)
    return measure.gain(ours - best) / best if best else None


def _mean(gains: Sequence[float]) -> str:
    if not gains:
        return NOTHING
    return f"{100 * statistics.fmean(gains):+.1f} %\nover {len(gains)}"
