"""Sweeps: the cells, their failures, and the report with the value of every difference."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.evaluation.fabricated_runs import made_up, write_run
from training.errors import TrainingError
from training.evaluation.records import AspectScore, Record, by_rubric
from training.evaluation.report.sweep import MARKDOWN, PAGE, write_sweep
from training.evaluation.runs import RunOutcome
from training.evaluation.sweep import Cell, InvalidSweep, cells_of, run_cells


def record(name: str, score: int) -> Record:
    return replace(made_up(0, 1)[0], id=name, assessment=by_rubric([AspectScore("an aspect", score)]))


def test_cells_are_every_combination_once_with_few_passages_first() -> None:
    cells = cells_of(["prlm", "rag"], ["bm25", "random", "bm25"], [4, 1])
    assert cells == [
        Cell(method, retriever, k)
        for method in ("prlm", "rag")
        for retriever in ("bm25", "random")
        for k in (1, 4)
    ]
    assert len({cell.folder(Path("x")) for cell in cells}) == 8


@pytest.mark.parametrize(
    ("methods", "retrievers", "top_ks", "why"),
    [
        (["prlm"], ["bm25"], [1], "at least two methods"),
        (["prlm", "prlm"], ["bm25"], [1], "at least two methods"),
        (["prlm", "rag"], [], [1], "a retriever"),
        (["prlm", "rag"], ["bm25"], [], "a number of passages"),
        (["prlm", "none"], ["bm25"], [1], "none reads no passages"),
    ],
)
def test_a_sweep_that_compares_nothing_is_refused(
    methods: list[str], retrievers: list[str], top_ks: list[int], why: str
) -> None:
    with pytest.raises(InvalidSweep, match=why):
        cells_of(methods, retrievers, top_ks)


async def test_a_cell_that_fails_stops_no_other_and_says_why() -> None:
    cells = [Cell("prlm", "bm25", k) for k in (1, 2, 3)]
    done = []

    async def run(cell: Cell) -> RunOutcome:
        done.append(cell.top_k)
        if cell.top_k == 1:
            raise TrainingError("the judge is away")
        return RunOutcome({}, {"q1": "the engine is away"} if cell.top_k == 2 else {})

    failures = await run_cells(cells, run, lambda error: str(error))
    assert done == [1, 2, 3]
    assert failures == {
        cells[0]: "the judge is away",
        cells[1]: "1 questions are still owed (the engine is away)",
    }


async def test_an_error_that_nobody_expects_is_raised() -> None:
    async def run(cell: Cell) -> RunOutcome:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_cells([Cell("prlm", "bm25", 1)], run, lambda error: None)


def test_the_report_has_every_score_and_the_paired_difference(tmp_path: Path) -> None:
    cells = cells_of(["prlm", "rag"], ["bm25", "recency"], [1, 2])
    failed = {Cell("prlm", "recency", 2): "the engine is away"}
    scores = {"prlm": (2, 2, 1, 2), "rag": (1, 1, 1, 2)}
    for cell in cells:
        if cell not in failed:
            records = [record(f"q{n}", score) for n, score in enumerate(scores[cell.method])]
            write_run(cell.folder(tmp_path), records, method=cell.method)
    write_sweep(tmp_path, cells, failed)
    text = (tmp_path / MARKDOWN).read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith(("| bm25", "| recency"))]
    assert len(rows) == 4
    # Halved to 0 to 1: (1 + 1 + .5 + 1) / 4 and (.5 + .5 + .5 + 1) / 4.
    for row in rows[:3]:
        assert "0.8750" in row
        assert "0.6250" in row
        assert "+0.2500" in row
        assert "[+0.0000, +0.5000]" in row
    assert "failed" in rows[3]
    assert "+0.2500" not in rows[3]
    assert "0.6250" in rows[3]
    assert "prlm, recency, k = 2 failed: the engine is away" in text.replace("\\", "")
    page = (tmp_path / PAGE).read_text("utf-8")
    assert page.count("prlm − rag, k = ") >= 3
    assert "8 cells on sample, 1 failed" in text
    write_sweep(tmp_path, cells, failed)
    assert (tmp_path / PAGE).read_text("utf-8") == page, "the same runs give the same report"


def test_a_report_of_failures_alone_is_written(tmp_path: Path) -> None:
    cells = cells_of(["prlm", "rag"], ["bm25"], [1])
    write_sweep(tmp_path, cells, dict.fromkeys(cells, "no retriever"))
    assert (tmp_path / MARKDOWN).read_text("utf-8").count("failed: no retriever") == 2
