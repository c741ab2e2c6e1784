import json
import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.records import AspectScore, Record
from training.tasks.lampqa.data import Aspect, Item, Question
from training.tasks.lampqa.scores import (
    InvalidFile,
    QuestionScore,
    as_text,
    read_responses,
    read_scores,
    summary,
    write_responses,
    write_scores,
)

Scored = Sequence[int | None]


def record(name: str, scores: Scored, category: str = "c", response: str = "…") -> Record:
    aspects = tuple(AspectScore(f"{name}-{number}", score) for number, score in enumerate(scores))
    return Record(name, category, "?", response, "answered", aspects, 1, 2, 3, 4, 5, 6.0)


def question(name: str, aspects: Sequence[str]) -> Question:
    rubric = tuple(Aspect(aspect=aspect, reason="", evidence="") for aspect in aspects)
    profile = (Item(id="p", text="x"),)
    return Question(id=name, question="?", category="c", narrative="", rubric_aspects=rubric, profile=profile)


_verdicts = st.dictionaries(
    st.sampled_from(["art", "lifestyle", "society", "work"]),
    st.lists(st.lists(st.sampled_from([0, 1, 2, None]), min_size=1, max_size=7), min_size=1, max_size=12),
)


def _average(numbers: Sequence[Fraction]) -> Fraction | None:
    return sum(numbers, Fraction()) / len(numbers) if numbers else None


def _reference(questions: Sequence[Scored], partly: bool) -> Fraction | None:
    """LaMP-QA, section 3: an aspect's score over 2, averaged over a question's aspects, then questions."""
    scores = []
    for aspects in questions:
        judged = [Fraction(score, 2) for score in aspects if score is not None]
        if judged and (partly or len(judged) == len(aspects)):
            scores.append(sum(judged, Fraction()) / len(judged))
    return _average(scores)


def _equal(got: float | None, wanted: Fraction | None) -> bool:
    if got is None or wanted is None:
        return got is None and wanted is None
    return abs(Fraction(got) - wanted) < Fraction(1, 10**12)


@given(_verdicts, st.randoms(use_true_random=False))
def test_scores_are_those_of_the_published_definition(
    verdicts: dict[str, list[Scored]], order: random.Random
) -> None:
    records = [
        record(f"{category}{number}", aspects, category)
        for category, questions in verdicts.items()
        for number, aspects in enumerate(questions)
    ]
    result = summary(records)
    order.shuffle(records)
    assert summary(iter(records)) == result
    assert list(result.categories) == sorted(verdicts)
    for partly in (False, True):
        means = {name: _reference(questions, partly) for name, questions in verdicts.items()}
        for name, part in result.categories.items():
            assert _equal(part.score_of_judged if partly else part.score, means[name])
        known = [mean for mean in means.values() if mean is not None]
        macro = _average(known) if len(known) == len(means) else None
        assert _equal(result.macro.score_of_judged if partly else result.macro.score, macro)
    for name, questions in verdicts.items():
        part = result.categories[name]
        assert part.questions == len(questions)
        assert part.unjudged_aspects == sum(score is None for aspects in questions for score in aspects)
        assert part.unjudged_questions == sum(None in aspects for aspects in questions)
    assert result.macro.questions == len(records)
    assert result.macro.unjudged_aspects == sum(p.unjudged_aspects for p in result.categories.values())


def test_unjudged_questions_are_given_with_and_without() -> None:
    result = summary([record("a", [2, None]), record("b", [0, 1]), record("c", [None])])
    (part,) = result.categories.values()
    assert (part.score, part.score_of_judged) == (0.25, (1 + 0.25) / 2)
    assert (part.questions, part.unjudged_aspects, part.unjudged_questions) == (3, 2, 2)


def test_the_macro_average_counts_each_category_once() -> None:
    records = [record(f"a{number}", [2], "a") for number in range(9)] + [record("b", [0], "b")]
    assert summary(records).macro.score == 0.5


def test_no_records_have_no_score() -> None:
    assert summary([]).macro.score is None
    assert summary([]).categories == {}


RECORDS = [
    record("q1", [2, 1], response="Take the red one.\n„Ja“ \ud83d 🙂"),
    record("q2", [0], response=""),
    record("q/3 ", [None, 2]),
]


def test_responses_come_back_each_under_its_own_id(tmp_path: Path) -> None:
    file = tmp_path / "responses.json"
    write_responses(file, iter(RECORDS))
    content = json.loads(file.read_text())
    assert content == {record.id: [{"output": record.response}] for record in RECORDS}
    ids = ["q2", "q/3 ", "q1"]
    read = read_responses(file, ids)
    assert read == {record.id: record.response for record in RECORDS}
    assert list(read) == ids


def test_scores_come_back_each_under_its_own_id(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    write_scores(file, iter(RECORDS))
    content = json.loads(file.read_text())
    assert content["score"] == (0.75 + 0) / 2
    assert content["per_question_scores"][0] == {
        "id": "q1",
        "score": 0.75,
        "details": [{"aspect": "q1-0", "score": 2}, {"aspect": "q1-1", "score": 1}],
    }
    questions = [question(r.id, [aspect.aspect for aspect in r.aspects]) for r in reversed(RECORDS)]
    for scores in (read_scores(file), read_scores(file, questions)):
        assert scores.score == content["score"]
        assert scores.per_question_scores == tuple(QuestionScore(r.id, r.score, r.aspects) for r in RECORDS)


@settings(max_examples=30)
@given(st.lists(st.lists(st.sampled_from([0, 1, 2, None]), min_size=1, max_size=5), max_size=9))
def test_what_is_written_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, verdicts: list[Scored]
) -> None:
    records = [record(f"q{number}", scores) for number, scores in enumerate(verdicts)]
    file = tmp_path_factory.mktemp("scores") / "scores.json"
    write_scores(file, records)
    assert [q.aspects for q in read_scores(file).per_question_scores] == [r.aspects for r in records]
    write_responses(file, records)
    assert list(read_responses(file, [r.id for r in records])) == [r.id for r in records]


def test_the_same_records_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_scores(tmp_path / name, RECORDS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("write", [write_responses, write_scores])
def test_a_file_that_cannot_be_completed_leaves_the_old_one(tmp_path: Path, write: Any) -> None:
    file = tmp_path / "file.json"
    file.write_text("old")
    with pytest.raises(ValueError, match="question q1 has two records"):
        write(file, [*RECORDS, RECORDS[0]])
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
    write(file, RECORDS)
    assert list(tmp_path.iterdir()) == [file]


def test_a_summary_is_a_table_and_shows_what_is_unjudged() -> None:
    table = as_text(summary([record("a", [2, 1], "art"), record("b", [0], "society")]))
    assert table.splitlines() == [
        "category       questions   score",
        "art                    1  0.7500",
        "society                1  0.0000",
        "macro average          2  0.3750",
    ]
    table = as_text(summary([record("a", [2, None], "art"), record("b", [0], "society")]))
    assert table.splitlines() == [
        "category       questions   score  judged only  unjudged aspects",
        "art                    1       -       1.0000                 1",
        "society                1  0.0000       0.0000                 0",
        "macro average          2       -       0.5000                 1",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"q1": [{"output": "x"}]}, r"f\.json: lacks 1 question: q2$"),
        ({}, r"lacks 2 questions: q1, q2$"),
        ({name: [{"output": "x"}] for name in ("q1", "q2", "q3")}, "holds 1 question: q3, unknown"),
        ({"q1": [{"output": "x"}], "q2": []}, "question q2: expected"),
        ({"q1": [{"output": "x"}], "q2": [{"output": None}]}, "question q2: expected"),
        ({"q1": [{"output": "x"}], "q2": "x"}, "question q2: expected"),
        ([], "expected a JSON object"),
        ('{"q1": [{"output": "x"}], "q1": []}', r"f\.json: 'q1' is there twice"),
        ("{", r"f\.json: not JSON"),
    ],
)
def test_a_file_of_other_responses_is_refused(tmp_path: Path, content: Any, says: str) -> None:
    (tmp_path / "f.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InvalidFile, match=says):
        read_responses(tmp_path / "f.json", ["q1", "q2"])


def test_many_missing_questions_are_not_all_named(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text("{}")
    with pytest.raises(InvalidFile, match=r"lacks 30 questions: q00, .*q09, and 20 more"):
        read_responses(tmp_path / "f.json", [f"q{number:02}" for number in range(30)])
    with pytest.raises(InvalidFile, match="No such file"):
        read_responses(tmp_path / "nowhere.json", [])


def test_of_several_responses_the_first_counts(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(json.dumps({"q1": [{"output": "x"}, {"output": "y"}]}))
    assert read_responses(tmp_path / "f.json", ["q1"]) == {"q1": "x"}


def scored(*values: Any, score: Any = 0.5, **other: Any) -> dict[str, Any]:
    details = [{"aspect": f"a{number}", "score": value} for number, value in enumerate(values)]
    return {"score": score, "per_question_scores": [{"id": "q1", "score": score, "details": details} | other]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (scored("2", 0), r"f\.json, question q1, aspect 'a0': '2' is not 0, 1 or 2"),
        (scored(1, 3), "question q1, aspect 'a1': 3 is not"),
        (scored(1, -1), "aspect 'a1': -1 is not"),
        (scored(1, 0.5), "aspect 'a1': 0.5 is not"),
        (scored(1, True), "aspect 'a1': True is not"),
        (scored(1, 0), "question q1: its score is 0.5, its aspects make it 0.25"),
        (scored(1, None), "question q1: its score is 0.5, its aspects make it None"),
        (scored(1, 1, score="0.5"), "its score is '0.5'"),
        (scored(1, 1) | {"score": 0.6}, r"f\.json: its score is 0.6, its questions' mean is 0.5"),
        (scored(), "question q1: has no scores of aspects"),
        (scored(1, id=None), "entry 0 of per_question_scores has no id"),
        (scored(1, details=[{"aspect": "a0"}]), "question q1: a detail lacks"),
        ({"score": 1}, "expected a JSON object with per_question_scores"),
        ({"score": 0.5, "per_question_scores": scored(1)["per_question_scores"] * 2}, "q1: is scored twice"),
    ],
)
def test_scores_that_cannot_be_are_refused_with_their_place(tmp_path: Path, content: Any, says: str) -> None:
    (tmp_path / "f.json").write_text(json.dumps(content))
    with pytest.raises(InvalidFile, match=says):
        read_scores(tmp_path / "f.json")


def test_scores_by_another_rubric_or_of_other_questions_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    file.write_text(json.dumps(scored(0, 2)))
    assert read_scores(file, [question("q1", ["a0", "a1"])]).score == 0.5
    with pytest.raises(InvalidFile, match="question q1: has other aspects than its rubric"):
        read_scores(file, [question("q1", ["a1", "a0"])])
    with pytest.raises(InvalidFile, match="lacks 1 question: q2"):
        read_scores(file, [question("q1", ["a0", "a1"]), question("q2", ["a0"])])
    with pytest.raises(InvalidFile, match="holds 1 question: q1, unknown"):
        read_scores(file, [])


def test_whole_numbers_may_be_written_as_decimals(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(json.dumps(scored(2.0, 0.0)))
    (read,) = read_scores(tmp_path / "f.json").per_question_scores
    assert [aspect.score for aspect in read.aspects] == [2, 0]
