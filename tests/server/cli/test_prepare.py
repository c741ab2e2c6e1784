"""`pr2 train prepare` with the real store and encoder."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agent.methods import METHODS
from agent.trajectory import Today
from index.encoding.encoders import SentenceTransformerEncoder
from index.profiles import Profiles
from index.storage.store import Store
from server.cli import app
from tests.server.cli.test_evaluate import RECORDS, record
from training.evaluation.profiles import UNDATED
from training.policy.environment import Configuration
from training.policy.prepare import ENVIRONMENT, TRAIN, VALIDATION
from training.policy.rows import LABEL, Row


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return written(tmp_path / "own.jsonl", RECORDS)


def written(file: Path, records: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(one) + "\n" for one in records))
    return file


def rows_of(file: Path) -> list[Row]:
    return [Row.from_label(json.loads(line)[LABEL]) for line in file.read_text("utf-8").splitlines()]


def pr2(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def prepare(*arguments: object) -> Result:
    return pr2("train", "prepare", *arguments)


def test_questions_become_prompts_and_their_profiles_one_store(
    dataset: Path, tmp_path: Path, minilm: SentenceTransformerEncoder
) -> None:
    out = tmp_path / "out"
    asked = ("--dataset", dataset, "--out", out, "--max-searches", 3, "--cost-search", 0.05)
    result = prepare(*asked, "--formula", "grpo")
    assert result.exit_code == 0, result.output
    assert "validated with: all of 1 of the 2 profiles" in result.stdout
    rows = {name: rows_of(out / name) for name in (TRAIN, VALIDATION)}
    people = [{row.user for row in part} for part in rows.values()]
    assert people[0].isdisjoint(people[1])
    assert sorted(row.question.id for part in rows.values() for row in part) == ["q1", "q2", "q3"]
    configuration = Configuration.model_validate_json((out / ENVIRONMENT).read_text())
    assert configuration.limits.max_searches == 3
    assert configuration.costs.search == 0.05
    assert configuration.formula.name == "grpo"
    profiles = Profiles(Store(f"sqlite:///{configuration.data}/pr2.db", minilm.manifest), minilm)
    for part in rows.values():
        for row in part:
            assert not row.with_rubric.profile
            assert row.with_rubric.narrative
            assert profiles.search(row.user, [row.question.question], 3, "hybrid")[0]
    profiles.store.close()
    prompt = json.loads((out / TRAIN).read_text().splitlines()[0])["input"]
    assert "You can search 3 times" in prompt
    assert "curious" not in prompt


def test_scores_without_the_profile_come_from_a_run_of_none(dataset: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert pr2("evaluate", "--dataset", dataset, "--method", "none", "--out", runs / "none").exit_code == 0
    result = prepare("--dataset", dataset, "--out", tmp_path / "out", "--without-profile", runs / "none")
    assert result.exit_code == 0, result.output
    assert "with a score without profile" in result.stdout
    assert [row.without_profile for row in rows_of(tmp_path / "out" / VALIDATION)] != [None]
    assert all(row.without_profile == 0.0 for row in rows_of(tmp_path / "out" / TRAIN))
    assert result.stderr == ""


def test_a_run_of_another_method_is_refused_as_a_baseline(dataset: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert pr2("evaluate", "--dataset", dataset, "--method", "rag", "--out", runs / "rag").exit_code == 0
    for folder, said in (
        (runs / "rag", "a run of the method 'rag'"),
        (tmp_path, "is not the folder of a run"),
    ):
        result = prepare("--dataset", dataset, "--out", tmp_path / "out", "--without-profile", folder)
        assert result.exit_code == 2
        assert said in result.stderr
    assert not (tmp_path / "out" / TRAIN).exists()


def test_a_baseline_by_another_judge_is_refused(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "none"
    assert pr2("evaluate", "--dataset", dataset, "--method", "none", "--out", run).exit_code == 0
    judge = ("--judge", "openai", "--judge-url", "http://127.0.0.1:1/v1", "--judge-model", "big")
    asked = ("--dataset", dataset, "--out", tmp_path / "out", "--without-profile", run)
    refused = prepare(*asked, *judge)
    assert refused.exit_code == 2
    assert "was judged by lexical, but training uses big" in refused.stderr
    assert prepare(*asked).exit_code == 0
    changed = prepare("--dataset", dataset, "--out", tmp_path / "out")
    assert changed.exit_code == 2
    assert "without_profile" in changed.stderr


def test_a_profile_that_cannot_be_stored_stops_it_before_anything_is_written(tmp_path: Path) -> None:
    broken = record(4, "ben", "Society_and_Culture")
    broken["profile"][1]["text"] = "  "
    file = written(tmp_path / "own.jsonl", [*RECORDS, broken, RECORDS[0]])
    asked = ("--dataset", file, "--out", tmp_path / "out", "--formula", "grpo")
    refused = prepare(*asked)
    assert refused.exit_code == 2
    assert not (tmp_path / "out").exists()
    skipped = prepare(*asked, "--skip-invalid")
    assert skipped.exit_code == 0, skipped.output
    assert "2 invalid records left out" in skipped.stderr
    assert "record 4, profile.1: text: must not be empty" in skipped.stderr
    assert "'q1' is taken by record 1" in skipped.stderr


def test_a_missing_baseline_is_reported(dataset: Path, tmp_path: Path) -> None:
    result = prepare("--dataset", dataset, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "uses the mean" in result.stderr


@pytest.mark.parametrize("change", [{"profile": []}, {"rubric_aspects": []}], ids=["profile", "rubric"])
def test_an_invalid_record_is_refused_or_listed(tmp_path: Path, change: dict[str, Any]) -> None:
    broken = {**record(4, "ben", "Society_and_Culture"), **change}
    file = written(tmp_path / "own.jsonl", [*RECORDS, broken])
    refused = prepare("--dataset", file, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert f"record 4, {next(iter(change))}" in refused.stderr
    skipped = prepare("--dataset", file, "--out", tmp_path / "out", "--skip-invalid", "--formula", "grpo")
    assert skipped.exit_code == 0, skipped.output
    assert skipped.stderr.splitlines()[0] == "1 invalid records left out:"
    assert f"record 4, {next(iter(change))}" in skipped.stderr.splitlines()[1]
    rows = [row for name in (TRAIN, VALIDATION) for row in rows_of(tmp_path / "out" / name)]
    assert len(rows) == 3


def test_a_folder_prepared_with_another_configuration_is_left_alone(dataset: Path, tmp_path: Path) -> None:
    asked = ("--dataset", dataset, "--out", tmp_path / "out", "--formula", "grpo")
    assert prepare(*asked).exit_code == 0
    before = (tmp_path / "out" / TRAIN).read_bytes()
    assert prepare(*asked).exit_code == 0
    refused = prepare(*asked, "--top-k", 2)
    assert refused.exit_code == 2
    assert "top_k" in refused.stderr
    assert (tmp_path / "out" / TRAIN).read_bytes() == before


def test_a_judge_without_an_address_is_refused(dataset: Path, tmp_path: Path) -> None:
    result = prepare("--dataset", dataset, "--out", tmp_path / "out", "--judge", "openai")
    assert result.exit_code == 2
    assert "--judge-url" in result.stderr


def test_a_policy_is_prepared_for_the_method_that_is_asked_for(dataset: Path, tmp_path: Path) -> None:
    asked = ("--dataset", dataset, "--out", tmp_path / "out", "--formula", "grpo")
    refused = prepare(*asked, "--method", "planpers")
    assert refused.exit_code == 2
    assert "pr2 train planner" in refused.stderr
    result = prepare(*asked, "--method", "prlm")
    assert result.exit_code == 0, result.output
    configuration = Configuration.read(tmp_path / "out" / ENVIRONMENT)
    assert configuration.method == "prlm"
    for line in (tmp_path / "out" / TRAIN).read_text("utf-8").splitlines():
        question = Row.from_label(json.loads(line)[LABEL]).question.question
        begun = METHODS["prlm"].begin(question, configuration.limits, today=Today(UNDATED))
        assert json.loads(line)["input"] == begun.prompt
