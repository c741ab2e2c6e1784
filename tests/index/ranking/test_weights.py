"""Ranker files: one that does not fit is named and refused, with every field that is wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import UnusableRanker
from index.ranking.hybrid import SIGNALS, scores, signals
from index.ranking.weights import BY_HAND, Measured, Ranker, Weights, load_ranker
from tests.index.ranking.test_hybrid import ENCODER, profile_of, turn

RANKER = Ranker(
    weights=BY_HAND,
    encoder="minilm",
    ridge=1.0,
    measured=(Measured(dataset="talks", questions=3, by_hand=0.5, held_out=0.4, fitted=0.6),),
)


def written(folder: Path, **changes: Any) -> Path:
    file = folder / "ranker.json"
    values = json.loads(RANKER.model_dump_json())
    values["weights"] |= changes
    file.write_text(
        json.dumps({"weights": {k: v for k, v in values.pop("weights").items() if v is not None}} | values)
    )
    return file


def test_a_ranker_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert load_ranker(written(tmp_path)) == RANKER


@pytest.mark.parametrize(
    "changes", [{"time": None}, {"weather": 0.5}, {"time": -0.1}, {"time": True}, {"time": "much"}],
    ids=["missing", "unknown", "negative", "a truth value", "no number"],
)  # fmt: skip
def test_a_file_that_does_not_fit_the_signals_is_named_with_the_field(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    file = written(tmp_path, **changes)
    with pytest.raises(UnusableRanker) as refused:
        load_ranker(file)
    (field,) = changes
    assert str(file) in str(refused.value)
    assert f"weights.{field}" in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"weights": {"time": NaN}}'])
def test_a_file_that_is_no_ranker_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ranker.json"
    file.write_text(text)
    with pytest.raises(UnusableRanker, match=r"ranker\.json"):
        load_ranker(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableRanker, match=r"none\.json: No such file"):
        load_ranker(tmp_path / "none.json")


def test_each_weight_multiplies_its_own_signal(tmp_path: Path) -> None:
    talk = [
        turn(1, "Ana", "tea"),
        turn(2, "Bo", "I like tea on Mondays."),
        turn(3, "Ana", "The bus is late."),
    ]
    profile = profile_of(tmp_path, talk)
    (vector,) = ENCODER.encode_queries(["tea"])
    today = profile.last_day
    question = "Does Ana like tea on 1 May 2024?"
    each = signals(profile, question, vector, today)
    assert (each.max(axis=1) > 0).all()
    for name, row in zip(SIGNALS, each, strict=True):
        alone = Weights(**{signal: float(signal == name) for signal in SIGNALS})
        np.testing.assert_allclose(scores(profile, question, vector, today, alone), row)
