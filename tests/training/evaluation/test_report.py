"""The report on made-up runs: its numbers, its markup, and the runs that it refuses."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.training.evaluation.fabricated_runs import CATEGORIES, made_up, three_runs, trajectory, write_run
from training.evaluation.loading import load_runs, read_trajectories
from training.evaluation.records import (
    MANIFEST,
    RECORDS,
    TRAJECTORIES,
    AspectScore,
    Assessment,
    Record,
    by_rubric,
)
from training.evaluation.report import write_report
from training.evaluation.report.markdown import escaped
from training.evaluation.report.published import PUBLISHED
from training.judging.forms import write_form

BAD = "</script></style></title><img src=x onerror=alert(1)>\" ' | `a` [x](javascript:1) \ud800\x00 http://e.vil"
JUDGE = {"name": "Qwen2.5-32B-Instruct", "comparable": True}


class Page(HTMLParser):
    """Checks that elements nest properly, and collects their text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def report(folders: Sequence[Path], out: Path) -> tuple[Page, str]:
    write_report(folders, out)
    return Page((out / "report.html").read_text("utf-8")), (out / "report.md").read_text("utf-8")


def table(markdown: str, section: str) -> dict[str, list[list[str]]]:
    """Map the first cell of each row to its other cells, each as lines, in the first table of a section."""
    rows = markdown.split(f"\n## {section}\n")[1].split("\n## ")[0].split("\n| --- ")[1].splitlines()[1:]
    rows = [row for row in rows[: rows.index("") if "" in rows else None] if row.startswith("|")]
    cells = [[cell.strip().split("<br>") for cell in row.strip("|").split(" | ")] for row in rows]
    return {row[0][0]: row[1:] for row in cells}


def reference_means(records: Sequence[Record], *, lenient: bool = False) -> list[float]:
    """Apply the published definition: Σ / 2n, the mean of each category, and the mean of those."""
    found = defaultdict(list)
    for record in records:
        scores = [aspect.score for aspect in record.aspects]
        held = [score for score in scores if score is not None]
        if held and (lenient or len(held) == len(scores)):
            found[record.category].append(sum(held) / (2 * len(held)))
    means = [sum(found[name]) / len(found[name]) for name in CATEGORIES]
    return [*means, sum(means) / 3]


def test_scores_are_those_of_an_independent_computation(tmp_path: Path) -> None:
    _, markdown = report(three_runs(tmp_path), tmp_path / "out")
    found = table(markdown, "Scores")
    records = made_up(2, level=0.45, unjudged=0.05)
    unjudged = [record for record in records if any(aspect.score is None for aspect in record.aspects)]
    aspects = sum(aspect.score is None for record in unjudged for aspect in record.aspects)
    assert [cell[0] for cell in found["rag"]] == [f"{mean:.4f}" for mean in reference_means(records)]
    lenient = [f"with them {mean:.4f}" for mean in reference_means(records, lenient=True)]
    assert [cell[-1] for cell in found["rag"]] == lenient
    assert f"unjudged: {len(unjudged)} questions, {aspects} aspects" in found["rag"][-1]
    assert f"n {len(records) - len(unjudged)}" in found["rag"][-1]
    assert [cell[0] for cell in found["pr2"]] == [f"{m:.4f}" for m in reference_means(made_up(3, level=0.6))]
    assert found["pr2"][-1][2:] == ["n 24, none unjudged"]
    low, high = (float(end) for end in found["pr2"][-1][1].strip("[]").split(", "))
    assert low < float(found["pr2"][-1][0]) < high


def test_comparisons_are_over_the_questions_that_both_have_judged(tmp_path: Path) -> None:
    stats = pytest.importorskip("scipy.stats")
    _, markdown = report(three_runs(tmp_path), tmp_path / "out")
    rag = {record.id: record.score for record in made_up(2, level=0.45, unjudged=0.05)}
    pairs = [
        (record.score, other)
        for record in made_up(3, level=0.6)
        if (other := rag[record.id]) is not None and record.score is not None
    ]
    tested = stats.ttest_rel(*zip(*pairs, strict=True))
    questions, mean, t, p, _, _ = table(markdown, "Comparisons between runs")["pr2 − rag"]
    assert questions == [str(len(pairs))]
    assert mean[0] == f"{sum(one - other for one, other in pairs) / len(pairs):+.4f}"
    assert (t, p) == ([f"{tested.statistic:.3f}"], [f"{tested.pvalue:.4f}"])


def test_lift_cost_and_groups_are_counted_right(tmp_path: Path) -> None:
    page, markdown = report(three_runs(tmp_path), tmp_path / "out")
    ours, none = made_up(3, level=0.6), made_up(1, level=0.3)
    lift = [(one.score or 0) - (other.score or 0) for one, other in zip(ours, none, strict=True)]
    cells = table(markdown, "Lift over no profile")["pr2 over none"]
    assert cells[1] == [f"{sum(lift) / 24:+.4f}"]
    assert cells[2:] == [
        [str(sum(v > 0 for v in lift))],
        [str(sum(v == 0 for v in lift))],
        [str(sum(v < 0 for v in lift))],
    ]
    twice = [record.score or 0 for record in ours if record.searches == 2]
    searched = table(markdown, "Score by number of searches")["pr2"]
    assert searched[2] == [f"{sum(twice) / len(twice):.4f}", f"n {len(twice)}"]
    sizes = table(markdown, "Score by profile size")["pr2"]
    assert [cell[1] for cell in sizes] == ["n 6"] * 4
    third = [score / 2 for record in ours if (score := record.aspects[2].score) is not None]
    aspects = table(markdown, "Score by aspect")["pr2"]
    assert aspects[2] == [f"{sum(third) / 24:.4f}", "n 24"]
    price = sum(record.prompt_tokens * 0.5 + record.policy_tokens * 2 for record in ours) / 1e6
    assert f"{price:.4f} EUR" in markdown
    assert f"{price:.4f} EUR" in page.words


def test_the_page_holds_the_same_numbers_and_needs_nothing_else(tmp_path: Path) -> None:
    page, markdown = report(three_runs(tmp_path), tmp_path / "out")
    assert "lexical judge: not comparable with LaMP-QA's published scores" in page.words
    assert "lexical judge: not comparable with LaMP-QA's published scores" in markdown
    for number in re.findall(r"\d\.\d{4}", markdown):
        assert number in page.words
    assert not {"script", "img", "link", "iframe", "object", "image", "use"} & set(page.tags)
    loading = {"src", "srcset", "xlink:href", "data", "action", "background"}
    assert not [name for name, _ in page.attributes if name in loading or name.startswith("on")]
    assert all((value or "").startswith("#") for name, value in page.attributes if name == "href")
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert set(re.findall(r"url\((.*?)\)", text)) == {"#hatch"}
    assert "nan" not in re.findall(r"[a-z]+", "".join(value or "" for name, value in page.attributes))


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    folders = three_runs(tmp_path)
    report(folders, tmp_path / "one")
    for folder in folders:
        # The same questions, finished in another order.
        lines = (folder / RECORDS).read_text("utf-8").splitlines(keepends=True)
        (folder / RECORDS).write_text("".join(reversed(lines)), "utf-8")
    report(folders, tmp_path / "two")
    for name in ("report.html", "report.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_nothing_that_others_wrote_becomes_markup(tmp_path: Path) -> None:
    def spoiled(record: Record) -> Record:
        return replace(
            record,
            id=record.id + BAD,
            category=record.category + BAD,
            question=BAD,
            response=BAD,
            finish_reason=BAD,
            assessment=by_rubric([AspectScore(BAD, aspect.score) for aspect in record.aspects]),
        )

    facts: dict[str, Any] = {
        "policy": BAD,
        BAD: {BAD: [BAD]},
        "prices": {"prompt_per_million": 1, "completion_per_million": 1, "currency": BAD},
        "dataset": {"name": BAD, "hash": BAD, "questions": 30},
        "judge": {"name": BAD, "comparable": False},
    }
    folders = []
    for place, method in enumerate(("none", BAD)):
        records = [spoiled(record) for record in made_up(place, unjudged=0.05)]
        folder = write_run(tmp_path / str(place), records, method=method, **facts)
        kept = (folder / TRAJECTORIES).read_text("utf-8")
        (folder / TRAJECTORIES).write_text(kept.replace("A note.", "</script><img onerror>"), "utf-8")
        folders.append(folder)
    page, markdown = report(folders, tmp_path / "out")
    assert not {"script", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<img src=x onerror=alert(1)>" in page.words
    assert "</script><img onerror>" in page.words
    assert "<img" not in markdown
    assert not re.search(r"(?<!\\)\[[^\]]*\]\(", markdown)
    assert "://" not in markdown


def test_markdown_is_escaped_where_it_would_act() -> None:
    assert escaped("a\n# b *c* <i> | x_y") == r"a \# b \*c\* &lt;i&gt; \| x\_y"
    assert escaped("- one") == r"\- one"
    assert escaped("1. one") == r"1\. one"
    assert escaped("0.5 EUR") == "0.5 EUR"


def test_a_run_with_a_single_question(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", made_up(1, 1))
    page, markdown = report([run], tmp_path / "out")
    cells = table(markdown, "Scores")["pr2"]
    assert len(cells) == 2
    assert cells[0][1] == "n 1, none unjudged"
    assert "There are no others." in page.words
    both = [run, *three_runs(tmp_path / "more")]
    _, markdown = report(both, tmp_path / "both")
    cells = table(markdown, "Scores")["pr2 \\(one\\)"]
    assert cells[-1][-1] == "over 1 of 3 categories only"
    assert "Of pr2 \\(pr2\\), the run" in markdown


def test_runs_without_trajectories_judgements_or_records(tmp_path: Path) -> None:
    silent = write_run(tmp_path / "silent", made_up(1), trajectories=False, method="rag")
    unjudged = write_run(tmp_path / "unjudged", made_up(1, unjudged=1.0), method="none")
    begun = write_run(tmp_path / "begun", [], finished=False, dataset={"name": "sample", "hash": "abc123"})
    page, markdown = report([silent, unjudged, begun], tmp_path / "out")
    assert "The run kept no trajectory of this question." in page.words
    assert "unjudged: 24 questions, 108 aspects" in markdown
    assert table(markdown, "Scores")["none"][-1][0] == "–"
    assert "pr2 is not finished: 0 of 0 questions." in page.words
    _, markdown = report([unjudged], tmp_path / "alone")
    assert "No run has a fully judged question." in markdown
    report([begun], tmp_path / "nothing")


def test_identical_runs_do_not_differ(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / name, made_up(1), method=name) for name in ("none", "rag"))
    _, markdown = report([first, second], tmp_path / "out")
    cells = table(markdown, "Comparisons between runs")["rag − none"]
    assert cells == [["24"], ["+0.0000", "[+0.0000, +0.0000]"], ["–"], ["–"], ["–"], *[cells[1]]]
    assert "No question that both have fully judged was scored differently." in markdown


def test_best_and_worst_answers_are_not_the_same_ones(tmp_path: Path) -> None:
    records = made_up(1, 15)
    _, markdown = report([write_run(tmp_path / "run", records)], tmp_path / "out")
    parts = {part.splitlines()[0]: re.findall(r"q\d{3}", part) for part in markdown.split("\n## ")}
    ranked = [record.id for record in sorted(records, key=lambda record: (-(record.score or 0), record.id))]
    assert parts["Best answers"] == ranked[:8]
    assert parts["Worst answers"] == ranked[8:][::-1]


def test_side_by_side_are_the_questions_that_differ_most(tmp_path: Path) -> None:
    baseline, rag, pr2 = three_runs(tmp_path)
    page, markdown = report([pr2, baseline, rag], tmp_path / "out")
    part = markdown.split("\n## Where none and rag differ most\n")[1].split("\n## ")[0]
    none = {record.id: record.score for record in made_up(1, level=0.3)}
    apart = {
        record.id: abs(record.score - (none[record.id] or 0))
        for record in made_up(2, level=0.45, unjudged=0.05)
        if record.score is not None
    }
    found = re.findall(r"q\d{3}", part)
    assert found == sorted(found, key=lambda i: (-round(apart[i], 9), i))
    assert min(apart[i] for i in found) >= max(apart[i] for i in apart.keys() - set(found)) - 1e-9
    assert page.words.count("I look for it.") == 20 + 2 * len(found)


def test_published_scores_stand_beside_ours_only_where_they_mean_the_same(tmp_path: Path) -> None:
    dataset = {"name": "LaMP-QA test", "hash": "h", "questions": 24}
    run = write_run(tmp_path / "run", made_up(1), judge=JUDGE, dataset=dataset)
    page, markdown = report([run], tmp_path / "out")
    found = table(markdown, "LaMP-QA's published scores")
    assert [cell[0] for cell in found["ours: pr2"][1:]] == [f"{m:.4f}" for m in reference_means(made_up(1))]
    assert markdown.count("| published: ") == len(PUBLISHED)
    assert "not comparable" not in page.words
    own = write_run(tmp_path / "own", made_up(1), judge=JUDGE)
    _, markdown = report([own], tmp_path / "apart")
    assert r"because this report's data set \(sample\) is not LaMP-QA's" in markdown
    assert "ours: " not in markdown


def test_runs_of_different_judges_are_shown_and_not_compared(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", made_up(1), method="none")
    second = write_run(tmp_path / "second", made_up(2), method="pr2", judge=JUDGE)
    page, markdown = report([first, second], tmp_path / "out")
    assert set(table(markdown, "Scores")) == {"none", "pr2"}
    assert "Not compared, because the judges differ: none and pr2." in page.words
    assert "## Lift" not in markdown
    assert "Their scores come from different judges and are not compared." in markdown


def test_runs_without_rubrics_or_judges_are_reported_by_their_metric(tmp_path: Path) -> None:
    def errors(seed: int, scale: float) -> list[Record]:
        return [
            replace(record, assessment=Assessment({"mae": scale * (index % 5)}, {}))
            for index, record in enumerate(made_up(seed))
        ]

    facts: dict[str, Any] = {"judge": None, "metrics": {"mae": "lower"}}
    worse = write_run(tmp_path / "none", errors(1, 1.5), method="none", **facts)
    better = write_run(tmp_path / "pr2", errors(2, 0.5), **facts)
    page, markdown = report([worse, better], tmp_path / "out")
    assert not [word for word in ("aspect", "rubric", "LaMP-QA", "None", "lexical") if word in markdown]
    assert "Lower is better." in page.words
    means = [sum(0.5 * (index % 5) for index in range(start, 24, 3)) / 8 for start in range(3)]
    assert [cell[0] for cell in table(markdown, "Scores")["pr2"]] == [
        f"{m:.4f}" for m in [*means, sum(means) / 3]
    ]
    assert "Of pr2, the run with" in page.words
    assert re.findall(r"q\d{3}", markdown.split("\n## Best answers\n")[1])[0] == "q000"
    lift = table(markdown, "Lift over no profile")["pr2 over none"]
    assert lift[2:] == [["19"], ["5"], ["0"]]
    with pytest.raises(ValueError, match="no rubric aspects"):
        write_form(better, tmp_path / "form.jsonl", 5, 0, [])


def test_refused_with_the_reason(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", made_up(1))
    other = write_run(tmp_path / "other", made_up(1), dataset={"name": "own", "hash": "ffff", "questions": 1})
    with pytest.raises(
        ValueError, match=r"different data.*run: sample, hash abc123; .*other: own, hash ffff"
    ):
        write_report([run, other], tmp_path / "out")
    with pytest.raises(ValueError, match="at least one"):
        write_report([], tmp_path / "out")
    with pytest.raises(ValueError, match=r"more than once: .*run"):
        write_report([run, tmp_path / "other" / ".." / "run"], tmp_path / "out")
    with pytest.raises(ValueError, match=r"nowhere holds no run: manifest\.json is missing"):
        write_report([tmp_path / "nowhere"], tmp_path / "out")
    (other / RECORDS).unlink()
    with pytest.raises(ValueError, match=r"other holds no run: records\.jsonl is missing"):
        write_report([other], tmp_path / "out")
    (other / MANIFEST).write_text('{"method": "pr2", "dataset": {"name": "x"}}')
    with pytest.raises(ValueError, match=r"manifest\.json .*it lacks judge\.name, dataset\.hash"):
        write_report([other], tmp_path / "out")
    (other / MANIFEST).write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is not JSON"):
        write_report([other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_records_that_cannot_be_counted_are_refused(tmp_path: Path) -> None:
    record = made_up(1, 1)[0]
    with pytest.raises(ValueError, match="'q000' occurs twice"):
        load_runs([write_run(tmp_path / "twice", [record, record])])
    run = write_run(tmp_path / "empty", [record])
    (run / RECORDS).write_text(json.dumps(record.to_dict() | {"aspects": []}) + "\n")
    with pytest.raises(ValueError, match="'q000' has no rubric aspect"):
        load_runs([run])


def test_of_a_trajectory_that_was_written_twice_the_last_counts(tmp_path: Path) -> None:
    records = made_up(1, 3)
    run = write_run(tmp_path / "run", records)
    later = replace(trajectory(records[0]), detail="later").to_dict()
    with (run / TRAJECTORIES).open("a") as lines:
        lines.write(json.dumps({"id": "q000", "trajectory": later}) + "\n" + '{"id": "q001", "traj')
    found = read_trajectories(run, {"q000", "q001"})
    assert found["q000"].detail == "later"
    assert set(found) == {"q000", "q001"}
    with (run / TRAJECTORIES).open("a") as lines:
        lines.write("\n")
    with pytest.raises(ValueError, match=r"trajectories\.jsonl:5: not a trajectory"):
        read_trajectories(run, {"q000"})
