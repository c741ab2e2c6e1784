"""LaMP's files are found in the published layout, or fetched, and never mistaken for each other."""

import json
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests.training.tasks.lamp.records import OUTPUTS, record
from training.tasks.errors import DatasetUnavailable
from training.tasks.lamp.sources import (
    PUBLISHED,
    Files,
    PublishedFiles,
    Separation,
    UnknownSplit,
    local_files,
    published_files,
    split_named,
)
from training.tasks.lamp.task import lamp_task


def put(folder: Path, number: int = 4, split: str = "dev", *, outputs: bool = True) -> Path:
    """Write a task's files into the folder. Returns that of the questions."""
    folder.mkdir(parents=True, exist_ok=True)
    questions = folder / f"{split}_questions.json"
    questions.write_text(json.dumps([record(number)]))
    if outputs:
        golds = [{"id": "q", "output": OUTPUTS[number]}]
        content = {"task": f"LaMP_{number}", "golds": golds}
        (folder / f"{split}_outputs.json").write_text(json.dumps(content))
    return questions


@pytest.mark.parametrize("inner", ["", "dev", "LaMP_4", "LaMP_4/dev", "time/LaMP_4", "time/LaMP_4/dev"])
def test_files_are_found_in_the_published_layout_and_its_inner_folders(tmp_path: Path, inner: str) -> None:
    questions = put(tmp_path / inner)
    found = local_files(tmp_path, 4, "validation")
    assert found == Files(questions, questions.with_name("dev_outputs.json"))
    assert [one.output for one in lamp_task(str(tmp_path), 4).read([], "dev")] == [OUTPUTS[4]]
    assert [one.output for one in lamp_task(str(questions), 4).read([], "any")] == [OUTPUTS[4]]


def test_task_2_is_found_below_new(tmp_path: Path) -> None:
    questions = put(tmp_path / "LaMP_2/new/dev", 2)
    assert local_files(tmp_path, 2, "dev").questions == questions


@pytest.mark.parametrize(("separation", "inner"), [("time", "time/LaMP_4/dev"), ("user", "LaMP_4/dev")])
def test_the_separation_is_chosen_and_never_guessed(
    tmp_path: Path, separation: Separation, inner: str
) -> None:
    put(tmp_path / "time/LaMP_4/dev")
    put(tmp_path / "LaMP_4/dev")
    assert local_files(tmp_path, 4, "dev", separation).questions == tmp_path / inner / "dev_questions.json"
    with pytest.raises(DatasetUnavailable, match="choose one by --separation"):
        local_files(tmp_path, 4, "dev")
    other: Separation = "time" if separation == "user" else "user"
    with pytest.raises(DatasetUnavailable, match="holds none of"):
        local_files(tmp_path / inner / "..", 4, "train", other)


def test_a_split_without_outputs_can_be_ranked_and_not_evaluated(tmp_path: Path) -> None:
    put(tmp_path, split="test", outputs=False)
    task = lamp_task(str(tmp_path), 4)
    assert [question.output for question in task.inputs("test")] == [""]
    with pytest.raises(DatasetUnavailable, match="those of test are not published"):
        list(task.read([], "test"))


def test_unknown_splits_and_tasks_are_refused() -> None:
    assert split_named("validation") == "dev"
    with pytest.raises(UnknownSplit, match="there are: train, dev, test"):
        lamp_task("lamp", 4).split("tests")
    with pytest.raises(DatasetUnavailable, match="no task 8; there are 1 to 7"):
        lamp_task("lamp-sample", 8)


class Recorded:
    """Downloads that are only noted."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def fetch(self, path: str) -> Path:
        self.paths.append(path)
        return Path(path)


@pytest.mark.parametrize(
    ("number", "split", "separation", "paths"),
    [
        (4, "dev", "time", ["time/LaMP_4/dev/dev_questions.json", "time/LaMP_4/dev/dev_outputs.json"]),
        (
            2,
            "train",
            "user",
            ["LaMP_2/new/train/train_questions.json", "LaMP_2/new/train/train_outputs.json"],
        ),
        (1, "test", "user", ["LaMP_1/test/test_questions.json"]),
    ],
)
def test_published_addresses(number: int, split: str, separation: Separation, paths: Sequence[str]) -> None:
    downloads = Recorded()
    published_files(number, split, separation, downloads)
    assert downloads.paths == paths


def test_published_files_are_fetched_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        if request.url.path.endswith("questions.json"):
            return httpx.Response(200, json=[record(4)])
        return httpx.Response(200, json={"task": "LaMP_4", "golds": [{"id": "q", "output": "x"}]})

    task = lamp_task("lamp", 4, downloads=PublishedFiles(tmp_path, httpx.MockTransport(serve)))
    for _ in range(2):
        assert [question.output for question in task.read([], "dev")] == ["x"]
    names = ("questions", "outputs")
    assert asked == [f"{PUBLISHED}/time/LaMP_4/dev/dev_{name}.json" for name in names]


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (httpx.Response(404), "cannot be fetched .*404"),
        (httpx.Response(200, text="<html>No such page</html>"), "not with JSON"),
    ],
)
def test_a_failed_download_leaves_nothing_behind(
    tmp_path: Path, response: httpx.Response, message: str
) -> None:
    downloads = PublishedFiles(tmp_path, httpx.MockTransport(lambda request: response))
    with pytest.raises(DatasetUnavailable, match=f"{message}.*To work offline"):
        downloads.fetch("LaMP_4/dev/dev_questions.json")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_server_that_is_away_is_reported(tmp_path: Path) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    downloads = PublishedFiles(tmp_path, httpx.MockTransport(away))
    with pytest.raises(DatasetUnavailable, match="no route"):
        downloads.fetch("LaMP_4/dev/dev_questions.json")
