"""The tasks that answers are evaluated on, by name: data sets with their metrics and file formats."""

from typing import Any

from training.evaluation.task import Task
from training.tasks import sample
from training.tasks.lamp.schemas import SCHEMAS
from training.tasks.lamp.task import LAMP, SAMPLE, lamp_task
from training.tasks.lampqa.task import LampQA, from_file, published

TASKS: dict[str, Task[Any]] = {}
"""To add a task, register it."""


def register(task: Task[Any]) -> None:
    """Offer the task under its name. Raises ValueError if the name is taken."""
    if task.name in TASKS:
        raise ValueError(f"there is a task {task.name!r} already")
    TASKS[task.name] = task


def task_named(name: str) -> Task[Any]:
    """The registered task; any other name is the path of a file in LaMP-QA's format."""
    return TASKS.get(name) or from_file(name)


register(LampQA("sample", lambda categories, split, skip: sample.questions()))
register(LampQA("lamp-qa", published, has_splits=True))
for _number in SCHEMAS:
    register(lamp_task(SAMPLE, _number))
    register(lamp_task(LAMP, _number))
