"""LaMP is evaluated by the same runner as LaMP-QA, with prompts that can be read back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.engines.errors import EngineError
from agent.engines.text import ScriptedText
from agent.policies.extractive import ExtractivePolicy
from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from training.evaluation.answers import UnfitMethod
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.loading import read_trajectories
from training.evaluation.local import LocalAnswers
from training.evaluation.records import MANIFEST, RECORDS, read_records
from training.evaluation.runs import RunOutcome
from training.folder import ChangedConfiguration
from training.judging.lexical import LexicalJudge
from training.tasks.lamp.answers import LampAnswers, prompt_in
from training.tasks.lamp.data import Question
from training.tasks.lamp.files import WrongPredictions, read_predictions
from training.tasks.lamp.inputs import query_of
from training.tasks.lamp.prompts import Budget, prompt_of
from training.tasks.lamp.sample import records as sample_records
from training.tasks.lamp.schemas import SCHEMAS
from training.tasks.lamp.task import Lamp, lamp_task


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Profiles]:
    encoder = HashEncoder()
    store = Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest)
    yield Profiles(store, encoder)
    store.close()


def answering(profiles: Profiles, model: ScriptedText, number: int, **options: Any) -> LampAnswers:
    return LampAnswers(LocalAnswers(profiles, ExtractivePolicy(), retriever="bm25"), number, model, **options)


async def run(
    out: Path,
    profiles: Profiles,
    task: Lamp,
    model: ScriptedText | None = None,
    *,
    tokens: int = 500,
    method: str = "rag",
    **options: Any,
) -> RunOutcome:
    answers = answering(profiles, model or ScriptedText(lambda prompt: "3"), task.number, tokens=tokens)
    evaluation: Evaluation[Question] = Evaluation(out, task, method, **options)
    return await evaluate(evaluation, answers, LexicalJudge())


def oracle(task: Lamp) -> ScriptedText:
    """A model that knows every output by the end of its prompt."""
    known = {
        question.input.partition("title")[2] or question.input: question.output
        for question in task.read([], "test")
    }
    return ScriptedText(lambda prompt: next(known[end] for end in known if prompt.endswith(end)))


@pytest.mark.parametrize("number", SCHEMAS)
async def test_every_task_runs_and_a_model_that_knows_has_the_best_scores(
    tmp_path: Path, profiles: Profiles, number: int
) -> None:
    task = lamp_task("lamp-sample", number)
    outcome = await run(tmp_path / "run", profiles, task, oracle(task))
    best = {1: ("accuracy", 1), 2: ("accuracy", 1), 3: ("mae", 0)}.get(number, ("rouge-1", 1))
    assert (next(iter(outcome.summaries)), outcome.summary.macro.score) == best
    assert list(outcome.summary.categories) == [f"LaMP_{number}"]
    ids = [record["id"] for record, _ in sample_records(number)]
    predictions = read_predictions(tmp_path / "run" / "responses.json", number, ids)
    assert predictions == {record["id"]: output for record, output in sample_records(number)}
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["task"] == f"LaMP_{number}"
    assert scores["scores"][best[0]] == best[1]
    assert [one["id"] for one in scores["per_question_scores"]] == ids


async def test_the_exact_prompt_can_be_read_back(tmp_path: Path, profiles: Profiles) -> None:
    task = lamp_task("lamp-sample", 4)
    model = ScriptedText(lambda prompt: "  A headline\n")
    await run(tmp_path / "run", profiles, task, model, limits={"top_k": 2})
    questions = {question.id: question for question in task.read([], "test")}
    trajectories = read_trajectories(tmp_path / "run", questions.keys())
    assert sorted(map(prompt_in, trajectories.values())) == sorted(model.prompts)
    for record in read_records(tmp_path / "run"):
        question, trajectory = questions[record.id], trajectories[record.id]
        shown = [entry for entry in question.profile if entry.id in trajectory.documents_read]
        shown.sort(key=lambda entry: trajectory.documents_read.index(entry.id))
        assert prompt_in(trajectory) == prompt_of(4, question.input, shown, Budget(model, 500))
        assert trajectory.transcript == prompt_in(trajectory) + "  A headline\n"
        assert record.response == "A headline"
        assert (record.documents_read, record.searches) == (len(shown), 1)
        assert 1 <= len(shown) <= 2
        assert record.assessment.details["gold"] == question.output
        assert trajectory.steps[0].query == query_of(4, question.input)  # type: ignore[union-attr]


async def test_without_the_profile_the_prompt_is_the_input(tmp_path: Path, profiles: Profiles) -> None:
    task = lamp_task("lamp-sample", 3)
    model = ScriptedText(lambda prompt: "3")
    await run(tmp_path / "run", profiles, task, model, method="none")
    assert sorted(model.prompts) == sorted(question.input for question in task.read([], "test"))
    assert {(one.documents_read, one.searches) for one in read_records(tmp_path / "run")} == {(0, 0)}


async def test_an_empty_profile_gives_the_bare_input(tmp_path: Path, profiles: Profiles) -> None:
    record, output = next(sample_records(4))
    (tmp_path / "dev_questions.json").write_text(json.dumps([record | {"profile": []}]))
    golds = {"task": "LaMP_4", "golds": [{"id": record["id"], "output": output}]}
    (tmp_path / "dev_outputs.json").write_text(json.dumps(golds))
    model = ScriptedText(lambda prompt: "x")
    outcome = await run(tmp_path / "run", profiles, lamp_task(str(tmp_path), 4), model, split="dev")
    assert model.prompts == [record["input"]]
    assert not outcome.failed


async def test_another_persons_entries_are_a_method(tmp_path: Path, profiles: Profiles) -> None:
    task = lamp_task("lamp-sample", 7)
    await run(tmp_path / "run", profiles, task, method="rag-random", retriever="recency")
    owner = {question.id: str(question.user_id) for question in task.read([], "test")}
    trajectories = read_trajectories(tmp_path / "run", owner.keys())
    assert len(trajectories) == 12
    for id_, trajectory in trajectories.items():
        assert len(trajectory.documents_read) == 4
        assert not any(read.startswith(owner[id_]) for read in trajectory.documents_read)


async def test_a_run_is_resumed_and_another_configuration_refused(tmp_path: Path, profiles: Profiles) -> None:
    task, out = lamp_task("lamp-sample", 4), tmp_path / "run"
    calls: list[str] = []

    def fails_once(prompt: str) -> str:
        calls.append(prompt)
        if len(calls) == 5:
            raise EngineError("unavailable", "the engine is away")
        return "a headline"

    first = await run(out, profiles, task, ScriptedText(fails_once))
    assert list(first.failed.values()) == ["the engine is away"]
    assert first.summary.macro.questions == 11
    second = await run(out, profiles, task, ScriptedText(fails_once))
    assert (len(calls), second.failed, second.summary.macro.questions) == (13, {}, 12)
    whole = await run(tmp_path / "whole", profiles, task, ScriptedText(lambda prompt: "a headline"))
    assert whole.summaries == second.summaries
    for name in ("responses.json", "scores.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(ChangedConfiguration, match="prompts"):
        await run(out, profiles, task, tokens=400)
    with pytest.raises(ChangedConfiguration, match="policy"):
        await run(out, profiles, task, ScriptedText(lambda prompt: "x", name="other"))


async def test_a_prompt_that_cannot_fit_is_owed_and_never_answered_without_the_person(
    tmp_path: Path, profiles: Profiles
) -> None:
    outcome = await run(tmp_path / "run", profiles, lamp_task("lamp-sample", 1), tokens=30)
    assert len(outcome.failed) == 12
    assert all("raise the limit" in why for why in outcome.failed.values())
    assert (tmp_path / "run" / RECORDS).read_bytes() == b""


async def test_an_empty_output_is_scored_and_counted_as_unusable(tmp_path: Path, profiles: Profiles) -> None:
    task = lamp_task("lamp-sample", 2)
    outcome = await run(tmp_path / "run", profiles, task, ScriptedText(lambda prompt: " \n"))
    assert outcome.summary.macro.score == 0
    records = list(read_records(tmp_path / "run"))
    assert {record.finish_reason for record in records} == {"invalid"}
    assert not any(record.assessment.details["usable"] for record in records)


async def test_the_manifest_says_what_the_outputs_depend_on(tmp_path: Path, profiles: Profiles) -> None:
    await run(tmp_path / "run", profiles, lamp_task("lamp-sample", 3), most=1)
    manifest = json.loads((tmp_path / "run" / MANIFEST).read_text())
    assert manifest["metrics"] == {"mae": "lower", "rmse": "lower"}
    assert manifest["prompts"] == {"version": 1, "tokens": 500, "entries": 4}
    assert manifest["policy"] == {"engine": "scripted", "model": "scripted", "decoding": {}}
    assert manifest["retriever"] == "bm25"
    assert manifest["dataset"]["name"] == "lamp-sample-3"


@pytest.mark.parametrize(
    ("method", "plan"), [("pr2", False), ("planpers", False), ("prlm", False), ("rag", True)]
)
def test_other_methods_are_refused(profiles: Profiles, method: str, plan: bool) -> None:
    with pytest.raises(UnfitMethod, match="rag and none"):
        answering(profiles, ScriptedText(str), 4).check(method, has_plan=plan)


def test_predictions_with_missing_or_extra_ids_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "predictions.json"
    file.write_text('{"task": "LaMP_4", "golds": [{"id": "a", "output": "x"}, {"id": "b", "output": "y"}]}')
    assert read_predictions(file, 4, ["b", "a"]) == {"a": "x", "b": "y"}
    with pytest.raises(WrongPredictions, match="1 predictions are missing: c"):
        read_predictions(file, 4, ["a", "b", "c"])
    with pytest.raises(WrongPredictions, match="1 predictions are extra: b"):
        read_predictions(file, 4, ["a"])
