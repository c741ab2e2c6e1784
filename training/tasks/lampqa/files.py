"""LaMP-QA's own files of responses and scores.

They are written question by question, and appear once they are complete.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from training.evaluation.records import Record
from training.evaluation.summary import mean
from training.folder import replacing


def write_responses(path: Path, records: Iterable[Record]) -> None:
    """Write `{id: [{"output": response}]}`. Raises ValueError for an id that comes twice."""
    with replacing(path) as file:
        file.write("{")
        for separator, record in _each_once(records):
            file.write(f"{separator}{json.dumps(record.id)}: {json.dumps([{'output': record.response}])}")
        file.write("\n}\n")


def write_scores(path: Path, records: Iterable[Record]) -> None:
    """Write `{"per_question_scores": [{"id", "score", "details": [{"aspect", "score"}]}], "score"}`.

    An unjudged aspect has the score null, and so has its question, which the mean leaves out. Raises
    ValueError for an id that comes twice.
    """
    scores = []
    with replacing(path) as file:
        file.write('{"per_question_scores": [')
        for separator, record in _each_once(records):
            details = [{"aspect": aspect.aspect, "score": aspect.score} for aspect in record.aspects]
            file.write(separator + json.dumps({"id": record.id, "score": record.score, "details": details}))
            if record.score is not None:
                scores.append(record.score)
        file.write(f'\n],\n"score": {json.dumps(mean(scores))}}}\n')


def _each_once(records: Iterable[Record]) -> Iterator[tuple[str, Record]]:
    """The records, each with what separates it from the one before. Raises ValueError for a repeated id."""
    seen = set[str]()
    for record in records:
        if record.id in seen:
            raise ValueError(f"question {record.id} has two records")
        yield (",\n" if seen else "\n"), record
        seen.add(record.id)
