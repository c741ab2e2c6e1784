"""`pr2 train feedback` with the real encoder: a tiny T5, scripted servers, and the extractive policy."""

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from server.cli.collecting import cost
from tests.engine import VLLM, Engine, Reply, Request, fails, writes
from tests.server.cli.process import PR2, ROOT
from tests.server.cli.test_train import written
from tests.tiny_t5 import make_t5
from training.feedback.outputs import Spent
from training.feedback.records import Feedback, read_feedback, read_manifest
from training.tasks.lamp.inputs import query_of
from training.tasks.lamp.task import lamp_task


def pr2(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def feedback(out: Path, *arguments: object) -> Result:
    return pr2("train", "feedback", "--out", out, *arguments)


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_t5(tmp_path_factory.mktemp("models") / "tiny-t5", limit=512)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return written(tmp_path / "own.jsonl", "ana", "ben")


def utilities(found: Sequence[Feedback]) -> list[float | None]:
    return [document.utility for one in found for document in one.documents]


@pytest.mark.parametrize("task", range(1, 8))
def test_t5_gives_feedback_on_every_task_of_lamp(t5: Path, tmp_path: Path, task: int) -> None:
    asked = ("--benchmark", "lamp", "--task", task, "--limit", 2, "--documents", 2)
    chosen = ("--engine", "seq2seq", "--model", t5, "--max-tokens", 4)
    result = feedback(tmp_path / "feedback", *asked, *chosen)
    assert result.exit_code == 0, result.output
    assert "4 utilities of documents for 2 questions (4 calls, 0 kept from before)" in result.output
    found = read_feedback(tmp_path / "feedback")
    questions = list(lamp_task("lamp-sample", task).read([], ""))[:2]
    for one, question in zip(found, questions, strict=True):
        assert (one.id, one.query) == (question.id, query_of(task, question.input))
        texts = {entry.id: entry.text for entry in question.profile}
        assert all(texts[document.id] == document.text for document in one.documents)
    assert all(utility is not None and 0 <= utility <= 1 for utility in utilities(found))
    manifest = read_manifest(tmp_path / "feedback")
    assert manifest["task"] == f"lamp-sample-{task}"
    assert manifest["encoder"]["name"] == "minilm"
    assert manifest["model"]["decoding"] == {"beams": 4, "temperature": 0.0, "max_tokens": 4}


def test_feedback_by_likelihood_keeps_dates_in_the_texts_and_resumes_for_nothing(
    t5: Path, tmp_path: Path
) -> None:
    asked = ("--benchmark", "lamp", "--task", 4, "--limit", 1, "--whole-profile", "--dates")
    chosen = ("--engine", "seq2seq", "--model", t5, "--measure", "likelihood")
    assert feedback(tmp_path / "feedback", *asked, *chosen).exit_code == 0
    (found,) = read_feedback(tmp_path / "feedback")
    (question, *_) = lamp_task("lamp-sample", 4, dates=True).read([], "")
    assert {document.text for document in found.documents} == {entry.text for entry in question.profile}
    assert all(" date: " in document.text for document in found.documents)
    assert all(utility is not None and utility < 0 for utility in utilities([found]))
    again = feedback(tmp_path / "feedback", *asked, *chosen)
    assert (again.exit_code, "(0 calls, 0 kept from before)" in again.output) == (0, True)
    without_dates = feedback(tmp_path / "feedback", *asked[:-1], *chosen)
    assert without_dates.exit_code == 2
    assert "begun with another configuration" in without_dates.output
    # Prompts have no dates, so another ranking finds the outputs of this one.
    other = feedback(tmp_path / "other", *asked[:-1], *chosen, "--retriever", "bm25", "--prices", 1, 1)
    assert re.search(r"\(0 calls, \d+ kept from before, cost at most about 0.00\)", other.output)
    assert read_manifest(tmp_path / "other")["encoder"] is None


def test_the_judge_scores_the_policys_answer_with_each_document(dataset: Path, tmp_path: Path) -> None:
    asked = ("--dataset", dataset, "--documents", 3, "--policy", "extractive")
    result = feedback(tmp_path / "feedback", *asked)
    assert result.exit_code == 0, result.output
    found = read_feedback(tmp_path / "feedback")
    assert [len(one.documents) for one in found] == [3, 3]
    assert len(set(utilities(found))) > 1
    assert all(utility is not None and 0 <= utility <= 1 for utility in utilities(found))
    manifest = read_manifest(tmp_path / "feedback")
    assert (manifest["task"], manifest["metric"]["judge"]) == (str(dataset), "lexical")
    assert manifest["model"]["engine"] == "extractive"


def test_a_measure_that_the_engine_does_not_have_is_refused_at_once(tmp_path: Path) -> None:
    with Engine(lambda request: writes("Tea"), dialect=VLLM) as engine:
        asked = ("--benchmark", "lamp", "--task", 4, "--measure", "likelihood", "--limit", 1)
        chosen = ("--engine", "openai", "--base-url", engine.base_url, "--model", "tiny")
        result = feedback(tmp_path / "feedback", *asked, *chosen)
    assert result.exit_code == 2
    assert "cannot tell the likelihood of a text; use seq2seq or vllm in process" in result.output
    assert not (tmp_path / "feedback" / "manifest.json").exists()


def test_failed_calls_are_null_and_owed_and_the_exit_code_is_1(tmp_path: Path) -> None:
    def some(request: Request) -> Reply:
        return fails(400) if len(engine.completions) % 2 else writes("Tea")

    asked = ("--benchmark", "lamp", "--task", 4, "--limit", 2, "--documents", 2, "--concurrency", 1)
    with Engine(some, dialect=VLLM) as engine:
        chosen = ("--engine", "openai", "--base-url", engine.base_url, "--model", "tiny")
        result = feedback(tmp_path / "feedback", *asked, *chosen)
        assert result.exit_code == 1
        assert "still owed: 2 documents whose call failed" in result.output
        assert utilities(read_feedback(tmp_path / "feedback")).count(None) == 2
    with Engine(lambda request: writes("Tea"), dialect=VLLM) as engine:
        chosen = ("--engine", "openai", "--base-url", engine.base_url, "--model", "tiny")
        result = feedback(tmp_path / "feedback", *asked, *chosen)
        assert result.exit_code == 0, result.output
        assert len(engine.completions) == 2
        assert None not in utilities(read_feedback(tmp_path / "feedback"))


def test_a_killed_command_continues_while_the_engine_stays_up(tmp_path: Path) -> None:
    is_up = False

    def hangs_at_first(request: Request) -> Reply:
        return writes("Tea") if is_up or len(engine.completions) < 3 else Reply(("hang",))

    out = tmp_path / "feedback"
    with Engine(hangs_at_first, dialect=VLLM) as engine:
        asked = ["--benchmark", "lamp", "--task", "4", "--limit", "2", "--documents", "2"]
        asked += [
            "--engine",
            "openai",
            "--base-url",
            engine.base_url,
            "--model",
            "tiny",
            "--concurrency",
            "1",
        ]
        process = subprocess.Popen([*PR2, "train", "feedback", "--out", str(out), *asked], cwd=ROOT)
        while not asyncio.run(engine.until(lambda: len(engine.completions) == 3)):
            assert process.poll() is None
        process.kill()
        assert process.wait() == -signal.SIGKILL
        is_up = True
        result = feedback(out, *asked)
        # Two outputs were kept, one was lost with the process, and one had not been begun.
        assert len(engine.completions) == 5
    assert result.exit_code == 0, result.output
    assert "4 utilities of documents for 2 questions (2 calls" in result.output
    assert None not in utilities(read_feedback(out))


def test_citations_of_a_run_are_feedback(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert (
        pr2("evaluate", "--dataset", "sample", "--method", "rag", "--limit", 4, "--out", run).exit_code == 0
    )
    result = feedback(tmp_path / "feedback", "--from-run", run)
    assert result.exit_code == 0, result.output
    found = read_feedback(tmp_path / "feedback")
    scores = {
        one["id"]: one["score"] for one in map(json.loads, (run / "records.jsonl").read_text().splitlines())
    }
    assert {one.id for one in found} <= scores.keys()
    assert all({document.utility for document in one.documents} <= {scores[one.id], 0.0} for one in found)
    assert any(utilities(found))
    assert all(one.user for one in found)
    refused = feedback(tmp_path / "other", "--from-run", tmp_path / "nowhere")
    assert refused.exit_code == 2
    assert "holds no run" in refused.output


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--measure", "likelihood"), "--measure likelihood needs references"),
        (("--task", 3), "--task: only with --benchmark lamp"),
        (("--benchmark", "lamp"), "--benchmark lamp needs --task"),
        (("--benchmark", "lamp", "--task", 4), "give --engine, one of openai, vllm, seq2seq"),
        (("--policy", "seq2seq"), "seq2seq"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, arguments: Sequence[object], why: str) -> None:
    result = feedback(tmp_path / "feedback", *arguments)
    assert result.exit_code == 2
    assert why in result.output
    assert not (tmp_path / "feedback").exists()


def test_the_cost_follows_the_prices_per_million_tokens() -> None:
    assert cost(Spent(prompt_tokens=1_000_000, written_tokens=500_000), (2.0, 4.0)) == 4.0
