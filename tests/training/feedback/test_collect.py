"""Feedback on a scripted model: what is collected, kept, owed, resumed and refused."""

import asyncio
import json
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from agent.engines.errors import EngineError
from agent.engines.text import ScriptedText
from tests.training.feedback import made
from tests.training.feedback.made import HEADLINES, QUESTIONS, UTILITIES, collected, echo, source
from training.feedback.collect import JOURNAL, Collected, NothingToCollect
from training.feedback.records import FEEDBACK, MANIFEST, InvalidFeedback, read_feedback, read_manifest
from training.feedback.utility import NoReference
from training.folder import ChangedConfiguration
from training.tasks.lamp.data import Question


def away(*titles: str) -> ScriptedText:
    """A model that fails for prompts with these headlines."""

    def reply(prompt: str) -> str:
        if any(title in prompt for title in titles):
            raise EngineError("unavailable", "the engine is away")
        return echo(prompt)

    return ScriptedText(reply)


class Log:
    """A watcher that writes down what it is notified of."""

    def __init__(self) -> None:
        self.begun: tuple[int, int] | None = None
        self.calls = 0
        self.done: list[str] = []
        self.failures: list[tuple[str, str, str]] = []

    def started(self, questions: int, finished: int) -> None:
        self.begun = (questions, finished)

    def called(self) -> None:
        self.calls += 1

    def finished(self, question_id: str) -> None:
        self.done.append(question_id)

    def failed(self, question_id: str, document_id: str, why: str) -> None:
        self.failures.append((question_id, document_id, why))


async def test_each_document_alone_gets_the_metric_of_the_output_with_it(tmp_path: Path) -> None:
    model = ScriptedText(echo)
    log = Log()
    counts = await collected(tmp_path / "feedback", model, watcher=log)
    assert counts == Collected(questions=4, utilities=12, failed=0, without_documents=0)
    found = read_feedback(tmp_path / "feedback")
    assert [one.id for one in found] == [question.id for question in QUESTIONS]
    for one, question in zip(found, QUESTIONS, strict=True):
        assert one.query == f"a story about thing {question.id[1:]}"
        assert one.user == question.user_id
        assert [(document.id, document.text) for document in one.documents] == [
            (entry.id, entry.text) for entry in question.profile
        ]
        assert [document.utility for document in one.documents] == pytest.approx(UTILITIES)
    assert len(model.prompts) == 12
    assert all(sum(title in prompt for title in HEADLINES) == 1 for prompt in model.prompts)
    manifest = read_manifest(tmp_path / "feedback")
    assert (manifest["task"], manifest["encoder"], manifest["documents"]) == ("lamp-4", {"name": "hash"}, 3)
    assert manifest["model"] == model.description
    assert manifest["metric"] == {"task": 4, "measure": "metric"}
    assert (log.begun, log.calls, sorted(log.done)) == ((4, 0), 12, ["40", "41", "42", "43"])


async def test_a_failed_call_is_null_and_owed_and_never_0(tmp_path: Path) -> None:
    folder = tmp_path / "feedback"
    log = Log()
    counts = await collected(folder, away("Rain all week"), watcher=log)
    assert counts == Collected(questions=4, utilities=8, failed=4, without_documents=0)
    assert ("40", "p01", "the engine is away") in log.failures
    for one in read_feedback(folder):
        assert [document.utility for document in one.documents] == [pytest.approx(6 / 7), None, 0.0]
    back = ScriptedText(echo)
    assert (await collected(folder, back)).failed == 0
    # Only what was owed is asked for again.
    assert len(back.prompts) == 4
    assert all("Rain all week" in prompt for prompt in back.prompts)
    await collected(tmp_path / "never-failed", ScriptedText(echo), cache=tmp_path / "other.db")
    for name in (FEEDBACK, MANIFEST):
        assert (folder / name).read_bytes() == (tmp_path / "never-failed" / name).read_bytes()
    finished = ScriptedText(echo)
    again = Log()
    await collected(folder, finished, watcher=again, cache=tmp_path / "empty.db")
    assert finished.prompts == []
    assert again.begun == (4, 4)


async def test_a_killed_collection_ends_with_the_same_files(tmp_path: Path) -> None:
    calls = 5
    folder = tmp_path / "killed"
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-m", made.__name__, str(folder), str(calls), cwd=Path(__file__).parents[3]
    )
    assert await killed.wait() == -signal.SIGKILL
    assert not (folder / MANIFEST).exists()
    model = ScriptedText(echo)
    await collected(folder, model, measure="likelihood")
    # The call in progress is lost, and none that was finished.
    assert len(model.prompts) == 12 - calls
    whole = tmp_path / "whole"
    await collected(whole, ScriptedText(echo), measure="likelihood", cache=tmp_path / "other.db")
    for name in (FEEDBACK, MANIFEST):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


async def test_a_torn_last_line_is_cut_and_any_other_is_refused_with_its_number(tmp_path: Path) -> None:
    folder = tmp_path / "feedback"
    await collected(folder, ScriptedText(echo))
    whole = (folder / JOURNAL).read_bytes()
    feedback = (folder / FEEDBACK).read_bytes()
    for size in (1, 7, len(whole.splitlines()[-1])):
        (folder / JOURNAL).write_bytes(whole[:-size])
        log = Log()
        await collected(folder, ScriptedText(echo), watcher=log)
        assert log.begun == (4, 3)
        assert (folder / FEEDBACK).read_bytes() == feedback
    (folder / JOURNAL).write_bytes(b'{"id": "40"}\n' + whole)
    with pytest.raises(InvalidFeedback, match=rf"{JOURNAL}:1: "):
        await collected(folder, ScriptedText(echo))


async def test_another_folder_pays_only_for_new_prompts(tmp_path: Path) -> None:
    await collected(tmp_path / "two", ScriptedText(echo), most=2)
    model = ScriptedText(echo)
    await collected(tmp_path / "three", model, most=3)
    assert len(model.prompts) == 4
    assert all(HEADLINES[2] in prompt for prompt in model.prompts)


async def test_outputs_of_another_model_metric_or_budget_are_not_used(tmp_path: Path) -> None:
    await collected(tmp_path / "first", ScriptedText(echo))
    other = ScriptedText(echo, name="other")
    await collected(tmp_path / "model", other)
    hotter = ScriptedText(echo)
    hotter.description = {**hotter.description, "decoding": {"temperature": 1.0}}
    await collected(tmp_path / "decoding", hotter)
    likely = ScriptedText(echo)
    await collected(tmp_path / "measure", likely, measure="likelihood")
    shorter = ScriptedText(echo)
    await collected(tmp_path / "budget", shorter, tokens=400)
    changed = tuple(Question(**{**vars(question), "output": "Another reference"}) for question in QUESTIONS)
    judged_anew = ScriptedText(echo)
    await collected(tmp_path / "reference", judged_anew, of=source(changed))
    for model in (other, hotter, likely, shorter, judged_anew):
        assert len(model.prompts) == 12


async def test_the_likelihood_of_the_reference_is_a_measure(tmp_path: Path) -> None:
    await collected(tmp_path / "feedback", ScriptedText(echo), measure="likelihood")
    for one in read_feedback(tmp_path / "feedback"):
        # Of the reference's four words, one ("in") stands alone in the prompt with the first headline.
        assert [document.utility for document in one.documents] == pytest.approx([-0.75, -1.0, -1.0])


@pytest.mark.parametrize(
    ("change", "key"),
    [({"tokens": 100}, "prompt_tokens"), ({"most": 2}, "documents"), ({"measure": "likelihood"}, "metric")],
)
async def test_a_folder_of_another_configuration_is_refused(
    tmp_path: Path, change: dict[str, int], key: str
) -> None:
    await collected(tmp_path / "feedback", ScriptedText(echo))
    with pytest.raises(ChangedConfiguration, match=rf"{key}: "):
        await collected(tmp_path / "feedback", ScriptedText(echo), **change)  # type: ignore[arg-type]


async def test_a_question_without_documents_is_left_out_and_counted(tmp_path: Path) -> None:
    empty = Question(**{**vars(QUESTIONS[0]), "profile": ()})
    some = source((empty, *QUESTIONS[1:]))
    counts = await collected(tmp_path / "some", ScriptedText(echo), of=some)
    assert counts == Collected(questions=3, utilities=9, failed=0, without_documents=1)
    assert [one.id for one in read_feedback(tmp_path / "some")] == ["41", "42", "43"]
    with pytest.raises(NothingToCollect):
        await collected(tmp_path / "none", ScriptedText(echo), of=source((empty,)))
    assert not (tmp_path / "none" / MANIFEST).exists()


async def test_a_question_without_a_reference_is_refused(tmp_path: Path) -> None:
    blind = Question(**{**vars(QUESTIONS[0]), "output": ""})
    with pytest.raises(ExceptionGroup) as raised:
        await collected(tmp_path / "feedback", ScriptedText(echo), of=source((blind,)))
    assert raised.group_contains(NoReference, match="40 has no reference output")


async def test_a_prompt_that_cannot_fit_has_no_utility(tmp_path: Path) -> None:
    log = Log()
    counts = await collected(tmp_path / "feedback", ScriptedText(echo), tokens=8, watcher=log)
    assert counts.failed == 12
    assert {why for _, _, why in log.failures} == {"the instruction has 7 tokens, and the input may have 4"}


async def test_no_more_calls_are_in_flight_than_allowed(tmp_path: Path) -> None:
    class Counting(ScriptedText):
        flying = most = 0

        async def generate(self, prompt: str) -> str:
            self.flying += 1
            self.most = max(self.most, self.flying)
            for _ in range(5):
                await asyncio.sleep(0)
            self.flying -= 1
            return await super().generate(prompt)

    model = Counting(echo)
    await collected(tmp_path / "feedback", model, concurrency=3)
    assert model.most == 3
    assert len(model.prompts) == 12


async def test_kept_outputs_hold_the_response_and_the_utility(tmp_path: Path) -> None:
    await collected(tmp_path / "feedback", ScriptedText(echo), most=1)
    with sqlite3.connect(tmp_path / "outputs.db") as kept:
        rows = [json.loads(row[0]) for row in kept.execute("SELECT output FROM outputs")]
    kept.close()
    assert [row["text"] for row in rows] == ["Tea in Bergen"] * 4
    assert [row["utility"] for row in rows] == pytest.approx([6 / 7] * 4)
