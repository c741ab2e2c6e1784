import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from training.evaluation.records import AspectScore, Record, by_rubric
from training.tasks.lampqa.files import write_responses, write_scores


def record(name: str, scores: Sequence[int | None], category: str = "c", response: str = "…") -> Record:
    aspects = tuple(AspectScore(f"{name}-{number}", score) for number, score in enumerate(scores))
    return Record(name, category, "?", response, "answered", by_rubric(aspects), 1, 2, 3, 4, 5, 6.0)


RECORDS = [
    record("q1", [2, 1], response="Take the red one.\n„Ja“ \ud83d 🙂"),
    record("q2", [0], response=""),
    record("q/3 ", [None, 2]),
]


def test_responses_are_written_under_their_ids(tmp_path: Path) -> None:
    file = tmp_path / "responses.json"
    write_responses(file, iter(RECORDS))
    content = json.loads(file.read_text())
    assert content == {record.id: [{"output": record.response}] for record in RECORDS}


def test_scores_are_written_under_their_ids(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    write_scores(file, iter(RECORDS))
    content = json.loads(file.read_text())
    assert content["score"] == (0.75 + 0) / 2
    assert content["per_question_scores"][0] == {
        "id": "q1",
        "score": 0.75,
        "details": [{"aspect": "q1-0", "score": 2}, {"aspect": "q1-1", "score": 1}],
    }
    assert [entry["id"] for entry in content["per_question_scores"]] == [record.id for record in RECORDS]
    assert content["per_question_scores"][2] == {
        "id": "q/3 ",
        "score": None,
        "details": [{"aspect": "q/3 -0", "score": None}, {"aspect": "q/3 -1", "score": 2}],
    }


def test_the_same_records_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_scores(tmp_path / name, RECORDS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("write", [write_responses, write_scores])
def test_a_file_that_cannot_be_completed_leaves_the_old_one(tmp_path: Path, write: Any) -> None:
    file = tmp_path / "file.json"
    file.write_text("old")
    with pytest.raises(ValueError, match="question q1 has two records"):
        write(file, [*RECORDS, RECORDS[0]])
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
    write(file, RECORDS)
    assert list(tmp_path.iterdir()) == [file]
