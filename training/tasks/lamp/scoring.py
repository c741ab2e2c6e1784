"""Scores a file of predictions, whatever made it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.evaluation.records import Record
from training.evaluation.task import assess
from training.tasks.lamp.files import read_predictions
from training.tasks.lamp.metrics import USABLE, metrics_of
from training.tasks.lamp.task import Lamp


@dataclass(frozen=True)
class Scores:
    scores: Mapping[str, float]
    """By metric, the main one first."""
    questions: int
    unusable: int
    """Predictions that are no valid label or rating, or empty."""


async def score_predictions(task: Lamp, split: str, file: Path) -> Scores:
    """Score the predictions of a split's questions. Raises DataError, also for missing or extra ids."""
    questions = list(task.read([], split))
    outputs = read_predictions(file, task.number, [question.id for question in questions])
    metrics = metrics_of(task.number)
    records = [
        Record(
            id=question.id,
            category=question.category,
            question=question.input,
            response=outputs[question.id],
            finish_reason="answered",
            assessment=await assess(metrics, question, outputs[question.id]),
            searches=0,
            documents_read=0,
            profile_size=len(question.profile),
            prompt_tokens=0,
            policy_tokens=0,
            latency_ms=0.0,
        )
        for question in questions
    ]
    scores = {metric.name: metric.aggregate(records).score for metric in metrics}
    return Scores(
        {name: score for name, score in scores.items() if score is not None},
        len(records),
        sum(not record.assessment.details[USABLE] for record in records),
    )
