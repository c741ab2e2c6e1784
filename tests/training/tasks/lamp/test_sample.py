"""The made data set is valid, small, and the same each time."""

import json

import pytest

from training.tasks import task_named
from training.tasks.lamp.data import leaks
from training.tasks.lamp.sample import records
from training.tasks.lamp.schemas import SCHEMAS
from training.tasks.lamp.task import lamp_task


@pytest.mark.parametrize("number", SCHEMAS)
def test_each_task_has_twelve_questions_of_four_people(number: int) -> None:
    found = list(task_named(f"lamp-sample-{number}").read([], "test"))
    assert len({question.id for question in found}) == len(found) == 12
    assert len({question.user_id for question in found}) == 4
    assert {len(question.profile) for question in found} == {6}
    assert all(entry.date for question in found for entry in question.profile)
    clean = {"holds_output": False, "holds_input": False, "later_entries": None}
    assert all(leaks(number, question) == clean for question in found)
    assert json.dumps(list(records(number))) == json.dumps(list(records(number)))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_label_is_always_right(number: int) -> None:
    outputs = [question.output for question in lamp_task("lamp-sample", number).read([], "test")]
    assert len(set(outputs)) > 1
    if number == 1:
        assert outputs.count("[1]") == outputs.count("[2]") == 6


def test_dates_are_an_option() -> None:
    with_dates = list(lamp_task("lamp-sample", 4, dates=True).read([], "test"))
    entry = with_dates[0].profile[0]
    assert entry.text.endswith(f" date: {entry.date}")
    assert "date" not in next(lamp_task("lamp-sample", 4).read([], "test")).profile[0].text
