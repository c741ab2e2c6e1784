"""Compares ways to choose among the retrievers of a pool, as a table of plain text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from agent.selecting import Selector
from training.evaluation.report.formatting import NONE, interval, number, plural, signed
from training.evaluation.statistics import LEVEL, Interval
from training.selector import measures
from training.selector.data import Example
from training.selector.measures import Outcome, PoolScores, Values, WinningRate
from training.selector.prediction import PREDICTORS, Retrieved, predicted, standardized

BEST_SINGLE = "best single"


def strategies(scores: PoolScores, reference: str) -> dict[str, Values]:
    """The strategies that need no training, by name: each member, chance, and the oracles."""
    return {
        **{f"only {member}": measures.single(scores, member) for member in scores.members},
        f"{BEST_SINGLE} ({reference})": measures.single(scores, reference),
        "random": measures.at_random(scores),
        "oracle, lower bound": measures.oracle(scores, worst=True),
        "oracle, upper bound": measures.oracle(scores),
    }


def predictions(scores: PoolScores, rankings: Mapping[str, Sequence[Retrieved]]) -> dict[str, Values]:
    """The choices by query performance prediction, raw and standardized over the questions.

    `rankings` holds the rankings of each question's profile, by the question's id, in the members' order.
    """
    found = [rankings[question] for question in scores.questions]
    chosen = {}
    for name, predictor in PREDICTORS.items():
        values = predicted(predictor, found)
        chosen[name] = measures.highest(values)
        chosen[f"{name}, z"] = measures.highest(standardized(values))
    return chosen


def selected(scores: PoolScores, selector: Selector, examples: Sequence[Example]) -> Values:
    """The choices of a selector that was trained on this pool."""
    members = {example.id: example.members for example in examples}
    rows = []
    for question in scores.questions:
        pool = [members[question][name] for name in scores.members]
        outputs = [one.output for one in pool] if selector.mode == "post" else None
        rows.append(selector.scores([one.prompt for one in pool], outputs))
    return measures.highest(np.array(rows))


def as_text(
    scores: PoolScores, found: Mapping[str, Outcome], rates: Mapping[str, WinningRate], reference: str
) -> str:
    """Two tables: the strategies, and the members' winning rates."""
    head = ("strategy", "score", "success rate", f"gain over {reference}")
    table = [head] + [
        (
            name,
            _cell(number(one.score), one.score_interval),
            _cell(number(one.success), one.success_interval),
            _cell(signed(one.gain), one.gain_interval),
        )
        for name, one in found.items()
    ]
    wins = [("retriever", "winning rate")]
    wins += [(name, _cell(number(one.rate), one.interval)) for name, one in rates.items()]
    counted = f"{plural(len(scores.questions), 'question')}, {LEVEL:.0%} bootstrap intervals over questions"
    if scores.left_out:
        counted += f"; {plural(scores.left_out, 'question')} without a score for every retriever left out"
    return "\n".join([counted, "", *_aligned(table), "", *_aligned(wins)])


def as_values(dataset: str, found: Mapping[str, Outcome]) -> dict[str, Any]:
    """The outcomes as JSON values, for the exhibits; `dataset` is the hash of the questions."""
    return {"hash": dataset, "strategies": {name: asdict(one) for name, one in found.items()}}


def _cell(value: str, ends: Interval | None) -> str:
    return f"{value} {NONE if ends is None else interval(ends)}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
