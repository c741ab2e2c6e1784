import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.trajectory import Answer, Limits, Search, Trajectory
from training.evaluation.answers import Unanswered
from training.evaluation.records import (
    MANIFEST,
    RECORDS,
    RESPONSES,
    SCORES,
    TRAJECTORIES,
    Record,
    read_records,
)
from training.evaluation.runs import RunOutcome, open_run
from training.folder import ChangedConfiguration, FolderInUse
from training.judging.judge import RubricAspect, RubricQuestion, Unjudged
from training.judging.lexical import LexicalJudge
from training.tasks import TASKS
from training.tasks.lampqa.data import Question

TASK = TASKS["sample"]
CONFIGURATION = {"method": "pr2", "dataset": {"hash": "abc"}}


def question(number: int) -> Question:
    return Question.model_validate(
        {
            "id": f"q{number}",
            "question": f"What is thing {number}?",
            "category": ("Art_and_Entertainment", "Society_and_Culture")[number % 2],
            "narrative": "I like blue pots.",
            "rubric_aspects": [
                {"aspect": "Blue pots", "reason": "They like them.", "evidence": "I like blue pots."},
                {"aspect": f"Thing {number}", "reason": "Asked for.", "evidence": f"Thing {number} matters."},
            ],
            "profile": [{"id": "n1", "text": "Bought blue pots."}],
        }
    )


def questions(count: int = 12) -> Iterator[Question]:
    return map(question, range(count))


def answered(asked: Question, text: str = "") -> Trajectory:
    number = int(asked.id[1:])
    text = text or ("Blue pots." if number % 3 else f"Thing {number} matters, and blue pots.")
    return Trajectory(
        asked.question,
        Limits(),
        steps=(Search("pots"), Answer(text)),
        finish_reason="answered",
        prompt_tokens=7,
        policy_tokens=3,
        total_ms=1.5,
    )


async def answer(asked: Question) -> Trajectory:
    await asyncio.sleep(0)
    return answered(asked)


def work(
    folder: Path,
    answer: Callable[[Question], Awaitable[Trajectory]] = answer,
    judge: Any = None,
    count: int = 12,
    **options: Any,
) -> RunOutcome:
    return asyncio.run(drain(folder, questions(count), answer, judge, **options))


async def drain(
    folder: Path,
    questions: Iterator[Question],
    answer: Callable[[Question], Awaitable[Trajectory]],
    judge: Any = None,
    **options: Any,
) -> RunOutcome:
    with open_run(folder, CONFIGURATION) as run:
        return await run.drain(questions, answer, TASK, TASK.metrics(judge or LexicalJudge()), **options)


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (RESPONSES, SCORES)}


def test_a_run_leaves_responses_scores_trajectories_and_a_manifest(tmp_path: Path) -> None:
    outcome = work(tmp_path, facts={"versions": {"pr2": "1"}})
    assert list(json.loads((tmp_path / RESPONSES).read_text())) == [f"q{number}" for number in range(12)]
    scores = json.loads((tmp_path / SCORES).read_text())
    assert [entry["id"] for entry in scores["per_question_scores"]] == [f"q{number}" for number in range(12)]
    assert scores["score"] == pytest.approx(
        sum(entry["score"] for entry in scores["per_question_scores"]) / 12, abs=1e-12
    )
    trajectories = [json.loads(line) for line in (tmp_path / TRAJECTORIES).read_text().splitlines()]
    assert {entry["id"] for entry in trajectories} == {f"q{number}" for number in range(12)}
    assert Trajectory.from_dict(trajectories[0]["trajectory"]).searches == 1
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["finished"] is True
    assert manifest["method"] == "pr2"
    assert manifest["versions"] == {"pr2": "1"}
    assert manifest["totals"] == {
        "questions": 12, "finished": 12, "failed": 0, "prompt_tokens": 84, "policy_tokens": 36,
    }  # fmt: skip
    assert outcome.summary.macro.questions == 12


def test_a_run_that_is_started_again_does_only_what_is_owed(tmp_path: Path) -> None:
    work(tmp_path / "whole")
    asked = []

    async def counting(one: Question) -> Trajectory:
        asked.append(one.id)
        if len(asked) == 5:
            raise KeyboardInterrupt
        return answered(one)

    with pytest.raises(BaseException):  # noqa: B017, PT011
        work(tmp_path / "cut", counting, concurrency=1)
    done = {record.id for record in read_records(tmp_path / "cut")}
    assert 0 < len(done) < 12
    asked.clear()

    async def rest(one: Question) -> Trajectory:
        asked.append(one.id)
        return answered(one)

    work(tmp_path / "cut", rest)
    assert sorted(asked) == sorted({f"q{number}" for number in range(12)} - done)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


SLOW = """
import asyncio, sys
from itertools import pairwise
from pathlib import Path
from tests.training.evaluation.test_runs import answered, work

async def slow(asked):
    await asyncio.sleep(0.01)
    return answered(asked)

if __name__ == "__main__":
    work(Path(sys.argv[1]), slow, count=60, concurrency=3)
"""


def test_a_run_that_is_killed_at_any_moment_comes_to_the_same_files(tmp_path: Path) -> None:
    work(tmp_path / "whole", count=60)
    draw = Random(5)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path / "killed")], env=environment)
        records = tmp_path / "killed" / RECORDS
        before = records.stat().st_size if records.exists() else 0
        deadline = time.monotonic() + 30
        # Some way on from where the process before has got to, so that no two are killed at the same place.
        while process.poll() is None and time.monotonic() < deadline:
            if records.exists() and records.stat().st_size > before + draw.randrange(300, 3_000):
                break
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < len(list(read_records(tmp_path / "killed"))) <= 60
    work(tmp_path / "killed", count=60)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.parametrize("name", [RECORDS, TRAJECTORIES])
def test_half_a_line_at_the_end_is_owed_again(tmp_path: Path, name: str) -> None:
    work(tmp_path)
    whole = files(tmp_path)
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:-20])
    work(tmp_path)
    assert files(tmp_path) == whole
    assert all(json.loads(line) for line in file.read_text().splitlines())


def test_an_invalid_line_in_the_middle_is_named(tmp_path: Path) -> None:
    work(tmp_path)
    lines = (tmp_path / RECORDS).read_text().splitlines(keepends=True)
    (tmp_path / RECORDS).write_text("".join([*lines[:3], '{"id": 1}\n', *lines[3:]]))
    with pytest.raises(ValueError, match=r"records\.jsonl:4: no record"):
        work(tmp_path)


def test_another_configuration_is_refused_and_the_keys_that_differ_are_named(tmp_path: Path) -> None:
    work(tmp_path)
    before = files(tmp_path)
    changed = {**CONFIGURATION, "method": "rag", "top_k": 5}
    said = "method: 'pr2' then, 'rag' now; top_k: None then, 5 now"
    with pytest.raises(ChangedConfiguration, match=said), open_run(tmp_path, changed):
        pass
    assert files(tmp_path) == before


def test_what_could_not_be_answered_gets_no_score_and_stays_owed(tmp_path: Path) -> None:
    notified: list[str] = []

    class Watcher:
        def finished(self, record: Record) -> None:
            notified.append(record.id)

        def failed(self, question_id: str, why: str) -> None:
            notified.append(f"{question_id}: {why}")

    async def sometimes(one: Question) -> Trajectory:
        if one.id == "q3":
            raise Unanswered("the server is away")
        if one.id == "q4":
            return Trajectory(one.question, Limits(), finish_reason="policy_error", detail="it broke off")
        return answered(one)

    outcome = work(tmp_path, sometimes, watcher=Watcher())
    assert outcome.failed == {"q3": "the server is away", "q4": "it broke off"}
    assert {"q3: the server is away", "q4: it broke off", "q5"} <= set(notified)
    assert len(notified) == 12
    assert "q3" not in json.loads((tmp_path / RESPONSES).read_text())
    assert json.loads((tmp_path / MANIFEST).read_text())["finished"] is False
    assert work(tmp_path).failed == {}
    assert json.loads((tmp_path / MANIFEST).read_text())["finished"] is True


def test_an_answer_that_never_came_is_an_empty_response(tmp_path: Path) -> None:
    async def silent(one: Question) -> Trajectory:
        return Trajectory(one.question, Limits(), finish_reason="max_tokens", policy_tokens=9)

    work(tmp_path, silent, count=2)
    records = list(read_records(tmp_path))
    assert [record.response for record in records] == ["", ""]
    assert [record.score for record in records] == [0.0, 0.0]


def test_an_unjudged_aspect_is_never_a_score(tmp_path: Path) -> None:
    class Moody(LexicalJudge):
        async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
            if question.id == "q1" and aspect.aspect == "Blue pots":
                raise Unjudged("no")
            return await super().judge(question, aspect, response)

    outcome = work(tmp_path, judge=Moody())
    assert outcome.summary.macro.unjudged_questions == 1
    entry = json.loads((tmp_path / SCORES).read_text())["per_question_scores"][1]
    assert (entry["id"], entry["score"], entry["details"][0]["score"]) == ("q1", None, None)


def test_no_more_than_so_many_questions_are_under_way_and_none_is_read_too_early(tmp_path: Path) -> None:
    under_way = most = read = 0

    def counted() -> Iterator[Question]:
        nonlocal read
        for one in questions(40):
            read += 1
            assert read <= finished + 5
            yield one

    finished = 0

    async def slow(one: Question) -> Trajectory:
        nonlocal under_way, most, finished
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        finished += 1
        return answered(one)

    asyncio.run(drain(tmp_path, counted(), slow, concurrency=4))
    assert most == 4


def test_a_fault_of_ours_ends_the_run_and_keeps_what_is_finished(tmp_path: Path) -> None:
    async def breaks(one: Question) -> Trajectory:
        await asyncio.sleep(0)
        if one.id == "q7":
            raise RuntimeError("a bug")
        return answered(one)

    with pytest.raises(ExceptionGroup) as raised:
        work(tmp_path, breaks, concurrency=1)
    assert raised.group_contains(RuntimeError, match="a bug")
    assert len(list(read_records(tmp_path))) == 7


def test_questions_are_begun_no_faster_than_asked_for(tmp_path: Path) -> None:
    begun: list[float] = []

    async def noted(one: Question) -> Trajectory:
        begun.append(time.monotonic())
        return answered(one)

    start = time.monotonic()
    work(tmp_path, noted, count=4, per_second=50)
    # A busy machine begins them later, which may bring two of them closer together, but never earlier.
    assert all(at - start >= 0.02 * number - 0.001 for number, at in enumerate(begun))


def test_a_deadline_before_anything_was_written_says_nothing_of_the_answer(tmp_path: Path) -> None:
    async def late(one: Question) -> Trajectory:
        return Trajectory(one.question, Limits(), finish_reason="deadline", detail="it had to wait")

    assert work(tmp_path, late, count=2).failed == {"q0": "it had to wait", "q1": "it had to wait"}
    assert list(read_records(tmp_path)) == []


async def test_two_at_once_are_kept_off_each_other(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def waits(one: Question) -> Trajectory:
        begun.set()
        await go_on.wait()
        return answered(one)

    first = asyncio.create_task(drain(tmp_path, questions(), waits))
    await begun.wait()
    with pytest.raises(FolderInUse, match="another process"):
        await drain(tmp_path, questions(), answer)
    go_on.set()
    assert (await first).summary.macro.questions == 12
    assert len(list(read_records(tmp_path))) == 12
