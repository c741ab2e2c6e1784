import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.demo.experiment import Point
from training.demo.measure import Figures, over
from training.demo.report import AFTER, FIGURES, RAG, TABLE, WARM, Curve, Row, shortfalls, table, write

PNG = b"\x89PNG"


def _row(system: str, rewards: tuple[float, ...], accuracies: tuple[float, ...]) -> Row:
    return Row(
        0,
        system,
        {
            hops: Figures(reward=reward, accuracy=accuracy, searches=float(hops), invalid=0.0)
            for hops, (reward, accuracy) in enumerate(zip(rewards, accuracies, strict=True))
        },
    )


ROWS = [
    _row(RAG, (0.95, 0.3, 0.1, 0.0), (1.0, 0.3, 0.1, 0.0)),
    _row(WARM, (0.95, 0.4, 0.2, 0.0), (1.0, 0.4, 0.2, 0.0)),
    _row(AFTER["grpo"], (1.0, 0.95, 0.9, 0.1), (1.0, 1.0, 1.0, 0.2)),
]


def test_the_mean_leaves_three_hops_out() -> None:
    assert ROWS[2].mean.reward == pytest.approx(0.95)
    assert over(ROWS[2].by_hops, (0, 2)).searches == 1.0


def test_a_training_that_reached_everything_has_no_shortfalls() -> None:
    assert list(shortfalls(ROWS)) == []


def test_each_thing_that_was_not_shown_is_named() -> None:
    poor = {
        hops: replace(each, reward=0.4, accuracy=0.5, searches=1.4, invalid=0.1)
        for hops, each in ROWS[2].by_hops.items()
    }
    said = "\n".join(shortfalls([*ROWS[:2], replace(ROWS[2], by_hops=poor)]))
    for words in ("RAG", "warm start's", "two-hop accuracy is 0.50", "0.10 are invalid"):
        assert words in said
    for hops in (0, 1, 2):
        assert f"1.40 searches at {hops} hops" in said


def test_table_figures_and_picture_are_written(tmp_path: Path) -> None:
    curve = Curve(0, "grpo", [Point(step, ROWS[2].by_hops) for step in (0, 10)])
    write(tmp_path, ROWS, [curve], seconds=61.4)
    assert (tmp_path / TABLE).read_text() == table(ROWS) + "\n"
    assert "| 0 | after RL, plain GRPO | 0.950 | 1.00 / 1.00 / 1.00 | 0.20 |" in table(ROWS)
    figures = json.loads((tmp_path / FIGURES).read_text())
    assert figures["seconds"] == 61
    assert figures["rows"][2]["mean"]["accuracy"] == 1.0
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)
