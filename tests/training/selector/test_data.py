"""Runs become a selector's data; runs that do not belong together are refused."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.selecting import render
from agent.trajectory import Answer, Information, Limits, Read, Segment, Trajectory
from index.documents import Passage
from tests.training.evaluation.fabricated_runs import write_run
from training.evaluation.records import TRAJECTORIES, Assessment, Record
from training.selector.data import (
    EXACT,
    RENDERINGS,
    Candidate,
    Example,
    PoolData,
    check_mode,
    collect,
    parted,
    read_examples,
    write_examples,
)
from training.tasks.errors import DataError, InvalidRecord

CONFIGURATION = {
    "method": "rag",
    "policy": {"name": "scripted"},
    "judge": None,
    "metrics": {"exact": "higher"},
}


def record(number: int, score: float | None, response: str = "An answer.") -> Record:
    return Record(
        id=f"q{number}",
        category="c",
        question=f"What about {number}?",
        response=response,
        finish_reason="answered",
        assessment=Assessment({"exact": score}, {}),
        searches=0,
        documents_read=1,
        profile_size=9,
        prompt_tokens=10,
        policy_tokens=5,
        latency_ms=1.0,
    )


def run(folder: Path, retriever: str, records: list[Record], /, **changes: Any) -> Path:
    """A run whose members read one passage, which names the retriever."""
    configuration = CONFIGURATION | {"retriever": retriever} | changes
    write_run(folder, records, trajectories=False, configured=sorted(configuration), **configuration)
    with (folder / TRAJECTORIES).open("w", encoding="utf-8") as lines:
        for one in records:
            found = Information((Read(1, Passage("d", f"{retriever} found this")),))
            read = Segment("environment", f"The LLM reads what {retriever} found.")
            made = Trajectory(one.question, Limits(), steps=(found, Answer(one.response)), segments=(read,))
            lines.write(json.dumps({"id": one.id, "trajectory": made.to_dict()}) + "\n")
    return folder


def pool(runs: Mapping[str, Path], *more: Any) -> PoolData:
    """The pool of one run for each member."""
    return collect({name: [folder] for name, folder in runs.items()}, *more)


def test_members_are_joined_by_question_under_their_names(tmp_path: Path) -> None:
    runs = {
        "dense": run(tmp_path / "a", "dense", [record(2, 0.5), record(1, 1.0, "Yes.")]),
        "bm25": run(tmp_path / "b", "bm25", [record(1, 0.25, ""), record(2, 0.0)]),
    }
    data = pool(runs)
    assert data.members == ("dense", "bm25")
    assert [example.id for example in data.examples] == ["q1", "q2"]
    first = data.examples[0]
    assert first.input == "What about 1?"
    assert first.scores == {"dense": 1.0, "bm25": 0.25}
    assert first.members["dense"].output == "Yes."
    prompt = render("What about 1?", [Passage("d", "bm25 found this")])
    assert first.members["bm25"] == Candidate(prompt=prompt, output="", score=0.25)
    assert data.common["method"] == "rag"
    assert "retriever" not in data.common


def test_members_without_a_score_are_masked_and_questions_with_one_member_are_left_out(
    tmp_path: Path,
) -> None:
    runs = {
        "a": run(tmp_path / "a", "a", [record(1, 0.5), record(2, 0.5), record(3, 0.5)]),
        "b": run(tmp_path / "b", "b", [record(1, None), record(2, 0.1)]),
        "c": run(tmp_path / "c", "c", [record(1, 0.0)]),
    }
    data = pool(runs)
    assert {example.id: example.scores for example in data.examples} == {
        "q1": {"a": 0.5, "c": 0.0},
        "q2": {"a": 0.5, "b": 0.1},
    }
    assert data.left_out == 1
    assert data.examples[0].members["b"].score is None


def test_a_prompt_and_a_score_of_a_task_can_be_handed_in(tmp_path: Path) -> None:
    runs = {
        name: run(tmp_path / name, name, [record(1, 3.0)], metrics={"exact": "lower"}) for name in ("a", "b")
    }
    data = pool(runs, lambda one, _: f"as stored: {one.id}", lambda run, one: 1 - (one.score or 0) / 4)
    assert data.examples[0].members["a"] == Candidate(prompt="as stored: q1", output="An answer.", score=0.25)


def test_errors_are_not_learned_as_gains(tmp_path: Path) -> None:
    runs = {
        name: run(tmp_path / name, name, [record(1, 0.5)], metrics={"exact": "lower"}) for name in ("a", "b")
    }
    with pytest.raises(DataError, match=r"lower scores of .*a are better"):
        pool(runs)


def test_lamp_is_learned_from_its_own_prompts_and_rewards(tmp_path: Path) -> None:
    runs = {}
    for name, rating in (("a", "4"), ("b", "1")):
        one = replace(
            record(1, abs(5 - float(rating)), rating),
            category="LaMP_3",
            assessment=Assessment({"mae": abs(5 - float(rating))}, {"gold": "5"}),
        )
        runs[name] = run(tmp_path / name, name, [one], metrics={"mae": "lower"})
    assert pool(runs).examples[0].scores == {"a": 0.75, "b": 0.0}
    prompts = pool(runs, RENDERINGS[EXACT]).examples[0].members
    assert {name: one.prompt for name, one in prompts.items()} == {
        name: f"The LLM reads what {name} found." for name in "ab"
    }


def test_only_lamp_has_one_exact_prompt(tmp_path: Path) -> None:
    runs = {name: run(tmp_path / name, name, [record(1, 0.5)]) for name in "ab"}
    with pytest.raises(DataError, match="question 'q1' is not one of LaMP"):
        pool(runs, RENDERINGS[EXACT])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dataset": {"name": "other", "hash": "def", "questions": 1}}, "over different data"),
        ({"method": "pr2"}, "method is 'rag' for a and 'pr2' for b"),
        ({"policy": {"name": "another"}}, "policy is .*scripted.* for a and .*another.* for b"),
        ({"limits": {"top_k": 3}}, "limits is None for a and .*top_k"),
        ({"retriever": "c"}, "used the retriever c, not b"),
    ],
)
def test_runs_that_differ_in_more_than_their_retriever_are_refused(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    runs = {
        "a": run(tmp_path / "a", "a", [record(1, 0.5)]),
        "b": run(tmp_path / "b", "b", [record(1, 0.5)], **changes),
    }
    with pytest.raises(DataError, match=why):
        pool(runs)


def test_a_pool_needs_two_members_and_scores(tmp_path: Path) -> None:
    one = run(tmp_path / "a", "a", [record(1, None)])
    with pytest.raises(DataError, match="at least two members"):
        pool({"a": one})
    with pytest.raises(DataError, match="no question has a score for two members"):
        pool({"a": one, "b": run(tmp_path / "b", "b", [record(1, 0.5)])})
    with pytest.raises(DataError, match="holds no run"):
        pool({"a": one, "b": tmp_path / "nothing"})


def test_a_score_out_of_range_and_a_lost_trajectory_are_named(tmp_path: Path) -> None:
    good = run(tmp_path / "a", "a", [record(1, 0.5)])
    with pytest.raises(DataError, match=r"question 'q1': score: .*less than or equal to 1"):
        pool({"a": good, "b": run(tmp_path / "b", "b", [record(1, 2.0)])})
    lost = run(tmp_path / "c", "c", [record(1, 0.5)])
    (lost / TRAJECTORIES).write_text("", "utf-8")
    with pytest.raises(DataError, match="c: question 'q1' has no trajectory"):
        pool({"a": good, "c": lost})


def test_pre_cannot_learn_from_queries_that_the_llm_wrote() -> None:
    with pytest.raises(DataError, match="train a selector of the mode pre on runs of --method rag"):
        check_mode("pre", {"method": "pr2"})
    check_mode("post", {"method": "pr2"})
    check_mode("pre", {"method": "rag"})


def example(number: int, **scores: float | None) -> Example:
    members = {name: Candidate(prompt="p", output="o", score=score) for name, score in scores.items()}
    return Example(id=f"q{number}", input=f"question {number}", members=members)


def test_a_tenth_is_held_out_and_equal_questions_stay_together() -> None:
    examples = [example(number, a=0.5, b=0.1) for number in range(30)]
    twins = [replace_id(one, f"{one.id} again") for one in examples]
    train, validation = parted([*examples, *twins], seed=3)
    assert len(validation) == 6
    assert not {one.input for one in train} & {one.input for one in validation}
    assert len(train) + len(validation) == 60
    again = parted([*twins, *reversed(examples)], seed=3)[1]
    assert {one.id for one in again} == {one.id for one in validation}
    assert {one.id for one in parted([*examples, *twins], seed=4)[1]} != {one.id for one in validation}
    with pytest.raises(DataError, match="none is left to validate with"):
        parted(examples[:1], seed=0)


def replace_id(one: Example, name: str) -> Example:
    return Example(id=name, input=one.input, members=one.members)


def test_examples_survive_the_file(tmp_path: Path) -> None:
    examples = [example(1, a=0.5, b=0.1), example(2, a=0.5, b=None, c=1)]
    write_examples(tmp_path / "train.jsonl", examples)
    assert list(read_examples(tmp_path / "train.jsonl", "abc")) == examples


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (example(2, a=0.5, d=0.1), "record 2, members: 'd' is not in the pool"),
        (example(2, a=0.5, b=None), "record 2, members: fewer than two have a score"),
    ],
)
def test_examples_of_another_pool_are_refused(tmp_path: Path, bad: Example, why: str) -> None:
    write_examples(tmp_path / "train.jsonl", [example(1, a=0.5, b=0.1), bad])
    with pytest.raises(InvalidRecord, match=why):
        list(read_examples(tmp_path / "train.jsonl", ["a", "b", "c"]))


def test_a_line_that_is_no_example_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"id": "q", "input": "?", "members": {"a": {}}}\n', "utf-8")
    with pytest.raises(InvalidRecord, match=r"train\.jsonl, record 1: .*members\.a\.prompt"):
        list(read_examples(tmp_path / "train.jsonl", ["a"]))


def folded(folder: Path, number: int, records: list[Record], name: str = "own") -> Path:
    """The run of one of two folds, by a retriever that was trained without it."""
    return run(folder, f"{name}-{number}-of-2", records, fold=f"{number}/2")


def test_the_folds_of_a_member_are_joined(tmp_path: Path) -> None:
    first = folded(tmp_path / "1", 1, [record(1, 0.5)])
    second = folded(tmp_path / "2", 2, [record(2, 0.25)])
    whole = run(tmp_path / "bm25", "bm25", [record(1, 0.0), record(2, 1.0)])
    data = collect({"own": [second, first], "bm25": [whole]})
    assert data.members == ("own", "bm25")
    assert [example.scores for example in data.examples] == [
        {"own": 0.5, "bm25": 0.0},
        {"own": 0.25, "bm25": 1.0},
    ]
    assert "fold" not in data.common


def test_folds_that_do_not_make_a_whole_are_refused(tmp_path: Path) -> None:
    first = folded(tmp_path / "1", 1, [record(1, 0.5)])
    whole = run(tmp_path / "own", "own", [record(1, 0.0)])
    other = run(tmp_path / "bm25", "bm25", [record(1, 0.0)])
    with pytest.raises(DataError, match="the runs for own are of the folds 1/2: one for each is needed"):
        collect({"own": [first], "bm25": [other]})
    with pytest.raises(DataError, match="there are 2 runs for own, which are not those of its folds"):
        collect({"own": [first, whole], "bm25": [other]})
    again = run(tmp_path / "again", "bm25", [record(1, 0.0)])
    with pytest.raises(DataError, match="there are 2 runs for bm25, which are not those of its folds"):
        collect({"own": [whole], "bm25": [other, again]})
    unfolded = run(tmp_path / "2", "own", [record(2, 0.5)], fold="2/2")
    with pytest.raises(DataError, match="used the retriever own, not own-2-of-2"):
        collect({"own": [first, unfolded], "bm25": [other]})
