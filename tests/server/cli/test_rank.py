"""`pr2 rank` with the real store and encoder."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from training.tasks.lamp.task import lamp_task


def rank(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["rank", *map(str, arguments)])


def test_lamp_is_sorted_by_recency_and_can_be_evaluated(tmp_path: Path) -> None:
    out = tmp_path / "dev_questions.json"
    result = rank("--benchmark", "lamp", "--task", 4, "--retriever", "recency", "--out", out)
    assert result.exit_code == 0, result.output
    assert "12 profiles sorted" in result.stdout
    for question in lamp_task(str(out), 4).read([], "dev"):
        dates = [str(entry.date) for entry in question.profile]
        assert dates == sorted(dates, reverse=True)
        assert question.output


@pytest.mark.parametrize(
    "flags", [["--retriever", "bm25"], ["--retriever", "near", "--space", "near=minilm"]]
)
def test_lamp_qa_is_sorted_by_words_and_in_a_space(tmp_path: Path, flags: list[str]) -> None:
    texts = {
        "n1": "Rain again.",
        "n2": "The kettle is new.",
        "n3": "My kettle leaks, and the old kettle too.",
    }
    record = {
        "id": "q1",
        "question": "Which kettle leaks?",
        "category": "Lifestyle_and_Personal_Development",
        "narrative": "The kettle leaks.",
        "rubric_aspects": [{"aspect": "kettle", "reason": "it leaks", "evidence": "The kettle leaks."}],
        "profile": [{"id": id_, "text": text, "category": id_.upper()} for id_, text in texts.items()],
    }
    dataset, out = tmp_path / "own.json", tmp_path / "sorted.json"
    dataset.write_text(json.dumps([record]))
    result = rank("--dataset", dataset, *flags, "--out", out)
    assert result.exit_code == 0, result.output
    by_id = {item["id"]: item for item in record["profile"]}  # type: ignore[index]
    assert json.loads(out.read_text()) == [record | {"profile": [by_id[id_] for id_ in ("n3", "n2", "n1")]}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchmark", "lamp"], "needs --task"),
        (["--task", 4], "only with --benchmark lamp"),
        (["--dataset", "missing.json"], "missing.json"),
        (["--benchmark", "lamp", "--task", 7, "--retriever", "nearest"], "no retriever 'nearest'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, arguments: list[object], message: str) -> None:
    result = rank("--out", tmp_path / "questions.json", *arguments)
    assert (result.exit_code, message in result.output) == (2, True), result.output
    assert not (tmp_path / "questions.json").exists()
