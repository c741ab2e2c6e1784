"""Answers by the retriever `auto` without a service."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.policies.scripted import ScriptedPolicy
from agent.trajectory import Limits
from index.documents import Document
from index.errors import UnknownRetriever
from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.selector import MEMBERS, ScriptedSelector, passages_in
from training.evaluation.answers import AnswerOptions
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.local import LocalAnswers
from training.evaluation.records import MANIFEST, read_records
from training.folder import ChangedConfiguration
from training.judging.lexical import LexicalJudge
from training.tasks import task_named

QUESTION = "Do I love pears?"
ANSWER = "<think>So.</think><answer>Pears.</answer>"
SEARCH = "<think>Hm.</think><search>pears</search>"


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Profiles]:
    encoder = HashEncoder()
    store = Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest)
    made = Profiles(store, encoder)
    texts = {"a1": "I love pears.", "a2": "Rain.", "a3": "Snow."}
    made.put("ana", [Document(id=name, text=text) for name, text in texts.items()])
    yield made
    store.close()


def answers_of(profiles: Profiles, selector: ScriptedSelector | None, **options: Any) -> LocalAnswers:
    return LocalAnswers(
        profiles, ScriptedPolicy([SEARCH, ANSWER]), retriever="auto", selector=selector, **options
    )


@pytest.mark.parametrize("mode", ["pre", "post"])
@pytest.mark.parametrize("method", ["pr2", "rag"])
async def test_a_member_is_chosen(profiles: Profiles, mode: Any, method: str) -> None:
    answers = answers_of(profiles, ScriptedSelector(mode, lambda prompt, _: passages_in(prompt) == 3))
    if method == "rag":  # The policy has to answer at once.
        answers = LocalAnswers(
            profiles,
            ScriptedPolicy([ANSWER]),
            selector=ScriptedSelector(mode, lambda prompt, _: passages_in(prompt) == 3),
        )
    trajectory = await answers.answer("ana", QUESTION, AnswerOptions(method, "auto"))
    assert trajectory.selection is not None
    assert (trajectory.selection.mode, trajectory.selection.retriever) == (mode, "recency")
    assert trajectory.documents_read == ("a1", "a2", "a3")
    assert (trajectory.selection.others is not None) == (mode == "post")


async def test_none_reads_nothing_and_is_not_chosen_for(profiles: Profiles) -> None:
    selector = ScriptedSelector("post", lambda prompt, _: 0)
    answers = LocalAnswers(profiles, ScriptedPolicy([ANSWER]), selector=selector)
    trajectory = await answers.answer("ana", QUESTION, AnswerOptions("none", "auto"))
    assert (trajectory.selection, selector.shown) == (None, [])


def test_auto_without_a_selector_is_refused(profiles: Profiles) -> None:
    with pytest.raises(UnknownRetriever, match="pr2 train selector"):
        answers_of(profiles, None).describe(None, {})


@pytest.mark.parametrize("mode", ["pre", "post"])
async def test_a_search_that_fails_is_raised_and_ends_the_others(profiles: Profiles, mode: Any) -> None:
    selector = ScriptedSelector(mode, lambda prompt, _: 0, members=("bm25", "gone", "recency"))
    with pytest.raises(UnknownRetriever, match="gone"):
        await answers_of(profiles, selector).answer("ana", QUESTION, AnswerOptions("pr2"))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_deadline_ends_members_and_not_the_choice(profiles: Profiles) -> None:
    policy = ScriptedPolicy([ANSWER], delay_s=60)
    selector = ScriptedSelector("post", lambda prompt, _: 0)
    answers = LocalAnswers(profiles, policy, selector=selector, limits=Limits(deadline_ms=100))
    trajectory = await answers.answer("ana", QUESTION, AnswerOptions("pr2", "auto"))
    assert (trajectory.finish_reason, trajectory.limits.deadline_ms) == ("deadline", 100)
    assert trajectory.selection is not None
    assert trajectory.selection.scores == dict.fromkeys(MEMBERS)
    assert policy.cancelled == [QUESTION] * 3


async def test_a_run_is_pinned_to_its_pool(tmp_path: Path, profiles: Profiles) -> None:
    evaluation: Evaluation[Any] = Evaluation(tmp_path / "run", task_named("sample"), most=2, retriever="auto")
    selector = ScriptedSelector("post", lambda prompt, _: passages_in(prompt))
    await evaluate(evaluation, answers_of(profiles, selector), LexicalJudge())
    manifest = json.loads((tmp_path / "run" / MANIFEST).read_text())
    assert manifest["selector"] == {"mode": "post", "members": list(MEMBERS)}
    # Each of the three members wrote two turns of one token.
    assert [record.policy_tokens for record in read_records(tmp_path / "run")] == [6, 6]
    other = ScriptedSelector("post", lambda prompt, _: 0, members=("none", "bm25"))
    with pytest.raises(ChangedConfiguration, match="selector"):
        await evaluate(evaluation, answers_of(profiles, other), LexicalJudge())
