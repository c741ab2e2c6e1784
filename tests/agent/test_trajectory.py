import dataclasses
import json

import pytest

from agent.trajectory import (
    Answer,
    Citation,
    Cost,
    Information,
    Invalid,
    Limits,
    Message,
    Read,
    Search,
    Segment,
    Selection,
    Step,
    Thought,
    Trajectory,
)
from index.documents import Passage

PASSAGE = Passage("a", "Text with \ud83d and é.", 7, "2024-01-01T00:00:00Z", "Title", "mail", 1, 0.1 + 0.2)
STEPS: tuple[Step, ...] = (
    Thought("Hm", 1.5),
    Search("tea", 2.25),
    Information((Read(1, PASSAGE), Read(2, Passage("b", ""))), 3.0),
    Answer("Tea [1].", (Citation(1, "a", "Text", 7, 11, 2),), 3, 4.125),
)
FULL = Trajectory(
    question="What?",
    limits=Limits(1, 2, 3, 4, 5),
    policy="scripted",
    prompt_version="1",
    protocol="tools",
    conversation=(Message("user", "Hi\ud83d"), Message("assistant", ""), Message("system", "Be short.")),
    steps=STEPS,
    segments=(
        Segment("environment", "Q\n", (1, 0, 151_643)),
        Segment("policy", "A", ()),
        Segment("environment", ""),
    ),
    finish_reason="policy_error",
    detail="gone",
    fault="timeout",
    violations={"stray_tag": 2},
    passages_dropped=6,
    prompt_tokens=3_400,
    policy_tokens=12,
    policy_ms=1.001,
    search_ms=2.002,
    total_ms=3.003,
)


BEFORE = Selection("pre", "bm25", {"bm25": 0.5, "dense": -0.25}, 1.5)
AFTER = Selection("post", "dense", {"bm25": None, "dense": 2.0}, 2.5, Cost(1, 2, 300, 40, 5.5, 6.5))


@pytest.mark.parametrize(
    "trajectory",
    [
        FULL,
        Trajectory("What?", Limits()),
        dataclasses.replace(FULL, steps=(Invalid("no_action", 9.0),)),
        dataclasses.replace(FULL, selection=BEFORE),
        dataclasses.replace(FULL, selection=AFTER),
    ],
    ids=["full", "empty", "invalid", "chosen before", "chosen after"],
)
def test_a_trajectory_survives_json_unchanged(trajectory: Trajectory) -> None:
    assert Trajectory.from_dict(json.loads(json.dumps(trajectory.to_dict()))) == trajectory


def test_a_choice_stands_in_the_dict_only_if_there_was_one() -> None:
    assert "selection" not in FULL.to_dict()
    assert dataclasses.replace(FULL, selection=BEFORE).to_dict()["selection"]["others"] is None


def test_the_tokens_of_answers_that_were_not_chosen_count() -> None:
    assert (FULL.tokens_read, FULL.tokens_written) == (3_400, 12)
    chosen = dataclasses.replace(FULL, selection=AFTER)
    assert (chosen.tokens_read, chosen.tokens_written) == (3_700, 52)


def test_a_dict_is_json_values_and_holds_the_transcript() -> None:
    values = FULL.to_dict()
    assert values["transcript"] == "Q\nA"
    assert [step["kind"] for step in values["steps"]] == ["thought", "search", "information", "answer"]
    assert values["steps"][2]["passages"][0]["passage"]["score"] == PASSAGE.score


def test_new_values_stand_in_the_dict_under_their_names() -> None:
    values = FULL.to_dict()
    assert values["protocol"] == "tools"
    assert values["conversation"][1] == {"role": "assistant", "text": ""}
    assert [segment["token_ids"] for segment in values["segments"]] == [[1, 0, 151_643], [], None]
    assert (values["passages_dropped"], values["prompt_tokens"]) == (6, 3_400)


STORED = """{
  "question": "What do I drink?",
  "limits": {"max_searches": 4, "top_k": 5, "max_documents": 20, "max_tokens": 2048, "deadline_ms": 60000},
  "policy": "scripted",
  "prompt_version": "1",
  "steps": [
    {"text": "Look.", "at_ms": 0.5, "kind": "thought"},
    {"query": "tea", "at_ms": 0.5, "kind": "search"},
    {"passages": [{"number": 1, "passage": {"document_id": "tea", "text": "Green tea.", "start": 0,
      "created_at": null, "title": null, "source": null, "rank": 1, "score": 0.5}}],
     "at_ms": 1.5, "kind": "information"},
    {"text": "Tea [1].", "citations": [{"number": 1, "document_id": "tea", "quote": "Green tea.",
      "start": 0, "end": 10, "step": 2}], "dropped_marks": 0, "at_ms": 2.5, "kind": "answer"}
  ],
  "segments": [
    {"author": "environment", "text": "Question: What do I drink?\\n\\n"},
    {"author": "policy", "text": "<think>Look.</think><search>tea</search>"},
    {"author": "environment", "text": "\\n<information>\\n[1] Green tea.\\n</information>\\n"},
    {"author": "policy", "text": "<answer>Tea [1].</answer>"}
  ],
  "finish_reason": "answered",
  "detail": "",
  "fault": null,
  "violations": {"missing_think": 1},
  "policy_tokens": 3,
  "policy_ms": 1.0,
  "search_ms": 2.0,
  "total_ms": 3.0,
  "transcript": "as the segments"
}"""
"""A trajectory as version 0.1.0 stored it."""


def test_a_trajectory_that_was_stored_by_an_older_version_can_be_read() -> None:
    trajectory = Trajectory.from_dict(json.loads(STORED))
    assert trajectory.answer is not None
    assert trajectory.answer.text == "Tea [1]."
    assert trajectory.documents_read == ("tea",)
    assert trajectory.protocol == "tags"
    assert trajectory.conversation == ()
    assert {segment.token_ids for segment in trajectory.segments} == {None}
    assert (trajectory.passages_dropped, trajectory.prompt_tokens) == (0, 0)
    assert Trajectory.from_dict(trajectory.to_dict()) == trajectory


def test_changing_the_dict_does_not_change_the_trajectory() -> None:
    values = FULL.to_dict()
    values["violations"]["stray_tag"] = 7
    values["limits"]["top_k"] = 7
    assert FULL.violations == {"stray_tag": 2}
    assert FULL.limits.top_k == 2


def test_what_was_read_is_told_by_document_in_order() -> None:
    assert FULL.documents_read == ("a", "b")
    assert FULL.searches == 1
    assert FULL.answer == STEPS[-1]
    assert dataclasses.replace(FULL, steps=STEPS[:3]).answer is None


@pytest.mark.parametrize(
    "change",
    [
        {"steps": [{"kind": "dance"}]},
        {"limits": {"speed": 1}},
        {"bogus": 1},
        {"segments": [{"author": "policy", "text": "", "mood": "good"}]},
        {"segments": [{"author": "policy"}]},
        {"conversation": [{"role": "user"}]},
        {"conversation": [{"role": "user", "text": "", "mood": "good"}]},
    ],
    ids=["step", "limit", "field", "segment", "half a segment", "half a message", "message"],
)
def test_a_dict_of_another_make_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        Trajectory.from_dict(FULL.to_dict() | change)
