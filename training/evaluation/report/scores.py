"""Sections on scores: what the runs are, how they scored, and how they differ."""

import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from training.evaluation.loading import LoadedRun
from training.evaluation.report import charts
from training.evaluation.report.blocks import Block, Caution, Chart, Paragraph, Section, Table
from training.evaluation.report.figures import (
    Comparison,
    Lift,
    RunScores,
    Score,
    comparisons,
    lifts,
    run_scores,
)
from training.evaluation.report.formatting import NONE, interval, number, p_value, plural, signed, spaced
from training.evaluation.statistics import LEVEL, RESAMPLES, Interval, histogram

_FIRST_FACTS = ("method", "policy", "retriever", "judge", "dataset", "seed", "commit", "versions")
_MCNEMAR = (
    " For accuracy, p is that of McNemar's test (two-sided), and in place of t stand the questions that the "
    "first run alone and the second alone has right."
)
_BOOKKEEPING = frozenset({"configured"})


def runs_section(runs: Sequence[LoadedRun]) -> Section:
    """Show the manifests: facts that all runs share once, and facts that differ side by side."""
    keys = dict.fromkeys([*_FIRST_FACTS, *(key for run in runs for key in run.manifest)])
    facts = {key: [fact(run.manifest.get(key)) for run in runs] for key in keys if key not in _BOOKKEEPING}
    common = [[key, texts[0]] for key, texts in facts.items() if len(set(texts)) == 1]
    apart = [[key, *texts] for key, texts in facts.items() if len(set(texts)) > 1]
    blocks: list[Block] = [Table(["", *(run.name for run in runs)], apart)] if apart else []
    return Section("The runs", [*blocks, Table(["", "all runs" if apart else runs[0].name], common)])


def fact(value: Any) -> str:
    match value:
        case None:
            return NONE
        case str():
            return value
        case bool():
            return "yes" if value else "no"
        case dict():
            return "\n".join(f"{key}: {fact(held).replace(chr(10), ', ')}" for key, held in value.items())
    return json.dumps(value, ensure_ascii=False)


def scores_section(runs: Sequence[LoadedRun], categories: Sequence[str]) -> Section:
    """Show method × category, with the macro average and the intervals."""
    summaries = [run_scores(run, categories) for run in runs]
    rows = [
        [
            f"{run.name}\n{run.judge} judge" if run.judge else run.name,
            *(_cell(s.categories[name]) for name in categories),
            _macro(s),
        ]
        for run, s in zip(runs, summaries, strict=True)
    ]
    columns = [(spaced(name), [s.categories[name] for s in summaries]) for name in categories]
    columns.append(("Macro average", [s.macro for s in summaries]))
    groups = [
        (
            name,
            [
                charts.Dot(run.name, score.score, score.interval, f"n {score.judged}", series)
                for series, (run, score) in enumerate(zip(runs, scores, strict=True))
                if score.score is not None
            ],
        )
        for name, scores in columns
    ]
    return Section(
        "Scores",
        [
            # First, because every number below depends on them.
            *_warnings(runs),
            Paragraph(_about(runs)),
            Table(["Run", *map(spaced, categories), "Macro average"], rows, range(len(runs))),
            Chart(
                charts.dots(groups, "Scores by category and run, with intervals"),
                "Scores by category. Dots: means over fully judged questions. Lines: 95 % intervals.",
            ),
        ],
    )


def _about(runs: Sequence[LoadedRun]) -> str:
    rubrics = any(run.has_rubrics for run in runs)
    subject = "A category's score"
    if rubrics:
        subject = "A question's score is Σ/2n over its n rubric aspects, judged 0, 1 or 2; a category's"
    unjudged = (
        " An aspect without a judgement is never a 0; “with them” is the score when its question counts with "
        "the aspects that were judged."
    )
    return (
        f"{subject} is the mean over its questions, and the macro "
        f"average the mean over the categories.{' Lower is better.' if runs[0].lower_is_better else ''} "
        f"In brackets: {LEVEL * 100:g} % intervals, percentile bootstrap over the questions within each "
        f"category, {RESAMPLES:,} resamples; none where a category has a single judged question. n counts "
        f"the fully judged questions, which alone the score is of.{unjudged if rubrics else ''}"
    )


def _warnings(runs: Sequence[LoadedRun]) -> list[Block]:
    texts = [
        f"{judge} judge: not comparable with LaMP-QA's published scores."
        for judge in dict.fromkeys(run.judge for run in runs if run.judge and not run.comparable)
    ]
    if not all(run.same_scale(runs[0]) for run in runs):
        judges = ", ".join(f"{run.name} by {run.judge or 'no judge'}" for run in runs)
        texts.append(f"The runs were not judged alike, and scores of two judges are not compared: {judges}.")
    texts.extend(
        f"{run.name} is not finished: {len(run.records)} of {run.questions} questions."
        for run in runs
        if not run.manifest.get("finished") or len(run.records) < run.questions
    )
    return [Caution(text) for text in texts]


def _macro(scores: RunScores) -> str:
    cell = _cell(scores.macro)
    missing = len(scores.categories) - scores.covered
    return f"{cell}\nover {scores.covered} of {len(scores.categories)} categories only" if missing else cell


def _cell(score: Score) -> str:
    counted = [f"n {score.judged}"]
    if score.unjudged:
        counted.append(f"unjudged: {plural(score.unjudged, 'question')}")
        if score.unjudged_aspects:
            counted[-1] += f", {plural(score.unjudged_aspects, 'aspect')}"
            counted.append(f"with them {number(score.with_unjudged)}")
    else:
        counted[0] += ", none unjudged"
    found = [number(score.score), *([interval(score.interval)] if score.interval else [])]
    return "\n".join([*found, *counted])


def comparisons_section(runs: Sequence[LoadedRun]) -> Section | None:
    """Test every pair of runs over the questions that are judged in both."""
    if len(runs) < 2:
        return None
    found = comparisons(runs)
    apart = [
        f"{first.name} and {second.name}"
        for index, first in enumerate(runs)
        for second in runs[index + 1 :]
        if not first.same_scale(second)
    ]
    blocks: list[Block] = []
    if apart:
        blocks.append(Caution(f"Not compared, because the judges differ: {'; '.join(apart)}."))
    if found:
        blocks.append(
            Paragraph(
                "Score of the first run minus score of the second, over the questions that both have fully "
                "judged: mean over questions with its paired t-test (two-sided) and paired bootstrap "
                "interval, and the difference of the macro averages over the same questions with its own "
                "interval. "
                "“p, corrected” is Holm's correction for the number of comparisons in this table."
                + (_MCNEMAR if any(comparison.hits for comparison in found) else "")
            )
        )
        head = [
            "First − second",
            "Questions",
            "Mean difference",
            "t",
            "p",
            "p, corrected",
            "Macro difference",
        ]
        blocks.append(Table(head, [_comparison(comparison) for comparison in found]))
    elif not apart:
        blocks.append(Paragraph("No two runs have a judged question in common."))
    return Section("Comparisons between runs", blocks)


def _comparison(c: Comparison) -> list[str]:
    return [
        f"{c.first.name} − {c.second.name}",
        str(c.test.pairs),
        _with_interval(c.test.mean, c.interval),
        _statistic(c),
        p_value(c.p),
        p_value(c.corrected_p),
        _with_interval(c.macro, c.macro_interval),
    ]


def _statistic(c: Comparison) -> str:
    if c.hits:
        return f"{c.hits.only_first} : {c.hits.only_second}"
    return NONE if c.test.t is None else f"{c.test.t:.3f}"


def _with_interval(value: float, ends: Interval | None) -> str:
    if ends is None:
        return signed(value)
    return f"{signed(value)}\n[{signed(ends[0])}, {signed(ends[1])}]"


def lift_section(runs: Sequence[LoadedRun]) -> Section | None:
    """Show how the profile changed scores, question by question."""
    found = lifts(runs)
    if not found:
        return None
    blocks: list[Block] = [
        Paragraph(
            "Lift is a question's score with the profile minus its score without it (the run with the method "
            f"none).{' Questions with unjudged aspects are left out.' if runs[0].has_rubrics else ''}"
        )
    ]
    rows, drawn = [], []
    for lift in found:
        values = lift.differences
        gains = [lift.run.gain(value) for value in values]
        better, worse = sum(gain > 1e-12 for gain in gains), sum(gain < -1e-12 for gain in gains)
        name = f"{lift.run.name} over {lift.base.name}"
        mean = signed(sum(values) / len(values))
        rows.append(
            [name, str(len(values)), mean, str(better), str(len(values) - better - worse), str(worse)]
        )
        drawn.append(Chart(_lift_chart(lift, name), f"{name}: mean {mean}; bars count questions."))
    blocks.append(Table(["Run", "Questions", "Mean lift", "Better", "Same", "Worse"], rows))
    return Section("Lift over no profile", [*blocks, *drawn])


def _lift_chart(lift: Lift, name: str) -> Markup:
    # The middle bin is centred on zero. With five aspects, scores differ by tenths: one bin each.
    reach = max(1.0, *map(abs, lift.differences))
    edges = [(number - 10.5) / 10 * reach for number in range(22)]
    counts = histogram([round(value, 9) for value in lift.differences], edges)
    bars = [
        charts.Bar(f"{step / 10 * reach:+.1f}" if step else "0", count, _kind(lift.run.gain(step)))
        for step, count in zip(range(-10, 11), counts, strict=True)
    ]
    return charts.histogram(
        bars, f"Lift of {name}, question by question", "lift (hatched: worse, full: better)"
    )


def _kind(gain: float) -> str:
    return "zero" if not gain else "positive" if gain > 0 else "negative"
