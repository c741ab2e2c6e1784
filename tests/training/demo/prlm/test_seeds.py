import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from training.demo.prlm.experiment import Plan, Point, Scores
from training.demo.prlm.report import FIGURES, PICTURE, TABLES, difference, tables, write
from training.demo.prlm.robustness import PASSAGES, RETRIEVERS
from training.demo.prlm.seeds import (
    AWARE,
    CONTENT,
    PUBLISHED,
    RAG_AFTER,
    RAG_BEFORE,
    SYSTEMS,
    Judging,
    Result,
    pin,
    run,
)
from training.errors import TrainingError
from training.reward_model.measures import Accuracy

PLAN = Plan(held_out=4)


def _result(seed: int) -> Result:
    """Systems whose manner differs by a known amount, the same for every question."""
    systems = {
        name: Scores([1.0, 1.0, 0.0, 0.0], [at / 10 + at * seed / 50] * 4) for at, name in enumerate(SYSTEMS)
    }
    grid = {
        name: {retriever: dict.fromkeys(PASSAGES, of.score) for retriever in RETRIEVERS}
        for name, of in systems.items()
    }
    accuracy = Accuracy(0.75, (0.6, 0.9), 8)
    curve = [Point(step, 0.5, 0.5, 0.5, step / 10) for step in (0, 5)]
    trained = (CONTENT, PUBLISHED, AWARE, RAG_AFTER)
    judging = {"published": Judging(accuracy, None), "user-aware": Judging(accuracy, accuracy)}
    return Result(seed, systems, systems, judging, dict.fromkeys(trained, curve), grid, 61.4)  # type: ignore[arg-type]


def test_a_seed_that_is_finished_is_read_and_not_run_again(tmp_path: Path) -> None:
    ran: list[int] = []

    def learned(plan: Plan, seed: int) -> Result:
        ran.append(seed)
        return _result(seed)

    found = [run(tmp_path, PLAN, seed, learned) for seed in (0, 1, 0)]
    assert ran == [0, 1]
    assert found[0] == found[2] == _result(0)


def test_a_seed_that_failed_is_run_again(tmp_path: Path) -> None:
    def fails(plan: Plan, seed: int) -> Result:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, PLAN, 0, fails)
    assert run(tmp_path, PLAN, 0, lambda plan, seed: _result(seed)) == _result(0)


def test_a_folder_of_other_settings_is_refused_by_name(tmp_path: Path) -> None:
    pin(tmp_path, PLAN)
    pin(tmp_path, PLAN)
    with pytest.raises(TrainingError, match="held_out: 4 then, 5 now"):
        pin(tmp_path, replace(PLAN, held_out=5))


def test_a_difference_is_of_the_same_questions_with_intervals_over_questions_and_seeds() -> None:
    first: Sequence[Sequence[float]] = [[1.0, 0.0, 1.0], [0.5, 0.5, 0.5]]
    second: Sequence[Sequence[float]] = [[0.0, 0.0, 0.0], [0.5, 0.0, 0.5]]
    found = difference(first, second)
    assert found.mean == pytest.approx((2 / 3 + 1 / 6) / 2)
    assert found.questions is not None
    assert found.questions[0] < found.mean < found.questions[1]
    # t of one degree of freedom is 12.706; the standard error is half of the difference of the two means.
    assert found.seeds == pytest.approx((found.mean - 12.706 / 4, found.mean + 12.706 / 4), abs=1e-3)


def test_one_seed_has_no_interval_over_seeds() -> None:
    assert difference([[1.0, 0.0]], [[0.0, 0.0]]).seeds is None


def test_other_questions_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="zip"):
        difference([[1.0]], [[1.0, 0.0]])


def test_tables_figures_and_picture_are_written(tmp_path: Path) -> None:
    results = [_result(0), _result(1)]
    write(tmp_path, results)
    text = (tmp_path / TABLES).read_text()
    assert text == tables(results)
    assert f"| {RAG_BEFORE} | 0.250 | 0.500 | 0.000 | 0.250 | 0.500 | 0.000 |" in text
    assert f"| {AWARE} - {CONTENT} | sampled | +0.110 | [+0.110, +0.110] | [-0.017, +0.237] |" in text
    assert f"| {AWARE} - {RAG_BEFORE} | random | 8 | +0.220 | [+0.220, +0.220] | [-0.034, +0.474] |" in text
    assert "| 1 | user-aware | 0.750 [0.600, 0.900], 8 pairs |" in text
    figures = json.loads((tmp_path / FIGURES).read_text())
    assert (figures["seeds"], figures["seconds"]) == ([0, 1], [61, 61])
    assert figures["comparisons"][0]["mean"] == pytest.approx(0.11)
    assert len(figures["robustness"]) == 3 * len(RETRIEVERS) * len(PASSAGES)
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")
