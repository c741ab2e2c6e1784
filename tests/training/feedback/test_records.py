"""Folders of feedback: what is written is read, and what does not fit is refused with its line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.feedback.records import (
    FEEDBACK,
    MANIFEST,
    Feedback,
    InvalidFeedback,
    Judged,
    read_feedback,
    read_manifest,
    write_feedback,
)

MANIFEST_OF = {"task": "lamp-4", "encoder": {"name": "minilm"}}

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
documents = st.lists(
    st.builds(Judged, words, words, st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    max_size=4,
    unique_by=lambda document: document.id,
)
records = st.lists(
    st.builds(Feedback, words, words, documents.map(tuple), st.none() | words),
    max_size=4,
    unique_by=lambda record: record.id,
)


@given(records)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, written: list[Feedback]) -> None:
    folder = tmp_path_factory.mktemp("feedback")
    write_feedback(folder, MANIFEST_OF, written)
    assert read_feedback(folder) == written
    assert read_manifest(folder) == MANIFEST_OF


GOOD: dict[str, Any] = {"id": "q", "query": "x", "documents": [{"id": "d", "text": "t", "utility": 0.5}]}


def with_document(**changes: Any) -> dict[str, Any]:
    return GOOD | {"documents": [GOOD["documents"][0] | changes]}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "JSON"),
        (json.dumps([GOOD]), "record"),
        (json.dumps(GOOD | {"query": None}), "query"),
        (json.dumps({key: GOOD[key] for key in ("id", "query")}), "documents"),
        (json.dumps(GOOD | {"score": 1}), "score"),
        (json.dumps(with_document(utility="0.5")), "utility"),
        (json.dumps(with_document(utility=True)), "utility"),
        (json.dumps(with_document(utility=float("nan"))), "utility"),
        (json.dumps(with_document(utility=float("inf"))), "utility"),
        (json.dumps(GOOD | {"documents": GOOD["documents"] * 2}), "document 'd' comes twice"),
        (json.dumps(GOOD | {"id": "first"}), "question 'first' comes twice"),
    ],
)
def test_a_bad_record_is_refused_with_its_line(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / FEEDBACK).write_text(json.dumps(GOOD | {"id": "first"}) + "\n" + line + "\n", "utf-8")
    with pytest.raises(InvalidFeedback, match=rf"{FEEDBACK}:2: .*{why}"):
        read_feedback(tmp_path)


def test_missing_utility_is_not_the_same_as_null(tmp_path: Path) -> None:
    document = {"id": "d", "text": "t"}
    (tmp_path / FEEDBACK).write_text(json.dumps(GOOD | {"documents": [document]}) + "\n", "utf-8")
    with pytest.raises(InvalidFeedback, match="utility"):
        read_feedback(tmp_path)
    (tmp_path / FEEDBACK).write_text(json.dumps(with_document(utility=None)) + "\n", "utf-8")
    assert read_feedback(tmp_path)[0].documents == (Judged("d", "t", None),)


def test_a_torn_last_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / FEEDBACK).write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD)[:-9], "utf-8")
    with pytest.raises(InvalidFeedback, match=r":2: the last line is incomplete"):
        read_feedback(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFeedback, match=FEEDBACK):
        read_feedback(tmp_path)
    with pytest.raises(InvalidFeedback, match=MANIFEST):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "manifest", ["{", "[]", '{"task": "t"}', '{"encoder": null}', '{"task":"t","encoder":"m"}']
)
def test_a_bad_manifest_is_refused(tmp_path: Path, manifest: str) -> None:
    (tmp_path / MANIFEST).write_text(manifest, "utf-8")
    with pytest.raises(InvalidFeedback, match=MANIFEST):
        read_manifest(tmp_path)
