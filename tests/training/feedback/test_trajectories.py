"""Feedback from a run's trajectories: what was cited, read, dropped and never shown."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.trajectory import Answer, Citation, Information, Limits, Read, Search, Trajectory
from index.documents import Passage
from tests.training.evaluation.fabricated_runs import write_run
from training.evaluation.records import TRAJECTORIES, AspectScore, Record, by_rubric
from training.feedback.records import Judged, read_feedback, read_manifest
from training.feedback.trajectories import CitedCounts, NoTrajectories, feedback_from_run

NOTES = [Passage(f"d{n}", f"Note {n}.", title="Tea" if n == 2 else None) for n in range(1, 6)]


def record(name: str, scores: tuple[int | None, ...] = (2, 1), finish: str = "answered") -> Record:
    aspects = [AspectScore(f"aspect {n}", score) for n, score in enumerate(scores)]
    return Record(name, "Art", "What tea?", "Green [1].", finish, by_rubric(aspects), 1, 2, 5, 10, 10, 1.0)


def answered(cited: tuple[int, ...], dropped: int = 0) -> Trajectory:
    reads = [Read(number, note) for number, note in enumerate(NOTES, 1)]
    steps: list[Any] = [
        Search("tea"),
        Information(tuple(reads[:3])),
        Search("nothing"),
        Information(()),
        Search("more tea"),
        Information(tuple(reads[3:])),
        Answer("Green.", tuple(Citation(n, f"d{n}", "Note", 0, 4, 1) for n in cited)),
    ]
    return Trajectory(
        "What tea?", Limits(), steps=tuple(steps), finish_reason="answered", passages_dropped=dropped
    )


def a_run(folder: Path, runs: dict[str, tuple[Record, Trajectory]], **manifest: Any) -> Path:
    write_run(folder, [one for one, _ in runs.values()], trajectories=False, **manifest)
    with (folder / TRAJECTORIES).open("w", encoding="utf-8") as lines:
        for name, (_, trajectory) in runs.items():
            lines.write(json.dumps({"id": name, "trajectory": trajectory.to_dict()}) + "\n")
    return folder


def test_cited_passages_get_the_score_and_those_that_were_only_read_0(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", {"q1": (record("q1"), answered((2, 5)))})
    counts = feedback_from_run(tmp_path / "out", run, {"q1": "ana"}.get)
    assert counts == CitedCounts(kept=1)
    first, second = read_feedback(tmp_path / "out")
    assert (first.id, first.query, first.user) == ("q1", "tea", "ana")
    assert first.documents == (
        Judged("d1", "Note 1.", 0.0),
        Judged("d2", "Tea: Note 2.", 0.75),
        Judged("d3", "Note 3.", 0.0),
    )
    assert (second.id, second.query, second.user) == ("q1#2", "more tea", "ana")
    assert second.documents == (Judged("d4", "Note 4.", 0.0), Judged("d5", "Note 5.", 0.75))
    manifest = read_manifest(tmp_path / "out")
    assert (manifest["task"], manifest["encoder"], manifest["counts"]) == ("sample", None, {"kept": 1})
    assert manifest["from_run"]["judge"] == {"name": "lexical", "comparable": False}


def test_a_passage_that_was_dropped_before_the_answer_has_no_feedback_unless_it_is_cited(
    tmp_path: Path,
) -> None:
    run = a_run(tmp_path / "run", {"q1": (record("q1"), answered((2,), dropped=4))})
    feedback_from_run(tmp_path / "out", run, lambda question: None)
    found = [[one.utility for one in each.documents] for each in read_feedback(tmp_path / "out")]
    assert found == [[None, 0.75, None], [None, 0.0]]


def test_answers_without_a_score_or_a_passage_are_left_out_and_counted(tmp_path: Path) -> None:
    nothing_read = replace(answered((1,)), steps=(Answer("Green."),))
    run = a_run(
        tmp_path / "run",
        {
            "q1": (record("q1"), answered((1,))),
            "q2": (record("q2", scores=(2, None)), answered((1,))),
            "q3": (record("q3", finish="invalid"), answered((1,))),
            "q4": (record("q4"), nothing_read),
            "q5": (record("q5", scores=(0, 0)), answered((1,))),
        },
    )
    counts = feedback_from_run(tmp_path / "out", run, lambda question: question)
    assert counts == CitedCounts(unanswered=1, unjudged=1, without_passages=1, kept=2)
    assert [one.id for one in read_feedback(tmp_path / "out")] == ["q1", "q1#2", "q5", "q5#2"]


@pytest.mark.parametrize(
    ("cited", "manifest", "why"),
    [
        ((), {}, "no answer with a score above 0 cites a passage"),
        ((1,), {"dataset": {"name": "lamp-qa", "hash": "h", "split": "test"}}, "answers test questions"),
        ((1,), {"metrics": {"mae": "lower"}}, "lower scores are better"),
    ],
)
def test_a_run_that_teaches_nothing_is_refused(
    tmp_path: Path, cited: tuple[int, ...], manifest: dict[str, Any], why: str
) -> None:
    run = a_run(tmp_path / "run", {"q1": (record("q1"), answered(cited))}, **manifest)
    with pytest.raises(NoTrajectories, match=why):
        feedback_from_run(tmp_path / "out", run, lambda question: None)
    assert not (tmp_path / "out" / "feedback.jsonl").exists()


def test_a_run_whose_trajectories_are_gone_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [record("q1")], trajectories=False)
    with pytest.raises(NoTrajectories, match="has no trajectory of q1"):
        feedback_from_run(tmp_path / "out", run, lambda question: None)
