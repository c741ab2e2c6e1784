"""The exhibits on runs whose numbers are known by hand."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.trajectory import Answer, Limits, Selection, Trajectory
from server.cli import app
from tests.training.evaluation.fabricated_runs import made_up, write_run
from tests.training.evaluation.test_report import Page, table
from training.evaluation.exhibits import published, write_exhibits
from training.evaluation.exhibits.groups import BASELINES, COLUMNS, Measure, load_groups
from training.evaluation.exhibits.pools import Compared, load_pools, success_of
from training.evaluation.exhibits.scores import relative_gain, significant
from training.evaluation.records import TRAJECTORIES, Assessment, Record
from training.evaluation.report.lamp import PUBLISHED
from training.folder import write_json
from training.selector.measures import Outcome
from training.selector.report import as_values
from training.tasks.lamp.metrics import GOLD

Scores = Mapping[str, Sequence[float | None]]
"""By metric, the scores of question after question."""
POST = {"mode": "post", "members": ["none", "bm25", "dense"]}


def records_of(scores: Scores, category: str) -> list[Record]:
    count = len(next(iter(scores.values())))
    return [
        Record(
            id=f"q{number:03}",
            category=category,
            question="three words here" if number else "one",
            response="comedy",
            finish_reason="answered",
            assessment=Assessment(
                {name: values[number] for name, values in scores.items()},
                {GOLD: "comedy" if scores.get("accuracy", [1] * count)[number] else "true story"},
            ),
            searches=0,
            documents_read=0,
            profile_size=10 + 10 * (number % 2),
            prompt_tokens=1,
            policy_tokens=1,
            latency_ms=1.0,
        )
        for number in range(count)
    ]


def run(
    folder: Path,
    retriever: str,
    scores: Scores,
    *,
    category: str = "LaMP_2",
    directions: Mapping[str, str] | None = None,
    chosen: Sequence[str] = (),
    **manifest: Any,
) -> Path:
    records = records_of(scores, category)
    facts: dict[str, Any] = {
        "method": "rag",
        "retriever": retriever,
        "judge": None,
        "metrics": dict(directions or dict.fromkeys(scores, "higher")),
        "dataset": {"name": category, "hash": category, "questions": len(records)},
        "encoder": "contriever, weights abc",
        "configured": ["method", "retriever", "encoder", "policy"],
    }
    write_run(folder, records, trajectories=False, **(facts | manifest))
    lines = [
        json.dumps(
            {
                "id": record.id,
                "trajectory": Trajectory(
                    record.question,
                    Limits(),
                    steps=(Answer("comedy"),),
                    selection=Selection("post", name, {name: 1.0}, 1.0),
                ).to_dict(),
            }
        )
        for record, name in zip(records, chosen, strict=bool(chosen))
    ]
    (folder / TRAJECTORIES).write_text("".join(line + "\n" for line in lines))
    return folder


@pytest.fixture
def small(tmp_path: Path) -> list[Path]:
    """Three questions of LaMP-2: none is right on one, BM25 on two, dense on none; the selector on two."""

    def scores(*values: float) -> Scores:
        return {"accuracy": values, "f1": values}

    return [
        run(tmp_path / "none", "none", scores(1, 0, 0), method="none"),
        run(tmp_path / "bm25", "bm25", scores(1, 1, 0)),
        run(tmp_path / "dense", "dense", scores(0, 0, 0)),
        run(tmp_path / "auto", "auto", scores(0, 1, 0), selector=POST, chosen=["dense", "bm25", "none"]),
    ]


def exhibits(folders: Sequence[Path], out: Path, pools: Sequence[Path] = ()) -> tuple[Page, str]:
    write_exhibits(folders, out, pools)
    return Page((out / "exhibits.html").read_text("utf-8")), (out / "exhibits.md").read_text("utf-8")


def test_winning_rates_credit_all_that_tie(small: list[Path], tmp_path: Path) -> None:
    page, markdown = exhibits(small, tmp_path)
    # The first question is won by two, the second by BM25, the third by all three: six wins.
    row = table(markdown, "Figure 3: winning rates")["LaMP\\_2"]
    assert [cell[0] for cell in row] == ["0.3333", "0.5000", "0.1667"]
    assert "Winning rates, with intervals." in page.words
    theirs = table(markdown, "Figure 3: winning rates")["published, lowest to highest"]
    assert theirs == [["8.5–18.4 %"], ["–"], ["–"]]


def test_success_is_attaining_the_pools_best(small: list[Path]) -> None:
    [group] = load_groups(small)
    assert success_of(group, "RSPG-Post, pool without ROPG") == [0.0, 1.0, 1.0]


def test_success_stands_beside_the_best_predictor(small: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "pool.json"
    rates = {"WIG": 0.25, "NQC, z": 0.75, "only bm25": 1.0}
    strategies = {name: {"success": rate, "success_interval": [0.1, 0.9]} for name, rate in rates.items()}
    file.write_text(json.dumps({"hash": "LaMP_2", "strategies": strategies}))
    _, markdown = exhibits(small, tmp_path, [file])
    rows = table(markdown, "Table 4: success rates")
    assert rows["LaMP\\_2"][0] == [
        "0.7500",
        "[0.1000, 0.9000]",
        "NQC, z",
    ]
    assert rows["LaMP\\_2"][4][0] == "0.6667"
    assert rows["published: LaMP-2"][:3] == [["0.918", "NQC"], ["0.936"], ["0.962"]]


def test_bounds_choose_the_worst_and_the_best_member(small: list[Path], tmp_path: Path) -> None:
    _, markdown = exhibits(small, tmp_path)
    # This pool has no ROPG, so there is one row; the bounds are 0, and (1 + 1 + 0) / 3.
    lower, _, post, upper = table(markdown, "Table 5: pools")["LaMP\\_2, pool without ROPG"]
    assert (lower, post, upper) == (["0.0000"], ["0.3333", "50.0 %"], ["0.6667"])


def test_lower_scores_are_better_where_the_metric_says_so(tmp_path: Path) -> None:
    directions = {"mae": "lower", "rmse": "lower"}
    errors = {"none": (3.0, 1.0, 2.0), "bm25": (1.0, 2.0, 2.0), "ropg-kd": (1.0, 1.0, 1.0)}
    folders = [
        run(
            tmp_path / name,
            name,
            {"mae": values, "rmse": [value**2 for value in values]},
            category="LaMP_3",
            directions=directions,
            method="none" if name == "none" else "rag",
        )
        for name, values in errors.items()
    ]
    _, markdown = exhibits(folders, tmp_path)
    scores = table(markdown, "Table 3: scores")["LaMP\\_3"]
    assert (
        scores[COLUMNS.index("BM25")][0] == "1.7321"
    )  # rmse, whose row is the last: the root of (1 + 4 + 4) / 3
    gains = table(markdown, "Mean relative gains")["ROPG-KD"]
    over_none = ((2 - 1) / 2 + ((14 / 3) ** 0.5 - 1) / (14 / 3) ** 0.5) / 2
    over_best = ((5 / 3 - 1) / (5 / 3) + (3**0.5 - 1) / 3**0.5) / 2
    assert [cell[0] for cell in gains] == [f"{100 * over_none:+.1f} %", f"{100 * over_best:+.1f} %"]
    lower, _, _, upper = table(markdown, "Table 5: pools")["LaMP\\_3, whole pool"]
    assert (lower, upper) == ([f"{7 / 3:.4f}"], ["1.0000"])


def test_the_published_gains_follow_from_the_published_scores() -> None:
    """The formula of our gains gives the paper's 15.3 % and 5.5 % on the paper's table, but for rounding."""
    over_none, over_best = [], []
    for (_, metric), row in PUBLISHED.items():
        values = dict(zip(COLUMNS, row, strict=True))
        measure = Measure(metric, metric in ("mae", "rmse"))
        ours, none = values["RSPG-Post"], values["None"]
        baselines = [values[name] for name in BASELINES]
        over_none.append(relative_gain(measure, ours, [none]))
        over_best.append(relative_gain(measure, ours, baselines))
    means = [sum(filter(None, gains)) / len(gains) for gains in (over_none, over_best)]
    assert means == pytest.approx(published.GAINS["RSPG-Post"], abs=0.005)


def test_a_baseline_of_zero_has_no_relative_gain() -> None:
    assert relative_gain(Measure("score", False), 0.5, [0.0]) is None
    assert relative_gain(Measure("score", False), None, [0.5]) is None
    assert relative_gain(Measure("mae", True), 1.0, [4.0, 2.0]) == 0.5


def test_each_difference_is_tested_against_each_baseline(tmp_path: Path) -> None:
    chance = random.Random(0)
    right = [float(chance.random() < 0.5) for _ in range(60)]
    all_right, wrong = [1.0] * 60, [0.0] * 60
    folders = [
        run(tmp_path / "none", "none", {"accuracy": wrong, "f1": wrong}, method="none"),
        run(tmp_path / "bm25", "bm25", {"accuracy": right, "f1": right}),
        run(tmp_path / "recency", "recency", {"accuracy": all_right, "f1": all_right}),
        run(tmp_path / "kd", "ropg-kd", {"accuracy": right, "f1": right}),
    ]
    [group] = load_groups(folders)
    for measure in group.measures:
        assert measure.binary
        assert significant(group, measure, "ROPG-KD") == (["N"], ["R"])
    _, markdown = exhibits(folders, tmp_path)
    assert "▲N ▼R" in markdown


def test_other_metrics_are_tested_by_the_paired_t_test(tmp_path: Path) -> None:
    chance = random.Random(1)
    values = [chance.random() for _ in range(30)]
    better = [min(value + chance.random() / 5, 1.0) for value in values]
    folders = [
        run(tmp_path / name, name, {"rouge-1": scores, "rouge-L": scores}, category="LaMP_4")
        for name, scores in (("rrf", values), ("ropg-rl", better))
    ]
    [group] = load_groups(folders)
    assert not group.measures[0].binary
    assert significant(group, group.measures[0], "ROPG-RL") == (["F"], [])


def test_questions_without_a_score_are_left_out_in_pairs(tmp_path: Path) -> None:
    folders = [
        run(tmp_path / "bm25", "bm25", {"rouge-1": (0.5, None, 0.1)}, category="LaMP_5"),
        run(tmp_path / "kd", "ropg-kd", {"rouge-1": (None, 0.2, 0.4)}, category="LaMP_5"),
    ]
    [group] = load_groups(folders)
    assert group.paired("ROPG-KD", "BM25", group.measures[0]) == ([0.4], [0.1])


def test_missing_runs_are_named_and_their_places_stay_empty(tmp_path: Path) -> None:
    folder = run(tmp_path / "none", "none", {"accuracy": (1, 0), "f1": (1, 0)}, method="none")
    _, markdown = exhibits([folder], tmp_path)
    scores = table(markdown, "Table 3: scores")["LaMP\\_2"]
    assert [cell[0] for cell in scores[1:]] == ["–"] * (len(COLUMNS) - 1)
    missing = markdown.split("## The runs")[1].split("## Table 1")[0]
    for name in ("BM25", "RRF", "ROPG-KD", "RSPG-Post", "pr2 evaluate pool --json"):
        assert name in missing
    assert [cell[0] for cell in table(markdown, "Mean relative gains")["RSPG-Post"]] == ["–", "–"]
    assert "LaMP\\_2" not in markdown.split("## Table 5: pools")[1]


def test_lengths_and_profiles_are_counted(small: list[Path], tmp_path: Path) -> None:
    _, markdown = exhibits(small, tmp_path)
    row = table(markdown, "Table 1: data")["LaMP\\_2"]
    # One word and twice three; profiles of 10, 20 and 10.
    assert [cell[0] for cell in row] == ["3", "2.33 ± 0.94", "1.67 ± 0.47", "13.33 ± 4.71"]


def test_runs_of_lamp_qa_have_no_published_rows(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / "none", made_up(1), method="none", retriever="none", trajectories=False),
        write_run(tmp_path / "bm25", made_up(2), method="rag", retriever="bm25", trajectories=False),
        write_run(tmp_path / "hybrid", made_up(3), method="rag", retriever="hybrid", trajectories=False),
    ]
    result = CliRunner().invoke(
        app, ["evaluate", "exhibits", *map(str, folders), "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "out" / "exhibits.html")
    markdown = (tmp_path / "out" / "exhibits.md").read_text("utf-8")
    rows = table(markdown, "Table 3: scores")
    assert list(rows) == ["sample"]
    assert rows["sample"][-1][0] != "–"
    assert "hybrid" in markdown
    assert "lexical judge, not comparable" in markdown


def test_data_sets_have_rows_of_their_own(small: list[Path], tmp_path: Path) -> None:
    other = run(tmp_path / "other", "bm25", {"rouge-1": (0.5, 0.25)}, category="LaMP_7")
    _, markdown = exhibits([*small, other], tmp_path)
    rows = table(markdown, "Table 3: scores")
    assert rows["LaMP\\_7"][1] == ["0.3750"]
    assert rows["published: LaMP-7 rouge-1"][1] == ["0.446"]


def test_runs_that_differ_in_more_than_the_retriever_are_pointed_out(tmp_path: Path) -> None:
    folders = [
        run(tmp_path / "bm25", "bm25", {"rouge-1": (0.5,)}, category="LaMP_4"),
        run(tmp_path / "dense", "dense", {"rouge-1": (0.5,)}, category="LaMP_4", policy="another"),
    ]
    _, markdown = exhibits(folders, tmp_path)
    assert "the runs differ in more than the retriever: policy" in markdown


@pytest.mark.parametrize("second", ["bm25", "auto"])
def test_two_runs_in_one_place_are_refused(tmp_path: Path, second: str) -> None:
    folders = [
        run(tmp_path / name, second, {"rouge-1": (0.5,)}, category="LaMP_4", selector=POST)
        for name in ("one", "two")
    ]
    with pytest.raises(ValueError, match=r"one and .*two are both"):
        load_groups(folders)


def test_runs_by_different_judges_are_refused(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / "one", made_up(1), retriever="bm25", trajectories=False),
        write_run(tmp_path / "two", made_up(1), retriever="dense", judge={"name": "x"}, trajectories=False),
    ]
    with pytest.raises(ValueError, match="different judges or metrics"):
        load_groups(folders)


def test_a_run_with_auto_and_no_selector_is_refused(tmp_path: Path) -> None:
    folder = run(tmp_path / "auto", "auto", {"rouge-1": (0.5,)}, category="LaMP_4")
    with pytest.raises(ValueError, match="does not describe the selector"):
        load_groups([folder])


@pytest.mark.parametrize("text", ["{", "[]", '{"hash": "x"}', '{"hash": "x", "strategies": {"WIG": 1}}'])
def test_a_file_that_is_no_pool_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    folder = run(tmp_path / "bm25", "bm25", {"rouge-1": (0.5,)}, category="LaMP_4")
    file = tmp_path / "pool.json"
    file.write_text(text)
    result = CliRunner().invoke(app, ["evaluate", "exhibits", str(folder), "--pool", str(file)])
    assert result.exit_code == 2
    assert "pool.json" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_markup_in_names_stays_text(tmp_path: Path) -> None:
    bad = "</script><img src=x onerror=alert(1)>|`"
    folder = run(
        tmp_path / "bad",
        bad,
        {"rouge-1": (0.5,)},
        category="LaMP_4",
        dataset={"name": bad, "hash": "x", "questions": 1},
    )
    page, markdown = exhibits([folder], tmp_path)
    assert "img" not in page.tags
    assert "<img" not in markdown


def test_a_pools_comparison_is_read_as_it_is_written(tmp_path: Path) -> None:
    outcome = Outcome(0.5, (0.4, 0.6), 0.7, (0.6, 0.8), 0.0, None)
    file = tmp_path / "pool.json"
    write_json(file, as_values("abc", {"WIG": outcome, "WIG, z": outcome, "random": outcome}))
    [pool] = load_pools([file])
    assert pool.hash == "abc"
    assert pool.predictors == dict.fromkeys(
        ("WIG", "WIG, z"), Compared(success=0.7, success_interval=(0.6, 0.8))
    )
