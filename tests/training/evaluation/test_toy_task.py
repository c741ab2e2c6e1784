"""A task without rubrics and judges, added by one class and one registration, evaluated by the library."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.policies.extractive import ExtractivePolicy
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Policy
from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from training.evaluation.evaluate import Evaluation, EvaluationError, evaluate
from training.evaluation.loading import load_runs
from training.evaluation.local import LocalAnswers
from training.evaluation.records import MANIFEST, RECORDS, Record, read_records
from training.evaluation.runs import RunOutcome
from training.evaluation.summary import CategoryScore, as_text, mean_score
from training.evaluation.task import Direction, Records, Score
from training.folder import ChangedConfiguration
from training.folds import Fold
from training.judging.judge import Judge
from training.judging.lexical import LexicalJudge
from training.tasks import TASKS, register, task_named


@dataclass(frozen=True)
class Note:
    id: str
    text: str


@dataclass(frozen=True)
class Choice:
    """Which of two things somebody prefers."""

    id: str
    category: str
    question: str
    label: str
    profile: Sequence[Note]


CHOICES = (
    Choice("q1", "drinks", "Do I prefer tea or coffee?", "tea", (Note("n", "I prefer green tea."),)),
    Choice("q2", "drinks", "Do I prefer milk or water?", "milk", (Note("n", "I prefer tap water."),)),
    Choice("q3", "sports", "Do I prefer chess or golf?", "golf", (Note("n", "I prefer golf by far."),)),
)


class Preferences:
    name = "preferences"

    def split(self, name: str) -> str | None:
        return None

    def read(
        self, categories: Sequence[str], split: str, skip: Callable[[Any], None] | None = None
    ) -> Iterator[Choice]:
        return (choice for choice in CHOICES if not categories or choice.category in categories)

    def metrics(self, judge: Judge) -> Sequence["Accuracy"]:
        return (Accuracy(),)

    def plan(self, question: Choice) -> Sequence[str]:
        return ()

    def write(self, folder: Path, records: Records) -> None:
        correct = {record.id: record.assessment.details["correct"] for record in records()}
        (folder / "correct.json").write_text(json.dumps(correct))


class Accuracy:
    name = "accuracy"
    direction: Direction = "higher"
    configuration: Mapping[str, Any] = {}

    async def score(self, question: Choice, response: str) -> Score:
        correct = question.label in response
        return Score(float(correct), {"correct": correct})

    def aggregate(self, records: Iterable[Record]) -> CategoryScore:
        return mean_score(self.name, records)


@pytest.fixture
def registered() -> Iterator[None]:
    register(Preferences())
    yield
    del TASKS["preferences"]


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Profiles]:
    encoder = HashEncoder()
    store = Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest)
    yield Profiles(store, encoder)
    store.close()


async def run(out: Path, profiles: Profiles, policy: Policy | None = None, **options: Any) -> RunOutcome:
    answers = LocalAnswers(profiles, policy or ExtractivePolicy(), retriever="bm25")
    evaluation: Evaluation[Any] = Evaluation(out, task_named("preferences"), **options)
    return await evaluate(evaluation, answers, LexicalJudge())


@pytest.mark.usefixtures("registered")
async def test_a_task_with_accuracy_is_evaluated_resumed_and_summarized(
    tmp_path: Path, profiles: Profiles
) -> None:
    out = tmp_path / "run"
    assert (await run(out, profiles, most=1)).summary.macro.score == 1.0
    before = (out / RECORDS).read_bytes()
    with pytest.raises(ChangedConfiguration, match="dataset"):
        await run(out, profiles)
    outcome = await run(tmp_path / "all", profiles)
    assert {name: one.score for name, one in outcome.summary.categories.items()} == {
        "drinks": 0.5,
        "sports": 1,
    }
    assert list(outcome.summaries) == ["accuracy"]
    assert outcome.summary.macro == CategoryScore(3, 0.75, 0.75, 0, 0)
    assert as_text(outcome.summary).splitlines()[-1] == "macro average          3  0.7500"
    manifest = json.loads((tmp_path / "all" / MANIFEST).read_text())
    assert manifest["metrics"] == {"accuracy": "higher"}
    assert "judge" not in manifest
    assert json.loads((tmp_path / "all" / "correct.json").read_text()) == {
        "q1": True,
        "q2": False,
        "q3": True,
    }
    assert (await run(out, profiles, most=1)).summary.macro.score == 1.0
    assert (out / RECORDS).read_bytes() == before


@pytest.mark.usefixtures("registered")
async def test_folds_share_the_data_and_no_question(tmp_path: Path, profiles: Profiles) -> None:
    await run(tmp_path / "all", profiles)
    whole = json.loads((tmp_path / "all" / MANIFEST).read_text())
    assert "fold" not in whole
    asked: list[str] = []
    for number in (1, 2):
        out = tmp_path / str(number)
        await run(out, profiles, fold=Fold(number, 2))
        manifest = json.loads((out / MANIFEST).read_text())
        assert manifest["fold"] == f"{number}/2"
        assert manifest["dataset"]["hash"] == whole["dataset"]["hash"]
        assert manifest["dataset"]["questions"] > 0
        asked += [record.id for record in load_runs([out])[0].records]
    assert sorted(asked) == ["q1", "q2", "q3"]
    with pytest.raises(EvaluationError, match="no question to answer in fold 1/1000"):
        await run(tmp_path / "none", profiles, fold=Fold(1, 1000))


@pytest.mark.usefixtures("registered")
async def test_records_without_rubrics_come_back_as_they_were(tmp_path: Path, profiles: Profiles) -> None:
    scripted = ScriptedPolicy(["<think>Easy.</think><answer>golf</answer>"])
    await run(tmp_path / "run", profiles, scripted, method="none")
    records = {record.id: record for record in read_records(tmp_path / "run")}
    assert {name: record.score for name, record in records.items()} == {"q1": 0.0, "q2": 0.0, "q3": 1.0}
    assert records["q3"].scores == {"accuracy": 1.0}
    assert records["q3"].aspects == ()
    assert records["q3"].score_of_judged == 1.0
    assert records["q3"].assessment.details == {"correct": True}


@pytest.mark.usefixtures("registered")
async def test_a_task_without_plans_has_no_oracle(tmp_path: Path, profiles: Profiles) -> None:
    with pytest.raises(EvaluationError, match="preferences has no plans"):
        await run(tmp_path / "run", profiles, method="planpers-oracle")
    with pytest.raises(EvaluationError, match="there is no method 'psychic'; there are pr2, "):
        await run(tmp_path / "run", profiles, method="psychic")


@pytest.mark.usefixtures("registered")
def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="there is a task 'preferences' already"):
        register(Preferences())


def test_evaluating_imports_neither_typer_nor_the_server() -> None:
    code = (
        "import sys, training.evaluation.evaluate, training.evaluation.local, training.tasks, "
        "training.judging.factory\n"
        "print(sorted({'typer', 'server'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
