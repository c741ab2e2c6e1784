"""Feedback by a judge: the answer with exactly one document, scored by the question's rubric."""

from pathlib import Path

import pytest

from agent.engines.errors import EngineError
from agent.episode import Episode
from agent.policies.scripted import ScriptedPolicy
from agent.trajectory import Limits
from training.cachefile import CacheUnavailable
from training.feedback.outputs import Outputs
from training.feedback.rubric import RubricUtility
from training.feedback.utility import NoUtility
from training.judging.judge import RubricAspect, RubricQuestion, Unjudged
from training.judging.lexical import LexicalJudge
from training.tasks.lampqa.data import Aspect, Item, Question

QUESTION = Question(
    id="q",
    question="Which tea?",
    category="c",
    narrative="I like green tea.",
    rubric_aspects=(
        Aspect(aspect="Green tea", reason="They like it.", evidence=""),
        Aspect(aspect="Bergen", reason="They live there.", evidence=""),
    ),
    profile=(Item(id="1", text="I drink green tea."), Item(id="2", text="I own a boat.")),
)
ABOUT_TEA, ABOUT_BOATS = QUESTION.profile


class Reading(ScriptedPolicy):
    """Answers with the text of its first passage, and keeps the transcripts that it was given."""

    def __init__(self) -> None:
        super().__init__([])
        self.transcripts: list[str] = []

    def generate(self, episode: Episode, max_tokens: int):  # type: ignore[no-untyped-def]
        self.transcripts.append(episode.prompt)
        text = episode.reads[0].passage.text
        self.turns = [f"<think>So.</think><answer>{text} [1]</answer>"]
        return super().generate(episode, max_tokens)


class Failing:
    name = "failing"
    comparable = False

    async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        if aspect.aspect == "Bergen":
            raise Unjudged("no verdict")
        return 2

    async def aclose(self) -> None:
        pass


def utility(policy: ScriptedPolicy, outputs: Outputs, model: str = "tiny") -> RubricUtility:
    return RubricUtility(policy, {"model": model}, LexicalJudge(), outputs, Limits())


async def test_the_policy_reads_exactly_the_document_and_the_judge_scores_its_answer(tmp_path: Path) -> None:
    policy = Reading()
    with Outputs(tmp_path / "outputs.db") as outputs:
        measured = utility(policy, outputs)
        # One aspect of two is covered very well by the text on tea, and none by the one on boats.
        assert await measured(QUESTION, [ABOUT_TEA]) == 0.5
        assert await measured(QUESTION, [ABOUT_BOATS]) == 0.0
        assert outputs.spent.calls == 2
        assert outputs.spent.written_tokens == 2
    tea, boats = policy.transcripts
    assert "I drink green tea." in tea
    assert "boat" not in tea
    assert "I own a boat." in boats
    assert all("Which tea?" in one and "[1]" in one and "[2] " not in one for one in (tea, boats))
    assert measured.configuration["metric"] == {"judge": "lexical", "comparable": False}


async def test_an_answer_is_kept_whatever_becomes_of_its_verdict(tmp_path: Path) -> None:
    policy = Reading()
    with Outputs(tmp_path / "outputs.db") as outputs:
        unjudged = RubricUtility(policy, {"model": "tiny"}, Failing(), outputs, Limits())
        with pytest.raises(NoUtility, match="no verdict on an aspect"):
            await unjudged(QUESTION, [ABOUT_TEA])
        assert await utility(policy, outputs)(QUESTION, [ABOUT_TEA]) == 0.5
        assert len(policy.transcripts) == 1
        assert (outputs.spent.calls, outputs.spent.kept) == (1, 1)
        # Another model's answers are not used.
        await utility(policy, outputs, "other")(QUESTION, [ABOUT_TEA])
        assert len(policy.transcripts) == 2


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        ([EngineError("unavailable", "the engine is away")], "the engine is away"),
        (["<think>Half a", EngineError("broken_stream", "it broke off")], "it broke off"),
    ],
)
async def test_a_failed_answer_has_no_utility_and_is_not_kept(
    tmp_path: Path, turn: list[str | Exception], why: str
) -> None:
    with Outputs(tmp_path / "outputs.db") as outputs:
        with pytest.raises(NoUtility, match=why):
            await utility(ScriptedPolicy([turn]), outputs)(QUESTION, [ABOUT_TEA])
        assert await utility(Reading(), outputs)(QUESTION, [ABOUT_TEA]) == 0.5
        assert outputs.spent.calls == 1


async def test_an_unusable_answer_is_the_models_and_scores_0(tmp_path: Path) -> None:
    with Outputs(tmp_path / "outputs.db") as outputs:
        policy = ScriptedPolicy(["<answer></answer>"])
        assert await utility(policy, outputs)(QUESTION, [ABOUT_TEA]) == 0.0


async def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outputs.db").write_text("notes")
    with pytest.raises(CacheUnavailable, match=r"outputs\.db: file is not a database"):
        Outputs(tmp_path / "outputs.db")
