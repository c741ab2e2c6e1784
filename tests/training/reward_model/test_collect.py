"""Pairs from a scripted LLM: the sides of a question stay together, whatever fails, is empty or is killed."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.trajectory import Answer, Invalid, Limits, Trajectory
from index.documents import Document, parse_document
from index.errors import UnknownUser
from training.evaluation.answers import AnswerOptions, Unanswered
from training.folder import ChangedConfiguration
from training.reward_model.collect import Asked, CollectedPairs, NoPairs, collect, history_of
from training.reward_model.records import PAIRS, read_manifest, read_pairs
from training.tasks import task_named
from training.tasks.lamp.data import Entry, Question
from training.tasks.lamp.task import lamp_task

Writes = Callable[[str, str, Sequence[Document]], str]
"""Called with question, method, and the profile that is read; returns the answer."""


def echo(question: str, method: str, profile: Sequence[Document]) -> str:
    return f"{method} of {profile[0].id}: {question}" if method == "rag" else f"{method}: {question}"


@dataclass
class ScriptedAnswers:
    """Implements training.evaluation.answers.Answers."""

    writes: Writes = echo
    most_at_once: int | None = None
    profiles: dict[str, Sequence[Document]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def check(self, method: str, *, has_plan: bool) -> None:
        pass

    def check_question(self, question: str) -> None:
        pass

    def describe(self, retriever: str | None, limits: Mapping[str, int]) -> dict[str, Any]:
        return {"policy": "scripted", "limits": dict(limits), "retriever": retriever}

    async def document(self, user: str, document_id: str, /) -> Document:
        raise UnknownUser(user)

    async def put(self, user: str, documents: Sequence[Document], /) -> None:
        self.profiles[user] = documents

    async def answer(self, user: str, question: str, options: AnswerOptions) -> Trajectory:
        self.calls.append((options.method, question))
        text = self.writes(question, options.method, self.profiles[user])
        step = Answer(text, at_ms=1.0) if text else Invalid("nothing was written", 1.0)
        return Trajectory(
            question=question,
            limits=Limits(),
            steps=(step,),
            segments=(),
            finish_reason="answered" if text else "invalid",
            policy_tokens=5,
        )


def asked(**changes: Any) -> Asked:
    return Asked(task_named("sample"), **{"most": 4, **changes})


async def test_a_pair_holds_the_answers_to_one_question_and_the_history(tmp_path: Path) -> None:
    answers = ScriptedAnswers()
    found = await collect(tmp_path, asked(others=True, history=3), answers)
    assert found == CollectedPairs(4, empty=0, owed=0)
    questions = list(task_named("sample").read([], "train"))[:4]
    pairs = read_pairs(tmp_path)
    assert [pair.id for pair in pairs] == [question.id for question in questions]
    for pair, question in zip(pairs, questions, strict=True):
        own = question.profile[0].id
        assert pair.question == question.question
        assert pair.personalized == f"rag of {own}: {question.question}"
        assert pair.plain == f"none: {question.question}"
        assert pair.other is not None
        assert pair.other.startswith("rag of ")
        assert pair.other.endswith(question.question)
        assert pair.other != pair.personalized
        assert pair.history == tuple(item.text for item in question.profile)[-3:]
    manifest = read_manifest(tmp_path)
    assert {side: made["method"] for side, made in manifest["sides"].items()} == {
        "personalized": "rag",
        "plain": "none",
        "other": "rag-random",
    }


async def test_without_others_a_question_is_answered_twice(tmp_path: Path) -> None:
    answers = ScriptedAnswers()
    await collect(tmp_path, asked(), answers)
    assert [method for method, _ in answers.calls] == ["rag"] * 4 + ["none"] * 4
    assert all(pair.other is None for pair in read_pairs(tmp_path))


async def test_pairs_with_an_empty_side_are_counted_and_left_out(tmp_path: Path) -> None:
    questions = [question.question for question in task_named("sample").read([], "train")][:4]

    def silent(question: str, method: str, profile: Sequence[Document]) -> str:
        gone = {"rag": questions[0], "none": questions[2]}[method]
        return "" if question == gone else echo(question, method, profile)

    found = await collect(tmp_path / "some", asked(), ScriptedAnswers(silent))
    assert found == CollectedPairs(2, empty=2, owed=0)
    assert [pair.question for pair in read_pairs(tmp_path / "some")] == [questions[1], questions[3]]
    with pytest.raises(NoPairs, match="4 with an empty one, 0 owed"):
        await collect(tmp_path / "none", asked(), ScriptedAnswers(lambda *_: ""))
    assert not (tmp_path / "none" / PAIRS).exists()


async def test_what_failed_is_owed_and_only_that_is_asked_again(tmp_path: Path) -> None:
    questions = [question.question for question in task_named("sample").read([], "train")][:4]

    def away(question: str, method: str, profile: Sequence[Document]) -> str:
        if (question, method) == (questions[1], "none"):
            raise Unanswered("the engine is away")
        return echo(question, method, profile)

    assert await collect(tmp_path / "a", asked(), ScriptedAnswers(away)) == CollectedPairs(3, 0, owed=1)
    assert [pair.question for pair in read_pairs(tmp_path / "a")] == [
        questions[0],
        questions[2],
        questions[3],
    ]
    again = ScriptedAnswers()
    assert await collect(tmp_path / "a", asked(), again) == CollectedPairs(4, 0, 0)
    assert again.calls == [("none", questions[1])]
    await collect(tmp_path / "b", asked(), ScriptedAnswers())
    assert (tmp_path / "a" / PAIRS).read_bytes() == (tmp_path / "b" / PAIRS).read_bytes()


async def test_another_configuration_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    await collect(tmp_path, asked(), ScriptedAnswers())
    with pytest.raises(ChangedConfiguration, match="retriever"):
        await collect(tmp_path, asked(retriever="bm25"), ScriptedAnswers())


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.training.reward_model.test_collect import ScriptedAnswers, asked, echo
from training.reward_model.collect import collect

calls = 0

def kills(question, method, profile):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return echo(question, method, profile)

asyncio.run(collect(Path(sys.argv[1]), asked(concurrency=1), ScriptedAnswers(kills)))
"""


def test_a_killed_collection_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), "7"]
    assert subprocess.run(command, cwd=Path(__file__).parents[3]).returncode == -signal.SIGKILL
    again = ScriptedAnswers()
    asyncio.run(collect(tmp_path / "killed", asked(concurrency=1), again))
    asyncio.run(collect(tmp_path / "whole", asked(concurrency=1), whole := ScriptedAnswers()))
    # Six answers were finished: those of the first side, and two of the second.
    assert again.calls == whole.calls[6:]
    assert (tmp_path / "killed" / PAIRS).read_bytes() == (tmp_path / "whole" / PAIRS).read_bytes()


@pytest.mark.parametrize("task", [4, 5, 7])
async def test_tasks_of_lamp_give_pairs_with_all_fields_of_the_history(tmp_path: Path, task: int) -> None:
    lamp = lamp_task("lamp-sample", task)
    found = await collect(tmp_path, Asked(lamp, most=2), ScriptedAnswers())
    assert found.pairs == 2
    for pair, question in zip(read_pairs(tmp_path), lamp.read([], "train"), strict=False):
        assert (pair.id, pair.user, pair.question) == (
            question.id,
            question.user_id or pair.user,
            question.input,
        )
        texts = {"\n".join(entry.fields.values()) for entry in question.profile}
        assert set(pair.history) <= texts


def test_a_history_is_sorted_by_date_with_undated_documents_first() -> None:
    dates = ("2024-05-01", None, "2023-01-31", "2024-04-30")
    profile = tuple(
        Entry(f"e{n}", f"text {n}", {"title": f"title {n}"}, date) for n, date in enumerate(dates)
    )
    question = Question("q", "input", profile, "output", "LaMP_4")
    assert history_of(question) == ("title 1", "title 2", "title 3", "title 0")
    assert parse_document(profile[0].document, 0).created_at is not None
