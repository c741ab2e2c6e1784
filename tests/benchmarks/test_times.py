"""Gains from times in questions, on histories whose figures are worked out by hand."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import times
from benchmarks.evidence import read_histories
from tests.index.fakes import HashEncoder

DINNERS = {
    "user": "ana",
    "documents": [
        {"id": f"d{month}", "text": f"dinner with guest {month}", "created_at": f"2023-{month:02}-09"}
        for month in range(1, 13)
    ],
    "questions": [
        {"question": "Who came to dinner in March 2023?", "type": "month", "gold": ["d3"]},
        {"question": "May I ask who guest 11 was?", "type": times.FALSE_FRIEND, "gold": ["d11"]},
    ],
}


def printed(tmp_path: Path, *, made: bool) -> list[list[str]]:
    file = tmp_path / "dinners.json"
    file.write_text(json.dumps([DINNERS]))
    console = Console(file=io.StringIO(), width=140)
    histories = read_histories(file)
    with times.stored(histories, HashEncoder()) as profiles:
        if made:
            times.made(profiles, histories, console)
        else:
            times.real(file, profiles, histories, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]


def test_made_questions_are_counted_by_what_they_name_and_what_was_found(tmp_path: Path) -> None:
    ana, everybody = printed(tmp_path, made=True)
    assert ana[0] == "ana"
    # One time, read and found; one false friend without a window.
    assert (ana[1:4], ana[5:7]) == (["1", "1", "1"], ["1", "1"])
    assert everybody[1:] == ana[1:]


def test_other_questions_are_parted_by_whether_they_may_name_a_time(tmp_path: Path) -> None:
    found = {row[0]: row[1:3] for row in printed(tmp_path, made=False)}
    assert found == {"all": ["2", "1"], "that may name a time": ["2", "1"]}


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        times.main(["--encoder", str(tmp_path / "none")])
    assert "does not exist" in capsys.readouterr().err
