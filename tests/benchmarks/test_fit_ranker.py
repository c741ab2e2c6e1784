"""Fitting the weights of the ranking, on examples and histories whose outcome is known."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from benchmarks import fit_ranker
from benchmarks.evidence import UnusableData
from benchmarks.fit_ranker import DataSet, Example, Judged, Weighted
from index.ranking.hybrid import SIGNALS
from index.ranking.weights import BY_HAND, load_ranker
from tests.index.fakes import HashEncoder


def example(evidence: dict[str, float], other: dict[str, float]) -> Example:
    rows = [[each.get(name, 0.0) for name in SIGNALS] for each in (evidence, other, {})]
    return Example(np.array(rows), np.array([1.0, 0.0, 0.0]))


def test_a_signal_that_leads_to_the_evidence_gains_on_one_that_leads_elsewhere() -> None:
    fitted = fit_ranker.fit([[example({"time": 0.3}, {"person": 1.0})]], ridge=0.01)
    assert 0.3 * BY_HAND.time < BY_HAND.person
    assert 0.3 * fitted.time > fitted.person
    # Nothing is learnt about signals that no passage has.
    assert fitted.words == BY_HAND.words


def test_a_signal_that_only_misleads_gets_no_weight() -> None:
    seen = [example({}, {"person": 1.0}), example({"time": 1.0}, {"person": 1.0})]
    assert fit_ranker.fit([seen], ridge=0.001).person == 0


def test_data_sets_count_alike_however_many_questions_they_have() -> None:
    one, other = example({"time": 1.0}, {"person": 1.0}), example({"person": 1.0}, {"time": 1.0})
    alike = fit_ranker.fit([[one], [other]], ridge=0.1)
    assert fit_ranker.fit([[one] * 9, [other]], ridge=0.1).time == pytest.approx(alike.time, rel=1e-3)
    assert fit_ranker.fit([[one] * 9 + [other]], ridge=0.1).time > alike.time


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=12, max_size=12), min_size=1, max_size=4),
    st.floats(0.01, 10),
)
def test_weights_are_never_negative_and_a_strong_ridge_holds_them(
    values: list[list[int]], ridge: float
) -> None:
    seen = [Example(np.array(each, float).reshape(2, -1), np.array([1.0, 0.0])) for each in values]
    assert min(fit_ranker.fit([seen], ridge).model_dump().values()) >= 0
    held = fit_ranker.fit([seen], 1e6)
    np.testing.assert_allclose(list(held.model_dump().values()), fit_ranker.HAND, atol=0.01)


def history(user: str, topic: str, **question: Any) -> dict[str, Any]:
    documents = [
        {
            "id": f"d{day}",
            "text": f"{topic} number {day}",
            "created_at": f"2024-05-{day:02}",
            "source": "notes",
        }
        for day in range(1, 13)
    ]
    asked = [
        {"question": f"{topic} on 3 May 2024?", "gold": ["d3"], **question},
        {"question": f"{topic} number 7", "gold": ["d7"], **question},
        {"question": "unknown", "gold": []},
    ]
    return {"user": user, "documents": documents, "questions": asked}


def file_of(folder: Path, name: str, *histories: dict[str, Any]) -> Path:
    file = folder / f"{name}.json"
    file.write_text(json.dumps(histories))
    return file


def test_files_that_share_a_person_are_one_data_set(tmp_path: Path) -> None:
    files = [
        file_of(tmp_path, "english", history("ana", "dinner")),
        file_of(tmp_path, "other", history("bo", "walk")),
        file_of(tmp_path, "german", history("ana", "Abendessen"), history("cy", "Tee")),
        file_of(tmp_path, "more", history("cy", "tea")),
    ]
    found = fit_ranker.data_sets(files)
    assert [data.name for data in found] == ["other", "english + german + more"]
    assert [each.user for each in found[1].histories] == ["english.ana", "german.ana", "german.cy", "more.cy"]


def test_the_candidates_are_seen_by_the_question_and_hold_its_evidence(tmp_path: Path) -> None:
    asked = {"session": "d9", "asked_at": "2024-05-09"}
    sets = fit_ranker.data_sets([file_of(tmp_path, "dinners", history("ana", "dinner", **asked))])
    with fit_ranker.stored(sets, HashEncoder(), Weighted()) as profiles:
        on_day, by_number = fit_ranker.examples(profiles, sets[0].histories[0])
        profile = profiles.get("dinners.ana")
        assert [profile.document(i).id for i in range(8)] == [f"d{day}" for day in range(1, 9)]
    # Of twelve notes, three are later than the question, and one is its own session.
    assert on_day.signals.shape == by_number.signals.shape == (8, len(SIGNALS))
    assert list(on_day.wanted) == [0, 0, 1, 0, 0, 0, 0, 0]
    assert on_day.signals[2, SIGNALS.index("time")] == 1
    assert list(by_number.wanted).index(1) == 6


def test_evidence_that_no_signal_leads_to_is_no_example(tmp_path: Path) -> None:
    later = {"session": "d2", "asked_at": "2024-05-02"}
    sets = fit_ranker.data_sets(
        [
            file_of(tmp_path, "dinners", history("ana", "dinner", **later)),
            file_of(tmp_path, "walks", history("bo", "walk")),
        ]
    )
    ranking = Weighted()
    with (
        fit_ranker.stored(sets, HashEncoder(), ranking) as profiles,
        pytest.raises(UnusableData, match="dinners: no signal"),
    ):
        fit_ranker.judge(profiles, ranking, sets, 1.0)


def judged(by_hand: list[float], by_held_out: list[float]) -> Judged:
    return Judged(DataSet("talks", []), BY_HAND, by_hand, by_held_out, by_held_out)


def test_a_fit_has_to_be_surely_better_in_the_mean_and_surely_worse_nowhere() -> None:
    better, same = judged([0.0] * 20, [0.5] * 20), judged([0.5, 0.0] * 10, [0.0, 0.5] * 10)
    worse = judged([0.1] * 20, [0.0] * 20)
    assert fit_ranker.beats([better, same])
    assert not fit_ranker.beats([same, same])
    assert not fit_ranker.beats([better, worse])
    assert fit_ranker.difference([better, worse])[0] == pytest.approx(0.2)
    # One question has no interval.
    assert not fit_ranker.beats([judged([0.0], [1.0]), better])


def test_each_data_set_is_judged_by_weights_that_have_not_seen_it(tmp_path: Path) -> None:
    sets = fit_ranker.data_sets(
        [
            file_of(tmp_path, "dinners", history("ana", "dinner")),
            file_of(tmp_path, "walks", history("bo", "walk")),
        ]
    )
    ranking = Weighted()
    with fit_ranker.stored(sets, HashEncoder(), ranking) as profiles:
        seen = [list(fit_ranker.examples(profiles, data.histories[0])) for data in sets]
        fitted, found = fit_ranker.judge(profiles, ranking, sets, 1.0)
        lost = fit_ranker.losses(profiles, ranking, found)
    assert fitted == fit_ranker.fit(seen, 1.0)
    assert [each.held_out for each in found] == [
        fit_ranker.fit([seen[1]], 1.0),
        fit_ranker.fit([seen[0]], 1.0),
    ]
    # Both questions of each, found among the first ten of twelve notes.
    assert [each.by_hand for each in found] == [[1, 1], [1, 1]]
    assert list(lost) == list(SIGNALS)
    # Nobody is named, so nothing is owed to the person; no question needs one signal alone.
    assert lost["person"] == [(0, (0, 0)), (0, (0, 0))]
    console = Console(file=io.StringIO(), width=140)
    fit_ranker.show(fitted, found, lost, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "do not beat" in shown
    assert all(name in shown for name in (*SIGNALS, "dinners", "walks"))
    out = tmp_path / "ranker.json"
    fit_ranker.write(out, fitted, found, "hash", 1.0)
    assert load_ranker(out).weights == fitted
    assert [each.by_hand for each in load_ranker(out).measured] == [1, 1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "one data set cannot be left out"),
        (["--ridge", "0"], "above 0"),
        (["--data", "none.json"], "none.json"),
    ],
)
def test_bad_arguments_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    file = file_of(tmp_path, "dinners", history("ana", "dinner"))
    with pytest.raises(SystemExit):
        fit_ranker.main(["--data", str(file), *more])
    assert message in capsys.readouterr().err
