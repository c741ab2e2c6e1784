"""The measures of answers on trajectories and scores that are worked out by hand."""

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.trajectory import Answer, Citation, Limits, Trajectory
from benchmarks import answers
from benchmarks.answers import Answered, Dataset, Unanswerable, measured, read_earlier, thinned
from benchmarks.declining import Scores, auroc, leave_one_out, threshold_of
from benchmarks.evidence import Asked, History, UnusableData

TODAY = date(2025, 1, 1)
scores = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def cited(*documents: str) -> Trajectory:
    found = tuple(Citation(n, name, "tea", 0, 3, 0) for n, name in enumerate(documents, 1))
    return Trajectory("Which tea?", Limits(), steps=(Answer("Green tea [1].", found),))


def answered(question: str, recall: float = 1.0) -> Answered:
    return Answered("ana", question, 0.5, recall, 1.0, 3, 1, 5, 2.0, 0.5)


@pytest.mark.parametrize(
    ("documents", "precision", "recall", "first"),
    [
        (("a", "b", "a"), 1 / 2, 1 / 2, 1),
        (("b", "c", "a"), 2 / 3, 1, 0),
        ((), 0, 0, 0),
    ],
)
def test_precision_recall_and_first_count_documents(
    documents: tuple[str, ...], precision: float, recall: float, first: float
) -> None:
    found = measured(Asked("Which tea?", ("a", "c"), TODAY), "ana", cited(*documents))
    assert (found.precision, found.recall, found.first) == (precision, recall, first)
    assert found.words == 2


def test_an_answer_that_is_missing_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no answer"):
        measured(Asked("Which tea?", ("a",), TODAY), "ana", Trajectory("Which tea?", Limits()))


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    assert auroc(Scores([0.9, 0.5], [0.1, 0.5])) == (1 + 1 + 1 + 0.5) / 4
    assert auroc(Scores([0.9], [])) is None


@given(scores, scores)
def test_auroc_of_the_negated_scores_is_one_minus_it(high: list[float], low: list[float]) -> None:
    found = auroc(Scores(high, low))
    turned = auroc(Scores([-value for value in high], [-value for value in low]))
    assert found is not None
    assert turned == pytest.approx(1 - found)


@given(st.lists(scores, min_size=1, max_size=4))
def test_a_threshold_declines_at_most_a_tenth_of_each_data_set(data: list[list[float]]) -> None:
    threshold = threshold_of([Scores(values, []) for values in data])
    for values in data:
        assert sum(value < threshold for value in values) <= len(values) / 10


def test_each_threshold_is_chosen_without_the_data_set_that_it_declines() -> None:
    one = Scores([n / 10 for n in range(10)], [0.05, 0.3])
    other = Scores([0.5 + n / 20 for n in range(10)], [0.05, 0.7])
    found = leave_one_out({"one": one, "other": other})
    assert (found["one"].threshold, found["one"].answerable, found["one"].unanswerable) == (0.55, 0.6, 1)
    assert (found["other"].threshold, found["other"].answerable, found["other"].unanswerable) == (0.1, 0, 0.5)
    assert leave_one_out({"one": one}) == {}


def test_differences_are_paired_and_other_questions_refused() -> None:
    earlier = Dataset("own", [answered("a", 0.0), answered("b", 0.5)], [])
    now = Dataset("own", [answered("a", 0.5), answered("b", 1.0)], [])
    changed = answers.differences(now, earlier)
    assert changed["recall"] == (0.5, (0.5, 0.5))
    assert changed["words"] == (0, (0, 0))
    with pytest.raises(UnusableData, match="answered other questions"):
        answers.differences(Dataset("own", [answered("a")], []), earlier)


def test_every_nth_question_is_asked() -> None:
    history = History("ana", [], [Asked(name, ("x",), TODAY) for name in "abcde"], 0, 0, ["f", "g", "h"])
    few = thinned(history, 2)
    assert [asked.text for asked in few.questions] == ["a", "c", "e"]
    assert few.unanswerable == ["f", "h"]


def test_what_is_written_is_read_again_and_a_broken_file_named(tmp_path: Path) -> None:
    file = tmp_path / "earlier.json"
    dataset = Dataset("own", [answered("a")], [Unanswerable("ana", "b", 0.1)])
    file.write_text(json.dumps([asdict(dataset)]), "utf-8")
    (read,) = read_earlier(file).values()
    assert (list(read.answered), list(read.unanswerable)) == (
        [answered("a")],
        [Unanswerable("ana", "b", 0.1)],
    )
    file.write_text("[{", "utf-8")
    with pytest.raises(UnusableData, match=r"earlier\.json cannot be read"):
        read_earlier(file)


def test_the_tables_show_every_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    data = [Dataset(name, [answered("a"), answered("b")], [Unanswerable("ana", "c", 0.1)]) for name in "xy"]
    console = Console(width=160)
    console.print(answers.answers_table(data, {"x": data[0]}))
    console.print(answers.declining_table(data))
    shown = capsys.readouterr().out
    assert "against the earlier run" in shown
    assert "+0.000" in shown
    assert "1.000" in shown
