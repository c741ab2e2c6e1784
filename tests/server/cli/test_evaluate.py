"""`pr2 evaluate` with the real store and encoder, the extractive policy and the lexical judge."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from server.http.app import create_app
from server.service import Service
from server.settings import Settings
from tests.chat_engine import chat_engine, says
from tests.engine import Dialect, Engine, Reply, Request, in_order
from tests.server.conftest import MakeService
from tests.server.live import serving

NOTES = {
    "ana": ["I grow tall sunflowers on the roof.", "My brother fixes old radios.", "Rain again today."],
    "ben": ["Swam in the cold lake.", "I collect brass keys.", "The bus was late."],
}


def record(number: int, user: str, category: str) -> dict[str, Any]:
    hobby = NOTES[user][0 if user == "ana" else 1]
    return {
        "id": f"q{number}",
        "question": "What could I show my neighbour about my hobby?",
        "category": category,
        "narrative": f"{hobby} My neighbour is curious.",
        "rubric_aspects": [{"aspect": hobby, "reason": "It is the hobby.", "evidence": hobby}],
        "profile": [{"id": f"n{i}", "text": text} for i, text in enumerate(NOTES[user])],
    }


RECORDS = [
    record(1, "ana", "Art_and_Entertainment"),
    record(2, "ben", "Society_and_Culture"),
    record(3, "ana", "Lifestyle_and_Personal_Development"),
]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in RECORDS))
    return file


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_methods_are_run_and_reported_side_by_side(dataset: Path, tmp_path: Path) -> None:
    scores = {}
    for method in ("none", "rag-random", "rag", "pr2"):
        result = evaluate("--dataset", dataset, "--method", method, "--out", tmp_path / method, "--top-k", 1)
        assert result.exit_code == 0, result.output
        assert "macro average" in result.stdout
        scores[method] = json.loads((tmp_path / method / "scores.json").read_text())["score"]
    assert scores["none"] == 0
    assert scores["rag-random"] == 0
    assert scores["pr2"] > 0
    manifest = json.loads((tmp_path / "pr2" / "manifest.json").read_text())
    assert manifest["policy"]["engine"] == "extractive"
    assert manifest["judge"] == {"name": "lexical", "comparable": False}
    assert manifest["dataset"]["questions"] == 3
    result = evaluate("report", *(tmp_path / method for method in scores), "--out", tmp_path / "page")
    assert result.exit_code == 0, result.output
    assert "lexical" in (tmp_path / "page" / "report.html").read_text()
    assert "rag-random" in (tmp_path / "page" / "report.md").read_text()


def test_the_oracle_is_given_the_rubric_as_its_plan(dataset: Path, tmp_path: Path) -> None:
    scores = {}
    for method in ("rag", "planpers-oracle"):
        out = tmp_path / method
        # One passage, so that the answer is its only sentence: what the plan says is in nothing else.
        result = evaluate("--dataset", dataset, "--method", method, "--out", out, "--top-k", 1)
        assert result.exit_code == 0, result.output
        scores[method] = json.loads((out / "scores.json").read_text())["score"]
    assert scores["planpers-oracle"] >= scores["rag"]
    lines = (tmp_path / "planpers-oracle" / "trajectories.jsonl").read_text().splitlines()
    plans = {line["id"]: line["trajectory"]["steps"][0] for line in map(json.loads, lines)}
    for one in RECORDS:
        plan = plans[one["id"]]
        assert plan["kind"] == "plan"
        assert plan["text"].splitlines()[1:] == [f"- {one['rubric_aspects'][0]['aspect']}"]


def test_a_planner_of_its_own_writes_the_plans(dataset: Path, tmp_path: Path) -> None:
    def write(request: Request) -> Reply:
        planner = request.json["model"] == "planner"
        text = "A good answer:\n- keys" if planner else '{"personalized_answer": "I collect brass keys."}'
        return says(text)

    with chat_engine(write, models=("writer", "planner")) as engine:
        policy = ("--policy", "openai", "--base-url", engine.base_url, "--model", "writer")
        result = evaluate(
            *("--dataset", dataset, "--method", "planpers", "--protocol", "json", *policy),
            *("--planner-model", "planner", "--out", tmp_path / "run"),
        )
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["policy"]["model"], manifest["planner"]["model"]) == ("writer", "planner")
    trajectories = (tmp_path / "run" / "trajectories.jsonl").read_text().splitlines()
    for line in map(json.loads, trajectories):
        assert [step["kind"] for step in line["trajectory"]["steps"]] == ["plan", "information", "answer"]
    responses = json.loads((tmp_path / "run" / "responses.json").read_text())
    assert responses["q2"] == [{"output": "I collect brass keys."}]


def test_people_rate_a_form_and_are_compared_with_the_judge(dataset: Path, tmp_path: Path) -> None:
    run, form = tmp_path / "run", tmp_path / "form.jsonl"
    assert evaluate("--dataset", dataset, "--method", "rag", "--out", run).exit_code == 0
    written = evaluate("form", run, form, "--dataset", dataset)
    assert written.exit_code == 0, written.output
    assert "3 aspects to rate" in written.stdout
    lines = [json.loads(line) for line in form.read_text().splitlines()]
    assert all(line["score"] is None and line["narrative"] for line in lines)
    form.write_text("".join(json.dumps(line | {"score": 2}) + "\n" for line in lines))
    compared = evaluate("agreement", run, form)
    assert compared.exit_code == 0, compared.output
    assert "kappa" in compared.stdout
    form.write_text(json.dumps(lines[0] | {"score": 5}) + "\n")
    refused = evaluate("agreement", run, form)
    assert refused.exit_code == 2
    assert "form.jsonl" in refused.stderr


def test_started_again_it_changes_nothing_and_another_configuration_is_refused(
    dataset: Path, tmp_path: Path
) -> None:
    asked = ("--dataset", dataset, "--out", tmp_path / "run")
    assert evaluate(*asked, "--method", "rag").exit_code == 0
    before = (tmp_path / "run" / "records.jsonl").read_bytes()
    assert evaluate(*asked, "--method", "rag").exit_code == 0
    assert (tmp_path / "run" / "records.jsonl").read_bytes() == before
    refused = evaluate(*asked, "--method", "none")
    assert refused.exit_code == 2
    assert "method: 'rag' then, 'none' now" in refused.stderr


def test_limits_of_the_environment_are_part_of_the_configuration(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--dataset", dataset, "--out", tmp_path / "run")
    assert evaluate(*asked).exit_code == 0
    monkeypatch.setenv("PR2_LIMITS__TOP_K", "7")
    refused = evaluate(*asked)
    assert refused.exit_code == 2
    assert "limits: " in refused.stderr


def test_a_question_that_will_never_be_acceptable_is_named_before_any_is_answered(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    long = RECORDS[1] | {"question": "What could I show? " * 10_000}
    file.write_text("".join(json.dumps(one) + "\n" for one in (RECORDS[0], long, *RECORDS[2:])))
    result = evaluate("--dataset", file, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "record 2, question q2: the question has 189999 characters; the limit is" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"id": "p9", "text": " "}, "profile.2: text: must not be empty"),
        ({"id": "a\nb", "text": "pots"}, "profile.2: id: 'a\\nb' cannot be an id"),
        (
            {"id": "p9", "text": "x" * 1_000_001},
            "profile.2: text: String should have at most 1000000 characters",
        ),
    ],
)
def test_a_profile_that_no_store_takes_is_named_before_any_question_is_answered(
    tmp_path: Path, item: dict[str, str], says: str
) -> None:
    file = tmp_path / "own.jsonl"
    broken = RECORDS[1] | {"profile": [*RECORDS[1]["profile"][:2], item]}
    file.write_text("".join(json.dumps(one) + "\n" for one in (RECORDS[0], broken, *RECORDS[2:])))
    result = evaluate("--dataset", file, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert f"own.jsonl, record 2, {says}" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("remote", [False, True], ids=["here", "through a server"])
def test_ids_with_a_slash_leave_nothing_owed(tmp_path: Path, make_service: MakeService, remote: bool) -> None:
    file, out = tmp_path / "own.jsonl", tmp_path / "run"
    profile = [{"id": "2024/03/a", "text": "I collect brass keys."}]
    file.write_text(json.dumps(RECORDS[1] | {"id": "q/2", "profile": profile}))
    with serving(create_app(Settings(), make_service())) as url:
        result = evaluate("--dataset", file, "--out", out, *(("--server", url) if remote else ()))
    assert result.exit_code == 0, result.output
    [answered] = map(json.loads, (out / "records.jsonl").read_text().splitlines())
    assert (answered["id"], answered["finish_reason"]) == ("q/2", "answered")
    [line] = map(json.loads, (out / "trajectories.jsonl").read_text().splitlines())
    assert line["trajectory"]["steps"][-1]["citations"][0]["document_id"] == "2024/03/a"


def test_a_question_that_a_server_refuses_ends_the_run_with_its_reason(
    tmp_path: Path, make_service: MakeService
) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps(RECORDS[0] | {"question": "What could I show? " * 10_000}))
    service: Service = make_service()
    with serving(create_app(Settings(), service)) as url:
        result = evaluate("--dataset", file, "--out", tmp_path / "run", "--server", url)
    assert result.exit_code == 2
    assert "the question has 189999 characters; the limit is" in result.stderr
    assert "(What could I show?" in result.stderr


def test_the_narrative_and_the_rubric_never_reach_what_answers(dataset: Path, tmp_path: Path) -> None:
    assert evaluate("--dataset", dataset, "--out", tmp_path / "run").exit_code == 0
    trajectories = (tmp_path / "run" / "trajectories.jsonl").read_text()
    assert "neighbour is curious" not in trajectories
    assert "It is the hobby" not in trajectories


def test_through_a_server(dataset: Path, tmp_path: Path, make_service: MakeService) -> None:
    from agent.policies.extractive import ExtractivePolicy

    service: Service = make_service(ExtractivePolicy())
    with serving(create_app(Settings(), service)) as url:
        result = evaluate("--dataset", dataset, "--out", tmp_path / "run", "--server", url)
        assert result.exit_code == 0, result.output
    assert len(service.profiles.store.users()) == 2
    records = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    assert all(one["finish_reason"] == "answered" and one["searches"] > 0 for one in records)


def test_a_server_that_is_away_leaves_every_question_owed(dataset: Path, tmp_path: Path) -> None:
    result = evaluate("--dataset", dataset, "--out", tmp_path / "run", "--server", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "still owed: q1: its profile cannot be stored: cannot reach the server" in result.stderr
    assert (tmp_path / "run" / "records.jsonl").read_text() == ""


def test_a_judge_behind_a_server_is_asked_once_for_the_same(dataset: Path, tmp_path: Path) -> None:
    verdict = {"choices": [{"message": {"content": '{"match_score": 1}'}, "finish_reason": "stop"}]}
    reply = Reply((json.dumps(verdict).encode(),), content_type="application/json")
    with Engine(in_order(reply), dialect=Dialect(completions=False, chat=True)) as engine:
        judge = ("--judge", "openai", "--judge-url", engine.base_url, "--judge-model", "tiny")
        asked = ("--dataset", dataset, *judge, "--method", "none")
        first = evaluate(*asked, "--out", tmp_path / "one")
        # The third question is the first once more, with the same response.
        assert engine.asked("/v1/chat/completions") == 2
        second = evaluate(*asked, "--out", tmp_path / "two")
        assert engine.asked("/v1/chat/completions") == 2
    for result, name in ((first, "one"), (second, "two")):
        assert result.exit_code == 0, result.output
        assert json.loads((tmp_path / name / "scores.json").read_text())["score"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give --out DIR"),
        (("--out", "run", "--dataset", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--out", "run", "--category", "artt"), "Art_and_Entertainment"),
        (("--out", "run", "--fold", "3/2"), "3/2 is no fold"),
        (("--out", "run", "--judge", "openai"), "--judge-url"),
        (("--out", "run", "--judge", "openai", "--judge-url", "http://127.0.0.1:1/v1"), "the judge: "),
        (("--out", "run", "--judge", "vllm"), "--judge-model"),
        (("--out", "run", "--judge", "vllm", "--judge-model", "x"), "pip install 'pr2[vllm]'"),
        (("--out", "run", "--judge-args", "[]"), "--judge-args must be a JSON object"),
        (("--out", "run", "--method", "planpers"), "needs a model that writes plans"),
        (
            ("--out", "run", "--policy", "openai", "--protocol", "json"),
            "a policy with the protocol json cannot",
        ),
        (("--out", "run", "--method", "psychic"), "there is no method 'psychic'; there are pr2, rag, "),
        (("report", "nowhere"), "nowhere"),
    ],
    ids=[
        *("no folder", "no file", "misspelt category", "no fold", "no judge url", "no judge"),
        *("no judge model", "no vllm", "no judge arguments", "no planner", "no searching policy"),
        *("no method", "no run"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = evaluate(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_wrong_record_is_named_by_file_record_and_field(tmp_path: Path) -> None:
    broken = [RECORDS[0], {**RECORDS[1], "rubric_aspects": [{"aspect": "Keys", "reason": "Because."}]}]
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in broken))
    result = evaluate("--dataset", file, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "own.jsonl, record 2, rubric_aspects.0.evidence" in result.stderr
