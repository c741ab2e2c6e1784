"""Folders of pairs: what is written is read back, and what does not fit is refused with its line."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.reward_model.records import PAIRS, InvalidPairs, Pair, read_manifest, read_pairs, write_pairs

PAIR = Pair("q1", "ada", "Which tea?", "Strong black tea.", "It depends.", ("I like it strong.",))

texts = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
pairs = st.builds(Pair, texts, texts, texts, texts, texts, st.lists(texts).map(tuple), st.none() | texts)


@given(st.lists(pairs, unique_by=lambda pair: pair.id))
def test_what_is_written_is_read_back(made: list[Pair]) -> None:
    with tempfile.TemporaryDirectory() as name:
        write_pairs(Path(name), {"dataset": "made"}, made)
        assert read_pairs(Path(name)) == made
        assert read_manifest(Path(name)) == {"dataset": "made"}


def written(folder: Path, *records: dict[str, Any], end: str = "\n") -> Path:
    (folder / PAIRS).write_text("\n".join(map(json.dumps, records)) + end, "utf-8")
    return folder


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"plain": " \n"}, "plain: is empty"),
        ({"personalized": ""}, "personalized: is empty"),
        ({"other": ""}, "other: is empty"),
        ({"history": "one text"}, "history"),
        ({"score": 1}, "score"),
        ({"id": 2}, "id"),
        ({"id": "q1"}, "question 'q1' comes twice"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_with_its_line(
    tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    good = json.loads(PAIR.to_line())
    with pytest.raises(InvalidPairs, match=rf"pairs\.jsonl:2: .*{fault}"):
        read_pairs(written(tmp_path, good, {**good, "id": "q2", **change}))


def test_an_incomplete_last_line_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidPairs, match="cannot be read"):
        read_pairs(tmp_path)
    with pytest.raises(InvalidPairs, match="not a manifest"):
        read_manifest(tmp_path)
    with pytest.raises(InvalidPairs, match=r"pairs\.jsonl:1: the last line is incomplete"):
        read_pairs(written(tmp_path, json.loads(PAIR.to_line()), end=""))
