"""The selection of trajectories for a warm start, and the data written from them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from agent.prompts import PROMPT_VERSION
from agent.trajectory import Trajectory
from tests.golden.cases import CASES, OPENED, Case, replay
from tests.training.evaluation.fabricated_runs import write_run
from training.evaluation.records import TRAJECTORIES, AspectScore, Record, by_rubric
from training.folder import ChangedConfiguration
from training.policy.warmstart import DATA, WARMSTART_MANIFEST, Counts, NothingToLearnFrom, write_data

CASE: dict[str, Case] = {case.name: case for case in (*CASES, *OPENED)}


@dataclass(frozen=True)
class Rolled:
    """A question of a run, with the golden case of its trajectory and the judge's verdicts."""

    id: str
    scores: tuple[int | None, ...]
    case: str = "one_search"
    changes: tuple[tuple[str, Any], ...] = ()
    """Fields of the trajectory to replace."""
    question: str = ""

    @property
    def trajectory(self) -> Trajectory:
        return replace(replay(CASE[self.case]), **dict(self.changes))

    @property
    def record(self) -> Record:
        trajectory = self.trajectory
        return Record(
            id=self.id,
            category="Art_and_Entertainment",
            question=self.question or f"What of {self.id}?",
            response=trajectory.answer.text if trajectory.answer else "",
            finish_reason=str(trajectory.finish_reason),
            assessment=by_rubric([AspectScore(f"aspect {n}", score) for n, score in enumerate(self.scores)]),
            searches=trajectory.searches,
            documents_read=0,
            profile_size=5,
            prompt_tokens=0,
            policy_tokens=0,
            latency_ms=0.0,
        )


def run(folder: Path, *questions: Rolled, **manifest: Any) -> Path:
    write_run(folder, [one.record for one in questions], trajectories=False, **manifest)
    with (folder / TRAJECTORIES).open("w", encoding="utf-8") as lines:
        for one in questions:
            lines.write(json.dumps({"id": one.id, "trajectory": one.trajectory.to_dict()}) + "\n")
    return folder


def made(out: Path, *runs: Path, least: float = 0.5, most: int = 1) -> Counts:
    return write_data(out, runs, least=least, most_per_question=most)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / DATA).read_text("utf-8").splitlines()]


def searches(row: dict[str, Any]) -> int:
    return sum("</search>" in one["text"] for one in row["segments"] if one["author"] == "policy")


def test_every_trajectory_is_counted_once_by_its_outcome(tmp_path: Path) -> None:
    folder = run(
        tmp_path / "run",
        Rolled("good", (2, 1)),
        Rolled("just good enough", (1, 1)),
        Rolled("poor", (1, 0)),
        Rolled("unjudged", (2, None)),
        Rolled("no answer", (2, 2), case="no_action"),
        Rolled("careless", (2, 2), case="careless_format"),
        Rolled("too long", (2, 2), changes=(("passages_dropped", 1),)),
    )
    counts = made(tmp_path / "out", folder)
    assert counts == Counts(kept=2, too_low=1, unjudged=1, unanswered=1, violations=1, shortened=1)
    assert counts.total == 7
    assert {row["id"]: row["score"] for row in rows(tmp_path / "out")} == {
        "good": 0.75,
        "just good enough": 0.5,
    }


def test_a_row_is_the_transcript_with_its_authors_and_without_tokens(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", Rolled("q", (2,), case="three_searches_with_citations"))
    made(tmp_path / "out", folder)
    (row,) = rows(tmp_path / "out")
    assert set(row) == {"id", "score", "prompt_version", "segments"}
    assert row["prompt_version"] == PROMPT_VERSION
    expected = replay(CASE["three_searches_with_citations"]).segments
    assert row["segments"] == [{"author": one.author, "text": one.text} for one in expected]


def test_the_best_trajectory_of_a_question_over_all_runs_is_kept(tmp_path: Path) -> None:
    first = run(tmp_path / "a", Rolled("q", (1, 1)), Rolled("r", (2, 2)))
    second = run(tmp_path / "b", Rolled("q", (2, 1)), Rolled("r", (1, 1)))
    counts = made(tmp_path / "out", first, second)
    assert (counts.kept, counts.surpassed) == (2, 2)
    assert {row["id"]: row["score"] for row in rows(tmp_path / "out")} == {"q": 0.75, "r": 1.0}
    assert made(tmp_path / "more", first, second, most=2).kept == 4


def test_ties_go_to_fewer_searches_then_to_the_first_run(tmp_path: Path) -> None:
    first = run(tmp_path / "a", Rolled("q", (2,), case="three_searches_with_citations"))
    second = run(tmp_path / "b", Rolled("q", (2,), case="one_search"))
    third = run(tmp_path / "c", Rolled("q", (2,), case="nothing_found"))
    made(tmp_path / "out", first, second, third)
    (row,) = rows(tmp_path / "out")
    assert searches(row) == 1
    assert CASE["one_search"].question in row["segments"][0]["text"]
    made(tmp_path / "other", first, third, second)
    (row,) = rows(tmp_path / "other")
    assert CASE["nothing_found"].question in row["segments"][0]["text"]


def test_two_questions_of_the_same_id_are_two_questions(tmp_path: Path) -> None:
    first = run(tmp_path / "a", Rolled("q1", (2,), question="Of one data set?"))
    second = run(tmp_path / "b", Rolled("q1", (1,), question="Of another?"), dataset=dataset("other"))
    assert made(tmp_path / "out", first, second).kept == 2


def dataset(name: str) -> dict[str, Any]:
    return {"name": name, "hash": f"hash of {name}", "questions": 1}


def test_the_last_trajectory_of_a_repeated_question_counts(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", Rolled("q", (2,)))
    again = replay(CASE["direct_answer"]).to_dict()
    with (folder / TRAJECTORIES).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"id": "q", "trajectory": again}) + "\n")
        lines.write('{"id": "torn')
    made(tmp_path / "out", folder)
    (row,) = rows(tmp_path / "out")
    assert CASE["direct_answer"].question in row["segments"][0]["text"]


def test_the_manifest_names_the_sources_of_the_data(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", Rolled("q", (2,)), Rolled("r", (0,)))
    counts = made(tmp_path / "out", folder)
    manifest = json.loads((tmp_path / "out" / WARMSTART_MANIFEST).read_text())
    assert manifest == {
        "runs": [
            {
                "folder": str(folder),
                "dataset": "abc123",
                "judge": {"name": "lexical", "comparable": False},
                "policy": "extractive",
            }
        ],
        "least": 0.5,
        "most_per_question": 1,
        "prompt_version": PROMPT_VERSION,
        "counts": asdict(counts),
    }


def test_the_data_are_reproducible_and_different_data_are_refused(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", Rolled("q", (2,)), Rolled("r", (0,)))
    made(tmp_path / "out", folder)
    before = (tmp_path / "out" / DATA).read_bytes()
    made(tmp_path / "out", folder)
    with pytest.raises(ChangedConfiguration, match=r"least: 0\.5 then, 0\.0 now"):
        made(tmp_path / "out", folder, least=0.0)
    assert (tmp_path / "out" / DATA).read_bytes() == before


@pytest.mark.parametrize(
    ("questions", "said"),
    [
        ((Rolled("q", (1, 0)), Rolled("r", (0, 0))), r"no answer scores 0\.5 or more.* scores 0\.250"),
        ((Rolled("q", (None,)), Rolled("r", (2,), case="no_action")), "no answer was judged"),
        ((Rolled("q", (2,), case="careless_format"),), r"the best: 1\.000\), none kept to the format"),
        ((), "no answer was judged"),
    ],
    ids=["all too low", "none judged", "none in the format", "nothing answered yet"],
)
def test_if_nothing_is_kept_the_best_score_is_reported(
    questions: Sequence[Rolled], said: str, tmp_path: Path
) -> None:
    folder = run(tmp_path / "run", *questions)
    with pytest.raises(NothingToLearnFrom, match=said):
        made(tmp_path / "out", folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((("prompt_version", "0"),), r"q has prompts of version '0', but the current version"),
        ((("prompt_version", "custom"),), "version 'custom'"),
        ((("protocol", "tools"),), "uses the protocol tools"),
    ],
    ids=["older prompts", "prompts of their own", "tool calls"],
)
def test_trajectories_of_other_prompts_are_refused(
    changes: tuple[tuple[str, Any], ...], said: str, tmp_path: Path
) -> None:
    folder = run(tmp_path / "run", Rolled("p", (2,)), Rolled("q", (2,), changes=changes))
    with pytest.raises(NothingToLearnFrom, match=said):
        made(tmp_path / "out", folder)


def test_runs_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    good = run(tmp_path / "good", Rolled("q", (2,)))
    rag = run(tmp_path / "rag", Rolled("q", (2,)), method="rag-random")
    with pytest.raises(NothingToLearnFrom, match=f"{rag} is a run of the method rag-random"):
        made(tmp_path / "out", good, rag)
    other = run(tmp_path / "other", Rolled("q", (2,)), judge={"name": "openai", "comparable": True})
    with pytest.raises(NothingToLearnFrom, match="different judges cannot be compared: lexical, openai"):
        made(tmp_path / "out", good, other)
    with pytest.raises(NothingToLearnFrom, match="more than once"):
        made(tmp_path / "out", good, tmp_path / "rag" / ".." / "good")
    with pytest.raises(ValueError, match=f"{tmp_path} holds no run"):
        made(tmp_path / "out", tmp_path)
    (good / TRAJECTORIES).write_text("")
    with pytest.raises(NothingToLearnFrom, match="has no trajectory of q"):
        made(tmp_path / "out", good)


def test_test_questions_are_refused(tmp_path: Path) -> None:
    data = {"name": "lamp-qa", "split": "test", "hash": "a", "questions": 1}
    folder = run(tmp_path / "run", Rolled("q", (2,)), dataset=data)
    with pytest.raises(NothingToLearnFrom, match="answers LaMP-QA's test questions"):
        made(tmp_path / "out", folder)


def test_a_policy_is_warmed_up_for_one_method(tmp_path: Path) -> None:
    reasoned = run(tmp_path / "prlm", Rolled("q", (2,), case="prlm_answer"), method="prlm")
    assert made(tmp_path / "out", reasoned).kept == 1
    [row] = rows(tmp_path / "out")
    assert [one["author"] for one in row["segments"]] == ["environment", "environment", "policy"]
    assert json.loads((tmp_path / "out" / WARMSTART_MANIFEST).read_text())["method"] == "prlm"
    searching = run(tmp_path / "pr2", Rolled("q", (2,)))
    with pytest.raises(NothingToLearnFrom, match="runs are of prlm, pr2"):
        made(tmp_path / "both", reasoned, searching)
