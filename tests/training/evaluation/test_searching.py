"""Sections of a report on searches and choices: counted by hand on made-up trajectories."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent.trajectory import Answer, Information, Limits, Read, Search, Selection, Step, Thought, Trajectory
from index.documents import Passage
from tests.training.evaluation.fabricated_runs import made_up, write_run
from tests.training.evaluation.test_report import report, table
from training.evaluation.records import TRAJECTORIES
from training.evaluation.report.searching import Searches, searches_of


def found(*documents: str) -> Information:
    return Information(tuple(Read(number, Passage(name, "text")) for number, name in enumerate(documents, 1)))


def asked(*steps: Step, question: str = "Do I like  Tea?") -> Trajectory:
    return Trajectory(question, Limits(), steps=steps, finish_reason="answered")


@pytest.mark.parametrize(
    ("trajectory", "expected"),
    [
        (asked(Answer("Yes.")), Searches(0, 0, 0, 0)),
        (asked(Search("do i like tea?"), found("a", "b"), Answer("Yes.")), Searches(1, 0, 2, 0)),
        # Case and white space are no other words; a document is news once.
        (
            asked(Search("tea"), found("a", "b"), Thought("Hm."), Search("Do I like Tea?"), found("b", "c")),
            Searches(2, 1, 3, 0),
        ),
        (asked(Search("tea"), found("a"), Search("green tea"), found("a")), Searches(2, 2, 1, 1)),
        (asked(Search("tea"), found(), Search("coffee"), found("a", "a")), Searches(2, 2, 1, 1)),
        # The first search of `rag` is the method's, and what it showed is no news.
        (asked(found("a", "b"), Answer("Yes.")), Searches(0, 0, 0, 0)),
        (asked(found("a"), Search("tea"), found("a", "c"), Answer("Yes.")), Searches(1, 1, 1, 0)),
        # Time ran out.
        (asked(Search("tea"), found("a"), Search("coffee")), Searches(2, 2, 1, 1)),
    ],
)
def test_searches_and_their_evidence_are_counted(trajectory: Trajectory, expected: Searches) -> None:
    assert searches_of(trajectory) == expected


def write_trajectories(folder: Path, trajectories: Sequence[tuple[str, Trajectory]]) -> None:
    lines = [json.dumps({"id": name, "trajectory": one.to_dict()}) + "\n" for name, one in trajectories]
    (folder / TRAJECTORIES).write_text("".join(lines), "utf-8")


def test_the_report_shows_shares_of_all_searches(tmp_path: Path) -> None:
    records = made_up(1, 4)
    folder = write_run(tmp_path / "pr2", records, trajectories=False)
    one = asked(
        Search("Do I like tea?"), found("a", "b"), Search("coffee"), found("b"), question="Do I like tea?"
    )
    other = asked(Search("milk"), found("a", "c", "d"))
    abandoned = asked(Search("x"), found())
    # q000 was answered twice; q003 made no search; a trajectory of another question does not count.
    write_trajectories(
        folder,
        [
            ("q000", abandoned),
            ("q000", one),
            ("q001", other),
            ("q003", asked(Answer("Yes."))),
            ("gone", abandoned),
        ],
    )
    page, markdown = report([folder], tmp_path)
    row = table(markdown, "What searches add")["pr2"]
    assert [cell[0] for cell in row] == ["3", "0.6667", "1.6667", "0.3333"]
    assert row[1][1] == "[0.5000, 1.0000]"
    assert "What searches add" in page.words


def test_the_report_counts_how_often_each_retriever_was_chosen(tmp_path: Path) -> None:
    records = made_up(1, 3)
    folder = write_run(tmp_path / "auto", records, trajectories=False, retriever="auto")
    choices = [("bm25", 10.0), ("bm25", 30.0), ("dense", 2_000.0)]
    write_trajectories(
        folder,
        [
            (
                record.id,
                replace(
                    asked(Answer("Yes.")),
                    selection=Selection("post", name, {"none": None, "bm25": 1.0, "dense": 2.0}, ms),
                ),
            )
            for record, (name, ms) in zip(records, choices, strict=True)
        ],
    )
    _, markdown = report([folder], tmp_path)
    rows = markdown.split("\n## Retrievers that were chosen\n")[1].split("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in rows.splitlines() if line.startswith("| pr2")]
    assert cells == [
        ["pr2", "post", "none", "0", "0.0000", "0.030"],
        ["pr2", "post", "bm25", "2", "0.6667", "–"],
        ["pr2", "post", "dense", "1", "0.3333", "–"],
    ]


def test_searches_of_the_method_itself_are_not_the_policys(tmp_path: Path) -> None:
    records = made_up(1, 2)
    folder = write_run(tmp_path / "rag", records, trajectories=False, method="rag")
    write_trajectories(folder, [(record.id, asked(Search("a part"), found("a"))) for record in records])
    _, markdown = report([folder], tmp_path)
    assert "What searches add" not in markdown


def test_a_report_without_searches_or_choices_has_neither_section(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "none", made_up(1, 3), trajectories=False, method="none")
    _, markdown = report([folder], tmp_path)
    assert "What searches add" not in markdown
    assert "Retrievers that were chosen" not in markdown
