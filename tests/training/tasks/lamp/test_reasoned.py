"""LaMP by the method prlm: the service's episode, searched by LaMP's query and scored on its answer."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from agent import prompts
from agent.episode import Episode
from agent.policies.extractive import ExtractivePolicy
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Policy
from agent.trajectory import Information, Today
from index.profiles import Profiles
from index.values import Passage
from tests.training.tasks.lamp.test_answers import profiles as profiles
from training.evaluation.answers import AnswerOptions, UnfitMethod
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.loading import read_trajectories
from training.evaluation.local import LocalAnswers
from training.evaluation.profiles import NOBODY, day_of
from training.evaluation.records import MANIFEST, read_records
from training.evaluation.runs import RunOutcome
from training.judging.lexical import LexicalJudge
from training.tasks.lamp.data import Question
from training.tasks.lamp.inputs import query_of
from training.tasks.lamp.metrics import rouge
from training.tasks.lamp.reasoned import ReasonedAnswers
from training.tasks.lamp.schemas import WRITTEN
from training.tasks.lamp.task import lamp_task


class Recorded(LocalAnswers):
    """Records the queries of the searches."""

    def __init__(self, profiles: Profiles) -> None:
        super().__init__(profiles, ExtractivePolicy(), retriever="bm25")
        self.queries: list[str] = []
        self.days: list[date | None] = []

    async def search(
        self, user: str, query: str, k: int, retriever: str | None, as_of: date | None = None
    ) -> Sequence[Passage]:
        self.queries.append(query)
        self.days.append(as_of)
        return await super().search(user, query, k, retriever, as_of)


async def run(out: Path, within: Recorded, number: int, policy: Policy, **options: object) -> RunOutcome:
    evaluation: Evaluation[Question] = Evaluation(
        out,
        lamp_task("lamp-sample", number),
        "prlm",
        **options,  # type: ignore[arg-type]
    )
    return await evaluate(evaluation, ReasonedAnswers(within, number, policy), LexicalJudge())


@pytest.mark.parametrize("number", WRITTEN)
async def test_an_input_is_answered_by_the_services_episode(
    tmp_path: Path, profiles: Profiles, number: int
) -> None:
    within = Recorded(profiles)
    turn = "<think>They like trains [1].</think><answer>A train [1] to Otta [9]</answer>"
    await run(tmp_path / "run", within, number, ScriptedPolicy([turn]), limits={"top_k": 2})
    questions = {question.id: question for question in lamp_task("lamp-sample", number).read([], "")}
    assert sorted(within.queries) == sorted(query_of(number, one.input) for one in questions.values())
    assert sorted(map(str, within.days)) == sorted(str(day_of(one.profile)) for one in questions.values())
    trajectories = read_trajectories(tmp_path / "run", questions.keys())
    for record in read_records(tmp_path / "run"):
        trajectory = trajectories[record.id]
        assert [step.kind for step in trajectory.steps] == ["information", "thought", "answer"]
        assert trajectory.segments[0].text.startswith(prompts.REASONING_INSTRUCTIONS)
        assert trajectory.today == Today(day_of(questions[record.id].profile))
        information = trajectory.steps[0]
        assert isinstance(information, Information)
        assert 1 <= len(information.passages) <= 2
        own = {entry.id for entry in questions[record.id].profile}
        assert own.issuperset(trajectory.documents_read)
        assert record.response == "A train to Otta", "without thoughts, and without marks"
        gold = questions[record.id].output
        assert record.scores["rouge-1"] == rouge("rouge1", gold, "A train to Otta")
    predictions = json.loads((tmp_path / "run" / "responses.json").read_text())["golds"]
    assert {one["output"] for one in predictions} == {"A train to Otta"}
    manifest = json.loads((tmp_path / "run" / MANIFEST).read_text())
    assert (manifest["method"], manifest["retriever"]) == ("prlm", "bm25")
    assert manifest["limits"]["max_tokens"] == 768
    assert manifest["prompt_version"] == prompts.PROMPT_VERSION


async def test_an_answer_in_the_thoughts_or_none_at_all_scores_nothing(
    tmp_path: Path, profiles: Profiles
) -> None:
    task = lamp_task("lamp-sample", 4)
    known = {question.input: question.output for question in task.read([], "")}

    class Thinks(ScriptedPolicy):
        """Writes the reference, but only into its thought."""

        def generate(self, episode: Episode, max_tokens: int):  # type: ignore[no-untyped-def]
            turn = f"<think>{known[episode.question]}</think><answer>[3]</answer>"
            return ScriptedPolicy([turn]).generate(episode, max_tokens)

    outcome = await run(tmp_path / "run", Recorded(profiles), 4, Thinks([]))
    assert outcome.summary.macro.score == 0
    assert {record.response for record in read_records(tmp_path / "run")} == {""}


async def test_a_person_without_a_profile_reads_that_nothing_was_found(profiles: Profiles) -> None:
    [question, *_] = lamp_task("lamp-sample", 7).read([], "")
    within = Recorded(profiles)
    policy = ScriptedPolicy(["<think>No one.</think><answer>x</answer>"])
    answers = ReasonedAnswers(within, 7, policy)
    trajectory = await answers.answer(NOBODY, question.input, AnswerOptions("prlm"))
    assert within.queries == []
    assert prompts.NOTHING_FOUND in trajectory.transcript
    assert trajectory.finish_reason == "answered"


@pytest.mark.parametrize(("number", "method"), [(1, "prlm"), (3, "prlm"), (4, "rag"), (4, "pr2")])
def test_labels_and_other_methods_are_refused(profiles: Profiles, number: int, method: str) -> None:
    answers = ReasonedAnswers(Recorded(profiles), number, ScriptedPolicy([]))
    with pytest.raises(UnfitMethod, match="tasks 4, 5, 6, 7"):
        answers.check(method, has_plan=False)
    with pytest.raises(UnfitMethod, match="not auto"):
        answers.describe("auto", {})
