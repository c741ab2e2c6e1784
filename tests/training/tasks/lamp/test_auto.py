"""LaMP's answers by the retriever `auto`: the selector reads what it would have read of finished runs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.auto import Chooser
from agent.engines.errors import EngineError
from agent.engines.text import ScriptedText
from agent.policies.extractive import ExtractivePolicy
from agent.selecting import render_trajectory
from index.profiles import Profiles
from index.searching import AsyncSearch
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.selector import MEMBERS, ScriptedSelector, passages_in
from training.evaluation.answers import AnswerOptions, UnfitMethod
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.loading import read_trajectories
from training.evaluation.local import LocalAnswers
from training.evaluation.records import MANIFEST
from training.evaluation.runs import RunOutcome
from training.judging.lexical import LexicalJudge
from training.tasks.lamp.answers import LampAnswers
from training.tasks.lamp.data import Question
from training.tasks.lamp.task import lamp_task

NUMBER = 4


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Profiles]:
    encoder = HashEncoder()
    store = Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest)
    yield Profiles(store, encoder)
    store.close()


async def run(
    out: Path,
    profiles: Profiles,
    retriever: str,
    selector: ScriptedSelector | None = None,
    reply: Callable[[str], str] = lambda prompt: str(len(prompt)),
) -> RunOutcome:
    within = LocalAnswers(profiles, ExtractivePolicy(), selector=selector)
    chooser = Chooser(selector, AsyncSearch(profiles)) if selector else None
    answers = LampAnswers(within, NUMBER, ScriptedText(reply), tokens=500, chooser=chooser)
    evaluation: Evaluation[Question] = Evaluation(
        out, lamp_task("lamp-sample", NUMBER), "rag", most=3, retriever=retriever
    )
    return await evaluate(evaluation, answers, LexicalJudge())


@pytest.mark.parametrize("mode", ["pre", "post"])
async def test_a_member_is_chosen_by_what_its_own_run_would_show(
    tmp_path: Path, profiles: Profiles, mode: Any
) -> None:
    selector = ScriptedSelector(mode, lambda prompt, _: passages_in(prompt) == 0)
    await run(tmp_path / "auto", profiles, "auto", selector)
    ids = {question.id for question in lamp_task("lamp-sample", NUMBER).read([], "test")}
    found = read_trajectories(tmp_path / "auto", ids)
    assert len(found) == 3
    shown = set()
    for member in MEMBERS:
        await run(tmp_path / member, profiles, member)
        for name, trajectory in read_trajectories(tmp_path / member, ids).items():
            output = trajectory.answer.text if trajectory.answer else ""
            shown.add((render_trajectory(trajectory), output if mode == "post" else ""))
            if member == "none":
                assert found[name].segments == trajectory.segments
    assert set(selector.shown) == shown
    for trajectory in found.values():
        assert trajectory.selection is not None
        assert (trajectory.selection.mode, trajectory.selection.retriever) == (mode, "none")
        assert trajectory.total_ms >= trajectory.selection.ms
    manifest = json.loads((tmp_path / "auto" / MANIFEST).read_text())
    assert manifest["selector"] == {"mode": mode, "members": list(MEMBERS)}


async def test_auto_without_a_selector_is_refused(profiles: Profiles) -> None:
    within = LocalAnswers(profiles, ExtractivePolicy())
    answers = LampAnswers(within, NUMBER, ScriptedText(lambda prompt: "x"), tokens=500)
    with pytest.raises(UnfitMethod, match="pr2 train selector"):
        await answers.answer("ana", "article: a text", AnswerOptions("rag", "auto"))


async def test_a_member_that_fails_leaves_the_question_owed(tmp_path: Path, profiles: Profiles) -> None:
    asked = {question.input for question in lamp_task("lamp-sample", NUMBER).read([], "test")}

    def reply(prompt: str) -> str:
        if prompt in asked:  # The member `none` alone has this prompt.
            raise EngineError("unavailable", "gone")
        return "x"

    selector = ScriptedSelector("post", lambda prompt, _: 0)
    outcome = await run(tmp_path / "run", profiles, "auto", selector, reply)
    assert list(outcome.failed.values()) == ["gone"] * 3
    assert selector.shown == []
