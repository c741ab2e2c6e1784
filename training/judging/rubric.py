"""Scoring by rubric as a metric: a judge grades every aspect of a question's rubric."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from training.evaluation.records import SCORE, Record, by_rubric
from training.evaluation.summary import CategoryScore, mean_score
from training.evaluation.task import Direction, Score
from training.judging.judge import Judge, RubricQuestion, judged


@dataclass(frozen=True)
class RubricMetric:
    """Σ / 2n over the aspects of a question (LaMP-QA, section 3)."""

    judge: Judge
    name = SCORE
    direction: Direction = "higher"

    @property
    def configuration(self) -> Mapping[str, Any]:
        """See Metric."""
        return {"judge": {"name": self.judge.name, "comparable": self.judge.comparable}}

    async def score(self, question: RubricQuestion, response: str) -> Score:
        """See Metric. The details are the scores of the aspects."""
        assessment = by_rubric(await judged(self.judge, question, response))
        return Score(assessment.scores[SCORE], assessment.details)

    def aggregate(self, records: Iterable[Record]) -> CategoryScore:
        """See Metric. The mean over the questions whose aspects are all judged."""
        return mean_score(self.name, records)
