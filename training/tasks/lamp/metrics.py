"""The metrics of LaMP: accuracy and macro F1, MAE and RMSE, ROUGE-1 and ROUGE-L (arXiv 2304.11406).

An output that is no valid label or rating is counted, and scored by a stated rule: a label is wrong, and a
rating is taken to be the one farther from the reference.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal

from training.evaluation.records import Record
from training.evaluation.summary import CategoryScore, mean
from training.evaluation.task import Direction, Score
from training.extras import require
from training.tasks.lamp.data import Question, leaks
from training.tasks.lamp.schemas import HIGHEST, LOWEST, SCHEMAS, number_of

RougeKind = Literal["rouge1", "rouge2", "rougeL"]
GOLD, USABLE = "gold", "usable"


def label_of(response: str, labels: Sequence[str]) -> str | None:
    """The label that a response is, white space aside; None if it is no label."""
    text = response.strip()
    return text if text in labels else None


def rating_of(response: str) -> float | None:
    """The rating that a response is; None if it is no number from LOWEST to HIGHEST."""
    try:
        rating = float(response)
    except ValueError:
        return None
    return rating if LOWEST <= rating <= HIGHEST else None


def farthest(gold: float) -> float:
    """The rating that counts for an unusable one: LOWEST if that is farther from `gold`, else HIGHEST."""
    return float(LOWEST if abs(LOWEST - gold) > abs(HIGHEST - gold) else HIGHEST)


def rating_error(gold: float, response: str) -> float:
    """|ŷ - y|."""
    rating = rating_of(response)
    return abs((farthest(gold) if rating is None else rating) - gold)


def rouge(kind: RougeKind, gold: str, response: str) -> float:
    """F1 of ROUGE by rouge_score: lower case, no stemmer. LaMP reports 1 and L; rewards use 2 as well."""
    return float(_rouge_scorer(kind).score(gold.strip(), response.strip())[kind].fmeasure)


def reward(number: int, gold: str, response: str) -> float:
    """How good one response is, from 0 to 1: EVAL of arXiv 2404.05970.

    Accuracy for tasks 1 and 2, ROUGE-1 for 4 to 7. For ratings, (w - |ŷ - y|) / w with w the largest error
    that is possible, max(|1 - y|, |5 - y|).
    """
    if labels := SCHEMAS[number].labels:
        return float(label_of(response, labels) == gold.strip())
    if number == 3:
        rating = float(gold)
        worst = max(abs(LOWEST - rating), abs(HIGHEST - rating))
        return (worst - rating_error(rating, response)) / worst
    return rouge("rouge1", gold, response)


def reward_of(record: Record) -> float:
    """The `reward` of a run's record, which says its task and holds its reference."""
    return reward(number_of(record.category), record.assessment.details[GOLD], record.response)


def macro_f1(golds: Sequence[str], predictions: Sequence[str | None], labels: Sequence[str]) -> float:
    """The mean of the labels' F1, also of those that never occur, whose F1 is 0. None is no label."""
    scores = []
    for label in labels:
        hits = sum(gold == label == found for gold, found in zip(golds, predictions, strict=True))
        total = sum(gold == label for gold in golds) + sum(found == label for found in predictions)
        scores.append(2 * hits / total if total else 0.0)
    return math.fsum(scores) / len(scores)


def usable(number: int, response: str) -> bool:
    """Whether the response is a valid label or rating; for the other tasks, whether there is any text."""
    if labels := SCHEMAS[number].labels:
        return label_of(response, labels) is not None
    return rating_of(response) is not None if number == 3 else bool(response.strip())


@dataclass(frozen=True)
class LampMetric:
    """One metric of a task. Its details say what a report needs to explain a score."""

    number: int
    name: str
    direction: Direction
    value: Callable[[str, str], float]
    """The score of one response: of reference and response."""
    combine: Callable[[Sequence[Record]], float | None]
    """The score of many."""
    configuration: Mapping[str, Any] = field(default_factory=dict)

    async def score(self, question: Question, response: str) -> Score:
        """See Metric."""
        details = {GOLD: question.output, USABLE: usable(self.number, response)}
        return Score(self.value(question.output, response), details | leaks(self.number, question))

    def aggregate(self, records: Iterable[Record]) -> CategoryScore:
        """See Metric."""
        held = list(records)
        score = self.combine(held)
        return CategoryScore(len(held), score, score, 0, 0)


def metrics_of(number: int) -> tuple[LampMetric, ...]:
    """The metrics of a task, the main one first.

    Per question, `f1` is that of one response, 0 or 1, and `rmse` the squared error.
    """
    labels = SCHEMAS[number].labels

    def correct(gold: str, response: str) -> float:
        return reward(number, gold, response)

    def f1(records: Sequence[Record]) -> float | None:
        golds = [record.assessment.details[GOLD].strip() for record in records]
        return macro_f1(golds, [label_of(record.response, labels) for record in records], labels)

    def plain(name: str) -> Callable[[Sequence[Record]], float | None]:
        return lambda records: mean([record.scores[name] for record in records])

    def root(records: Sequence[Record]) -> float | None:
        squared = plain("rmse")(records)
        return None if squared is None else math.sqrt(squared)

    def scored(
        name: str,
        direction: Direction,
        value: Callable[[str, str], float],
        combine: Callable[[Sequence[Record]], float | None] | None = None,
    ) -> LampMetric:
        return LampMetric(number, name, direction, value, combine or plain(name))

    if labels:
        return scored("accuracy", "higher", correct), scored("f1", "higher", correct, f1)
    if number == 3:
        return (
            scored("mae", "lower", lambda gold, text: rating_error(float(gold), text)),
            scored("rmse", "lower", lambda gold, text: rating_error(float(gold), text) ** 2, root),
        )
    return (
        scored("rouge-1", "higher", partial(rouge, "rouge1")),
        scored("rouge-L", "higher", partial(rouge, "rougeL")),
    )


@cache
def _rouge_scorer(kind: RougeKind) -> Any:
    require("train", "rouge_score")
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([kind], use_stemmer=False)
