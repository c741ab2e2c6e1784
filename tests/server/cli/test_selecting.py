"""`pr2 train selector` and `pr2 evaluate pool` on real runs of the extractive policy, with a tiny encoder."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agent.selecting import load_selector
from server.cli import app
from tests.agent import tiny_selector
from tests.training.selector.test_data import record, run
from training.tasks.lamp.task import lamp_task

MEMBERS = ("none", "bm25", "recency")
SHORT = ("--epochs", "1", "--batch-size", "2", "--gradient-accumulation", "1", "--max-tokens", "64")


def pr2(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def question(number: int) -> dict[str, Any]:
    hobby = ("sunflowers", "brass keys", "old maps", "kites")[number]
    return {
        "id": f"q{number}",
        "question": f"How could I show {hobby} to my neighbour?",
        "category": "Art_and_Entertainment",
        "narrative": "My neighbour is curious.",
        "rubric_aspects": [{"aspect": f"Beauty of {hobby}", "reason": "It shows.", "evidence": "curious"}],
        "profile": [
            {"id": "d1", "text": f"My {hobby} have a beauty of their own."},
            {"id": "d2", "text": "The bus was late."},
        ],
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of `rag` by three retrievers, one of `pr2`, and a tiny encoder."""
    root = tmp_path_factory.mktemp("runs")
    lines = [json.dumps(question(number)) + "\n" for number in range(4)]
    (root / "own.jsonl").write_text("".join(lines), "utf-8")
    asked = [("rag", member, member) for member in MEMBERS] + [("pr2", "bm25", "pr2")]
    for method, retriever, name in asked:
        how = ("--dataset", root / "own.jsonl", "--method", method, "--retriever", retriever, "--top-k", 1)
        result = pr2("evaluate", *how, "--out", root / name)
        assert result.exit_code == 0, result.output
    tiny_selector.make(root / "encoder", None)
    return root


def runs(root: Path, *members: str) -> list[str]:
    return [part for name in members for part in ("--run", f"{name}={root / name}")]


@pytest.fixture(scope="module")
def trained(root: Path) -> Path:
    asked = (*runs(root, *MEMBERS), "--mode", "post", "--model", root / "encoder", *SHORT)
    result = pr2("train", "selector", *asked, "--out", root / "trained")
    assert result.exit_code == 0, result.output
    said = result.stdout.splitlines()
    assert said[0].startswith(
        "3 questions to train on, 1 to validate with, 0 left out; best single retriever: "
    )
    assert f"{root / 'trained' / 'selector'}: step 2, validation loss " in said[-1]
    # Again, nothing is left to do, and the result is the same.
    assert pr2("train", "selector", *asked, "--out", root / "trained").stdout == result.stdout
    refused = pr2("train", "selector", *asked, "--seed", 1, "--out", root / "trained")
    assert refused.exit_code == 2
    assert "begun with another configuration" in refused.stderr
    return root / "trained" / "selector"


def test_the_selector_scores_the_pool(trained: Path) -> None:
    selector = load_selector(trained, known=MEMBERS)
    assert (selector.mode, tuple(selector.members)) == ("post", MEMBERS)
    assert len(selector.scores(["one", "two", "three"], ["a", "b", "c"])) == 3


def test_the_pool_is_measured_with_every_strategy(root: Path, trained: Path) -> None:
    asked = (*runs(root, *MEMBERS), "--selector", trained, "--dataset", root / "own.jsonl")
    result = pr2("evaluate", "pool", *asked)
    assert result.exit_code == 0, result.output
    said = result.stdout.splitlines()
    assert said[0] == "4 questions, 95% bootstrap intervals over questions"
    rows = {match[1]: float(match[2]) for line in said if (match := re.match(r"(.+?)  +(\d\.\d{4})", line))}
    measured = {
        member: [
            json.loads(line)["score"] for line in (root / member / "records.jsonl").read_text().splitlines()
        ]
        for member in MEMBERS
    }
    for member, scores in measured.items():
        assert rows[f"only {member}"] == pytest.approx(sum(scores) / 4, abs=1e-4)
    assert rows["oracle, lower bound"] <= rows["random"] <= rows["oracle, upper bound"]
    assert {"WIG", "WIG, z", "NQC", "σ max", "σ 50%, z", f"post ({trained})"} <= rows.keys()
    assert sum(rows[member] for member in MEMBERS) == pytest.approx(1, abs=1e-3), "winning rates"


def test_a_reference_is_chosen_on_validation_data(root: Path) -> None:
    refused = pr2("evaluate", "pool", *runs(root, "none", "bm25"))
    assert refused.exit_code == 2
    assert "the best single retriever is chosen there" in refused.stderr
    validation = [part.replace("--run", "--validation") for part in runs(root, "none", "bm25")]
    result = pr2("evaluate", "pool", *runs(root, "none", "bm25"), *validation)
    assert result.exit_code == 0, result.output
    assert re.search(r"^best single \((none|bm25)\) ", result.stdout, re.MULTILINE)
    refused = pr2("evaluate", "pool", *runs(root, *MEMBERS), *validation)
    assert "the validation runs are of another pool" in refused.stderr


def test_a_selector_of_another_pool_is_refused(root: Path, trained: Path) -> None:
    result = pr2("evaluate", "pool", *runs(root, "none", "bm25"), "--selector", trained)
    assert result.exit_code == 2
    assert "trained to choose among none, bm25, recency, and this pool is none, bm25" in result.stderr


def test_rankings_need_the_runs_own_data_set(root: Path, trained: Path, tmp_path: Path) -> None:
    other = question(0) | {"id": "another"}
    (tmp_path / "own.jsonl").write_text(json.dumps(other) + "\n", "utf-8")
    asked = (*runs(root, *MEMBERS), "--selector", trained, "--dataset", tmp_path / "own.jsonl")
    result = pr2("evaluate", "pool", *asked)
    assert result.exit_code == 2
    assert "it is not the data set of the runs" in result.stderr


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["bm25"], "'bm25' is not of the form NAME=DIR"),
        (["bm25=", "none=x"], "'bm25=' is not of the form NAME=DIR"),
        (["bm25=x", "bm25=y"], "a pool has at least two members"),
        (["bm25=/nowhere", "none=/nowhere/else"], "holds no run"),
    ],
)
def test_a_run_that_cannot_be_used_is_refused(given: list[str], why: str, tmp_path: Path) -> None:
    flags = [part for one in given for part in ("--run", one)]
    result = pr2("train", "selector", "--mode", "pre", *flags, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert why in result.stderr
    assert not (tmp_path / "out").exists()


def test_runs_that_do_not_fit_together_are_refused(root: Path, tmp_path: Path) -> None:
    mixed = ("--run", f"none={root / 'none'}", "--run", f"bm25={root / 'pr2'}")
    result = pr2("train", "selector", "--mode", "post", *mixed, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "method is 'rag' for none and 'pr2' for bm25" in result.stderr


def test_a_run_with_the_selector_stands_in_the_exhibits_beside_the_best_predictor(
    root: Path, trained: Path
) -> None:
    file, data = root / "pool.json", root / "own.jsonl"
    asked = (*runs(root, *MEMBERS), "--selector", trained, "--dataset", data)
    assert pr2("evaluate", "pool", *asked, "--json", file).exit_code == 0
    how = ("--dataset", data, "--method", "rag", "--retriever", "auto", "--selector", trained, "--top-k", 1)
    result = pr2("evaluate", *how, "--out", root / "auto")
    assert result.exit_code == 0, result.output
    folders = [root / name for name in (*MEMBERS, "auto")]
    result = pr2("evaluate", "exhibits", *folders, "--pool", file, "--out", root / "exhibits")
    assert result.exit_code == 0, result.output
    markdown = (root / "exhibits" / "exhibits.md").read_text("utf-8")
    table = markdown.split("## Table 4")[1].split("## Table 5")[0]
    [row] = [line for line in table.splitlines() if line.startswith("|") and "own" in line]
    predictor, post = row.split(" | ")[1], row.strip(" |").split(" | ")[-1]
    rates = json.loads(file.read_text("utf-8"))["strategies"]
    best = max(
        (name for name in rates if name[:3] in ("WIG", "NQC", "σ m", "σ 5")),
        key=lambda name: rates[name]["success"],
    )
    assert predictor.startswith(f"{rates[best]['success']:.4f}")
    # The run chose as the selector does of the members' own runs.
    assert post.startswith(f"{rates[f'post ({trained})']['success']:.4f}")


def test_profiles_of_lamp_are_ranked_for_the_predictors(tmp_path: Path) -> None:
    asked = list(lamp_task("lamp-sample", 4).read([], "dev"))
    flags = []
    for name, score in (("bm25", 0.5), ("recency", 0.25)):
        records = [replace(record(0, score), id=one.id, question=one.question) for one in asked]
        flags += ["--run", f"{name}={run(tmp_path / name, name, records)}"]
    validation = [part.replace("--run", "--validation") for part in flags]
    how = ("--dataset", "lamp-sample", "--task", 4, "--split", "dev")
    result = pr2("evaluate", "pool", *flags, *validation, *how)
    assert result.exit_code == 0, result.output
    assert f"{len(asked)} questions" in result.stdout
    assert re.search(r"^best single \(bm25\) +0\.5000", result.stdout, re.MULTILINE)
    assert re.search(r"^WIG, z +0\.\d{4}", result.stdout, re.MULTILINE)
