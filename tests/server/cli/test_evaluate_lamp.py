"""`pr2 evaluate --benchmark lamp` with a tiny T5, and through a server's completions."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from tests.engine import PLAIN, Engine, Reply, Request, writes
from tests.server.cli.process import PR2, environment
from tests.tiny_t5 import make_t5
from training.tasks.lamp.sample import records
from training.tasks.lamp.schemas import SCHEMAS


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_t5(tmp_path_factory.mktemp("t5"), limit=512)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(lambda request: writes("4"), dialect=PLAIN) as started:
        yield started


def by_server(engine: Engine, *more: object) -> list[object]:
    return [*more, "--engine", "openai", "--base-url", engine.base_url, "--model", "tiny"]


@pytest.mark.parametrize("number", SCHEMAS)
def test_all_tasks_run_through_t5_with_four_beams(t5: Path, tmp_path: Path, number: int) -> None:
    arguments = ["--benchmark", "lamp", "--task", number, "--out", tmp_path / "run", "--limit", 2]
    model = ["--engine", "seq2seq", "--model", t5, "--max-tokens", 4]
    result = evaluate(*arguments, *model, "--retriever", "recency")
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["policy"]["decoding"] == {"beams": 4, "temperature": 0.0, "max_tokens": 4}
    assert manifest["dataset"]["name"] == f"lamp-sample-{number}"
    assert (manifest["method"], manifest["retriever"]) == ("rag", "recency")
    predictions = json.loads((tmp_path / "run" / "responses.json").read_text())
    assert [gold["id"] for gold in predictions["golds"]] == [
        record["id"] for record, _ in list(records(number))[:2]
    ]
    assert "LaMP_" in result.stdout


def test_runs_are_reported_beside_the_published_scores(t5: Path, engine: Engine, tmp_path: Path) -> None:
    for method in ("none", "rag"):
        arguments = ["--benchmark", "lamp", "--task", 3, "--method", method, "--out", tmp_path / method]
        result = evaluate(*arguments, *by_server(engine, "--tokenizer", t5), "--retriever", "bm25")
        assert result.exit_code == 0, result.output
    result = evaluate("report", tmp_path / "none", tmp_path / "rag")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report.md").read_text()
    assert "FlanT5-XXL" in page
    assert "published: BM25" in page
    assert "0.298" in page


def test_predictions_are_scored_and_wrong_ids_refused(tmp_path: Path) -> None:
    golds = [{"id": record["id"], "output": output} for record, output in records(2)]
    golds[0]["output"] = "horror"
    file = tmp_path / "predictions.json"
    file.write_text(json.dumps({"task": "LaMP_2", "golds": golds}))
    result = evaluate("predictions", file, "--task", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == f"accuracy  {11 / 12:.4f}"
    assert result.stdout.splitlines()[-1] == "12 questions, 1 unusable outputs"
    file.write_text(json.dumps({"task": "LaMP_2", "golds": golds[1:]}))
    refused = evaluate("predictions", file, "--task", 2)
    assert (refused.exit_code, "1 predictions are missing" in refused.output) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchmark", "lamp"], "needs --task"),
        (["--benchmark", "lamp", "--task", 4], "give --engine, one of"),
        (["--task", 4], "--task: only with --benchmark lamp"),
        (["--dates", "--beams", 4], "--dates, --beams: only with --benchmark lamp"),
        (["--benchmark", "lamp", "--task", 4, "--engine", "seq2seq"], "needs a model"),
        (["--benchmark", "lamp", "--task", 4, "--engine", "openai", "--max-searches", 2], "not for LaMP"),
        (
            ["--benchmark", "lamp", "--task", 4, "--engine", "openai", "--beams", 4],
            "beam",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, arguments: list[object], message: str) -> None:
    result = evaluate("--out", tmp_path / "run", *arguments)
    assert (result.exit_code, message in result.output) == (2, True), result.output
    assert not (tmp_path / "run" / "records.jsonl").exists()


def test_a_folder_without_the_task_is_refused_by_name(engine: Engine, tmp_path: Path) -> None:
    arguments = ["--benchmark", "lamp", "--task", 4, "--dataset", tmp_path, "--out", tmp_path / "run"]
    result = evaluate(*arguments, *by_server(engine))
    assert result.exit_code == 2
    assert "time/LaMP_4/dev/dev_questions.json" in result.output


def test_prlm_is_answered_by_the_policy_and_not_by_a_text_model(tmp_path: Path) -> None:
    run = ["--benchmark", "lamp", "--task", 7, "--method", "prlm", "--limit", 2, "--out", tmp_path / "run"]
    result = evaluate(*run, "--retriever", "recency", "--top-k", 1)
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["policy"]["engine"], manifest["limits"]["top_k"]) == ("extractive", 1)
    for option in (["--engine", "openai"], ["--beams", 2], ["--max-searches", 3]):
        refused = evaluate(*run, *option)
        assert (refused.exit_code, f"{option[0]}: not for prlm" in refused.output) == (2, True)


def test_other_methods_are_refused(engine: Engine, tmp_path: Path) -> None:
    arguments = ["--benchmark", "lamp", "--task", 4, "--method", "pr2", "--out", tmp_path / "run"]
    result = evaluate(*arguments, *by_server(engine))
    assert (result.exit_code, "rag and none" in result.output) == (2, True)


def test_a_killed_run_is_resumed_while_the_engine_stays_up(t5: Path, tmp_path: Path) -> None:
    asked: list[str] = []
    victim: list[subprocess.Popen[bytes]] = []

    def reply(request: Request) -> Reply:
        asked.append(request.text)
        if len(asked) == 5:
            victim[0].kill()
        return writes(str(1 + len(request.text) % 5))

    with Engine(reply, dialect=PLAIN) as engine:
        model = by_server(engine, "--tokenizer", t5)
        run = ["--benchmark", "lamp", "--task", 3, "--retriever", "recency", "--concurrency", 1, *model]
        command = [*PR2, "evaluate", *map(str, run), "--out", str(tmp_path / "run")]
        victim.append(subprocess.Popen(command, env=environment()))
        assert victim[0].wait() == -signal.SIGKILL
        assert len((tmp_path / "run" / "records.jsonl").read_text().splitlines()) == 4
        result = evaluate(*run, "--out", tmp_path / "run")
        assert result.exit_code == 0, result.output
        # The one that was killed is asked again.
        assert (len(asked), len(set(asked))) == (13, 12)
        assert evaluate(*run, "--out", tmp_path / "whole").exit_code == 0
    for name in ("responses.json", "scores.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
