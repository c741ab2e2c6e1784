import dataclasses
import json

import pytest

from agent.trajectory import (
    Answer,
    Citation,
    Information,
    Invalid,
    Limits,
    Read,
    Search,
    Segment,
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
    steps=STEPS,
    segments=(Segment("environment", "Q\n"), Segment("policy", "A")),
    finish_reason="policy_error",
    detail="gone",
    fault="timeout",
    violations={"stray_tag": 2},
    policy_tokens=12,
    policy_ms=1.001,
    search_ms=2.002,
    total_ms=3.003,
)


@pytest.mark.parametrize(
    "trajectory",
    [FULL, Trajectory("What?", Limits()), dataclasses.replace(FULL, steps=(Invalid("no_action", 9.0),))],
    ids=["full", "empty", "invalid"],
)
def test_a_trajectory_survives_json_unchanged(trajectory: Trajectory) -> None:
    assert Trajectory.from_dict(json.loads(json.dumps(trajectory.to_dict()))) == trajectory


def test_a_dict_is_json_values_and_holds_the_transcript() -> None:
    values = FULL.to_dict()
    assert values["transcript"] == "Q\nA"
    assert [step["kind"] for step in values["steps"]] == ["thought", "search", "information", "answer"]
    assert values["steps"][2]["passages"][0]["passage"]["score"] == PASSAGE.score


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
    [{"steps": [{"kind": "dance"}]}, {"limits": {"speed": 1}}, {"bogus": 1}],
    ids=["step", "limit", "field"],
)
def test_a_dict_of_another_make_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        Trajectory.from_dict(FULL.to_dict() | change)
