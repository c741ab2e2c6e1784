"""The report of runs on LaMP: all metrics, the published scores beside them, and McNemar's test."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.tasks.lamp.records import entry, record
from training.evaluation.records import MANIFEST, RECORDS, Record
from training.evaluation.report import write_report
from training.evaluation.report.lamp import METHODS, PUBLISHED
from training.evaluation.task import assess
from training.tasks.lamp.data import parse_question
from training.tasks.lamp.metrics import metrics_of


def write(
    folder: Path, number: int, pairs: Sequence[tuple[str, str]], *, dataset: str = "lamp-4-time",
    model: str = "google/flan-t5-xxl", date: str | None = None,
) -> Path:  # fmt: skip
    """A run's folder, from pairs of reference and response."""
    metrics = metrics_of(number)
    lines = []
    for position, (gold, response) in enumerate(pairs):
        profile = [entry(number, "a", "text", gold, date="2015-01-01")]
        raw = record(number, f"q{position:03}", profile=profile) | ({"date": date} if date else {})
        question = replace(parse_question(number, raw, "file", 1), output=gold)
        assessment = asyncio.run(assess(metrics, question, response))
        made = Record(
            id=question.id,
            category=question.category,
            question=question.input,
            response=response,
            finish_reason="answered",
            assessment=assessment,
            searches=1,
            documents_read=1,
            profile_size=1,
            prompt_tokens=9,
            policy_tokens=2,
            latency_ms=1.0,
        )
        lines.append(json.dumps(made.to_dict()) + "\n")
    folder.mkdir()
    (folder / RECORDS).write_text("".join(lines))
    manifest = {
        "method": "rag",
        "policy": {"model": model},
        "dataset": {"name": dataset, "hash": "h", "questions": len(pairs)},
        "metrics": {metric.name: metric.direction for metric in metrics},
        "finished": True,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def report(tmp_path: Path, *folders: Path) -> str:
    write_report(folders, tmp_path / "page")
    return (tmp_path / "page" / "report.md").read_text()


def row(page: str, name: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {name}"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_all_metrics_stand_beside_the_published_ones(tmp_path: Path) -> None:
    page = report(tmp_path, write(tmp_path / "run", 3, [("5", "5"), ("5", "3"), ("1", "nan")]))
    assert row(page, "ours: rag") == ["2.0000", "2.5820"]
    assert row(page, "published: None") == ["0.308", "0.611"]
    assert row(page, "published: RSPG-Post") == ["0.264", "0.568"]
    assert "FlanT5-XXL, arXiv 2404.05970" in page
    assert "Not comparable" not in page


def test_a_value_that_is_not_certain_is_marked(tmp_path: Path) -> None:
    page = report(tmp_path, write(tmp_path / "run", 5, [("a title", "a title")]))
    assert row(page, "published: RSPG-Pre") == ["0.483?", "0.431"]


def test_a_metric_that_was_not_published_has_no_value(tmp_path: Path) -> None:
    page = report(tmp_path, write(tmp_path / "run", 1, [("[1]", "[1]"), ("[2]", "[1]")]))
    assert row(page, "ours: rag") == ["0.5000", "0.3333"]
    assert row(page, "published: BM25") == ["0.626", "–"]


def test_differences_from_the_published_setting_are_named(tmp_path: Path) -> None:
    page = report(
        tmp_path, write(tmp_path / "run", 4, [("a", "a")], dataset="lamp-sample-4", model="tiny-t5")
    )
    assert "the data set lamp-sample-4 is made, not LaMP's and the outputs are of tiny-t5" in page


def test_unusable_outputs_and_profiles_that_give_answers_away_are_counted(tmp_path: Path) -> None:
    pairs = [("a headline", "a headline"), ("another", "")]
    page = report(tmp_path, write(tmp_path / "run", 4, pairs))
    counts = page[page.index("Unusable outputs") :]
    assert row(counts, "rag") == ["1 of 2", "2 of 2", "0 of 2", "not known"]
    page = report(tmp_path, write(tmp_path / "dated", 4, pairs, date="2014-01-01"))
    assert row(page[page.index("Unusable outputs") :], "rag")[-1] == "2 of 2"


def test_accuracies_are_compared_by_mcnemars_test(tmp_path: Path) -> None:
    golds = ["comedy"] * 12
    first = write(tmp_path / "a", 2, [(gold, gold) for gold in golds[:2]] + [("comedy", "action")] * 10)
    second = write(tmp_path / "b", 2, [(gold, gold) for gold in golds])
    page = report(tmp_path, first, second)
    # Ten discordant pairs, all for one run: 2 / 2^10.
    assert row(page, r"rag \(b\) − rag \(a\)")[2:4] == ["10 : 0", "0.0020"]
    assert "McNemar" in page


def test_other_metrics_are_compared_by_the_t_test(tmp_path: Path) -> None:
    pairs = [("a b", "a b"), ("a b", "a"), ("a b", "c")]
    first = write(tmp_path / "a", 7, pairs)
    second = write(tmp_path / "b", 7, [("a b", "c"), ("a b", "a b"), ("a b", "a")])
    assert "McNemar" not in report(tmp_path, first, second)


def test_published_scores_are_complete() -> None:
    assert {len(scores) for scores in PUBLISHED.values()} == {len(METHODS)}
    assert {number for number, _ in PUBLISHED} == set(range(1, 8))


@pytest.mark.parametrize("metric", ["f1", "rouge-1"])
def test_all_published_scores_are_shares(metric: str) -> None:
    assert all(0 < one < 1 for (_, name), scores in PUBLISHED.items() for one in scores if name == metric)
