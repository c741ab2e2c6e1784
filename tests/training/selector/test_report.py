"""The comparison of strategies: selectors read their pool, and the tables hold what was measured."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from agent.selecting import Mode
from training.selector import report
from training.selector.data import Candidate, Example
from training.selector.measures import outcomes, pool_scores, winning_rates
from training.selector.prediction import PREDICTORS, Retrieved

MEMBERS = ("bm25", "dense")


def example(number: int, bm25: float, dense: float | None) -> Example:
    members = {
        "dense": Candidate(prompt=f"dense {number}", output="d" * number, score=dense),
        "bm25": Candidate(prompt=f"bm25 {number}", output="b" * (3 - number), score=bm25),
    }
    return Example(id=f"q{number}", input="?", members=members)


EXAMPLES = [example(1, 0.2, 0.8), example(2, 0.6, 0.4), example(3, 0.1, None)]
SCORES = pool_scores(MEMBERS, EXAMPLES)


class Longest:
    """Prefers the longest text, and notes what it reads."""

    members: Sequence[str] = MEMBERS

    def __init__(self, mode: Mode) -> None:
        self.mode: Literal["pre", "post"] = mode
        self.read: list[tuple[Sequence[str], Sequence[str] | None]] = []

    def scores(self, prompts: Sequence[str], outputs: Sequence[str] | None) -> list[float]:
        self.read.append((prompts, outputs))
        return [float(len(text)) for text in outputs or prompts]


def test_a_selector_reads_the_pool_in_the_order_of_the_members() -> None:
    post = Longest("post")
    # The outputs of q1 are bb and d, those of q2 are b and dd; q3 is not measured.
    assert report.selected(SCORES, post, EXAMPLES).tolist() == [[1, 0], [0, 1]]
    assert post.read == [(["bm25 1", "dense 1"], ["bb", "d"]), (["bm25 2", "dense 2"], ["b", "dd"])]
    pre = Longest("pre")
    assert report.selected(SCORES, pre, EXAMPLES).tolist() == [[0, 1], [0, 1]]
    assert pre.read == [(["bm25 1", "dense 1"], None), (["bm25 2", "dense 2"], None)]


def test_predictors_choose_raw_and_standardized() -> None:
    wide, narrow = Retrieved((9.0, 1.0), 2, 1), Retrieved((0.5, 0.4), 2, 1)
    found = report.predictions(SCORES, {"q1": [wide, narrow], "q2": [wide, Retrieved((0.5, 0.1), 2, 1)]})
    assert list(found) == [name for one in PREDICTORS for name in (one, f"{one}, z")]
    assert found["σ max"].tolist() == [[1, 0], [1, 0]]
    # bm25's values do not vary; those of dense are below its mean, then above it.
    assert found["σ max, z"].tolist() == [[1, 0], [0, 1]]


def test_the_table_holds_what_was_measured() -> None:
    strategies = report.strategies(SCORES, "dense")
    found = outcomes(SCORES, strategies, "dense")
    said = report.as_text(SCORES, found, winning_rates(SCORES), "dense").splitlines()
    assert said[0].startswith("2 questions, 95% bootstrap intervals")
    assert said[0].endswith("1 question without a score for every retriever left out")
    cells = {line.partition("  ")[0]: line.split() for line in said[3:] if line}
    assert "0.4000" in cells["only bm25"]
    assert "0.6000" in cells["best single (dense)"]
    assert "0.5000" in cells["random"]
    assert "0.3000" in cells["oracle, lower bound"]
    assert "+0.1000" in cells["oracle, upper bound"]
    assert cells["dense"][1] == "0.5000", "winning rate"


def test_a_strategy_is_a_distribution_over_the_members() -> None:
    for values in report.strategies(SCORES, "bm25").values():
        assert values.sum(axis=1) == pytest.approx(np.ones(2))
