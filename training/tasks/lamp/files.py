"""LaMP's own files of predictions, and our scores beside them. They appear once they are complete."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path

from training.evaluation.task import Records
from training.folder import replacing
from training.tasks.errors import DataError
from training.tasks.lamp.data import read_outputs, some
from training.tasks.lamp.metrics import metrics_of
from training.tasks.lamp.schemas import name_of


class WrongPredictions(DataError, ValueError):
    """Predictions are not those of the questions: some are missing, or some are too many."""


def write_outputs(path: Path, number: int, outputs: Iterable[tuple[str, str]]) -> None:
    """Write ids and outputs, whether references or predictions: `{"task", "golds": [{"id", "output"}]}`."""
    with replacing(path) as file:
        file.write(f'{{"task": {json.dumps(name_of(number))}, "golds": [')
        separator = "\n"
        for id_, output in outputs:
            file.write(separator + json.dumps({"id": id_, "output": output}, ensure_ascii=False))
            separator = ",\n"
        file.write("\n]}\n")


def read_predictions(path: Path, number: int, ids: Collection[str]) -> dict[str, str]:
    """Read `{id: output}`. Raises WrongPredictions unless the ids are these; and see `read_outputs`."""
    outputs = read_outputs(path, number)
    for what, wrong in (("missing", set(ids) - outputs.keys()), ("extra", outputs.keys() - set(ids))):
        if wrong:
            raise WrongPredictions(f"{path}: {len(wrong)} predictions are {what}: {some(sorted(wrong))}")
    return outputs


def write_scores(path: Path, number: int, records: Records) -> None:
    """Write `{"task", "scores": {metric: score}, "per_question_scores": [{"id", "scores"}]}`."""
    with replacing(path) as file:
        scores = {metric.name: metric.aggregate(records()).score for metric in metrics_of(number)}
        file.write(f'{{"task": {json.dumps(name_of(number))}, "scores": {json.dumps(scores)},\n')
        file.write('"per_question_scores": [')
        separator = "\n"
        for record in records():
            file.write(separator + json.dumps({"id": record.id, "scores": dict(record.scores)}))
            separator = ",\n"
        file.write("\n]}\n")
