"""Scores of many questions: a category's, and the macro average over the categories."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from training.evaluation.records import Record


@dataclass(frozen=True)
class CategoryScore:
    """The score of one category's questions, or of all categories together."""

    questions: int
    score: float | None
    """Over the questions that have a score; None if none has."""
    score_of_judged: float | None
    """For rubrics: over the questions with any judged aspect, of the judged aspects only."""
    unjudged_aspects: int
    unjudged_questions: int
    """Questions without a score, which `score` leaves out."""


@dataclass(frozen=True)
class ScoreSummary:
    """A run's scores by one metric. The published number is the macro average (LaMP-QA, section 5)."""

    categories: Mapping[str, CategoryScore]
    """By name, in alphabetical order; only those that have questions."""
    macro: CategoryScore
    """The mean of the categories' scores, each counted once; None if a category has none."""


Aggregate = Callable[[Iterable[Record]], CategoryScore]


def summarize(aggregate: Aggregate, records: Callable[[], Iterable[Record]]) -> ScoreSummary:
    """The scores of a run, whatever the order of its records, which are read once for each category."""
    names = sorted({record.category for record in records()})
    categories = {
        name: aggregate(record for record in records() if record.category == name) for name in names
    }
    scores = list(categories.values())
    macro = CategoryScore(
        questions=sum(one.questions for one in scores),
        score=mean([one.score for one in scores]),
        score_of_judged=mean([one.score_of_judged for one in scores]),
        unjudged_aspects=sum(one.unjudged_aspects for one in scores),
        unjudged_questions=sum(one.unjudged_questions for one in scores),
    )
    return ScoreSummary(categories, macro)


def mean_score(metric: str, records: Iterable[Record]) -> CategoryScore:
    """The plain mean over the questions that the metric has scored."""
    questions = unjudged_aspects = 0
    scores: list[float] = []
    scores_of_judged: list[float] = []
    for record in records:
        questions += 1
        unjudged_aspects += sum(aspect.score is None for aspect in record.aspects)
        if (score := record.scores[metric]) is not None:
            scores.append(score)
        if (score := record.score_of_judged) is not None:
            scores_of_judged.append(score)
    return CategoryScore(
        questions, mean(scores), mean(scores_of_judged), unjudged_aspects, questions - len(scores)
    )


def mean(values: Sequence[float | None]) -> float | None:
    """The mean, the same in whatever order the values come; None for no values, or if one is None."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def as_text(summary: ScoreSummary) -> str:
    """The summary as a table of plain text. Unjudged aspects are shown if there are any."""
    named = {**summary.categories, "macro average": summary.macro}
    rows = [("category", "questions", "score", "judged only", "unjudged aspects")]
    rows += [
        (name, str(one.questions), _shown(one.score), _shown(one.score_of_judged), str(one.unjudged_aspects))
        for name, one in named.items()
    ]
    columns = 5 if summary.macro.unjudged_aspects else 3
    widths = [max(len(row[column]) for row in rows) for column in range(columns)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    return "\n".join(lines)


def _shown(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"
