"""`pr2 profile import` of what apps export: what it recognizes, stores, leaves out and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.cli import app
from tests.index.formats.exports import zipped

CHAT = "29/02/2024, 12:00 - Ben: tea\n29/02/2024, 12:01 - Ben: <Media omitted>\n"
NEXT = "07/03/2024, 12:00 - Ben: coffee\n"


@pytest.fixture
def pr2(tmp_path: Path) -> Any:
    def run(*arguments: str | Path, code: int = 0) -> tuple[list[str], list[str]]:
        here = ["--data", str(tmp_path / "local")]
        result = CliRunner().invoke(app, ["profile", *map(str, arguments), *here])
        assert result.exit_code == code, result.stderr or result.exception
        return result.stdout.splitlines(), result.stderr.splitlines()

    return run


def test_an_export_is_recognized_stored_and_continued(pr2: Any, tmp_path: Path) -> None:
    zone = ("--time-zone", "America/New_York")
    path = tmp_path / "WhatsApp Chat with Ben.txt"
    path.write_text(CHAT)
    out, said = pr2("import", "ana", path, *zone)
    assert said == [f"{path}: WhatsApp chat; times without a zone are in America/New_York"]
    assert out == ["stored 1 document for ana", "left out 1: an attachment, or a note of WhatsApp itself"]
    [line], _ = pr2("export", "ana")
    document = json.loads(line)
    assert (document["created_at"], document["source"]) == ("2024-02-29T12:00:00-05:00", "WhatsApp/Ben")

    # A week later, as a .zip with the photo.
    later = zipped(tmp_path / "later.zip", {path.name: CHAT + NEXT, "IMG-1.jpg": b"\xff\xd8\xff"})
    out, _ = pr2("import", "ana", later, *zone)
    [added] = [line for line in out if line.startswith("added 1: ")]
    assert out == [
        "stored 2 documents for ana",
        added,
        f"left unchanged 1: {document['id']}",
        "replaced 0",
        "left out 1: an attachment, or a note of WhatsApp itself",
        "left out 1: not imported: an image (JPEG) (IMG-1.jpg)",
    ]


def test_broken_items_of_an_export_are_left_out_unless_that_is_to_fail(pr2: Any, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    good = {
        "id": 1,
        "type": "message",
        "date": "2024-03-01T12:00:00",
        "from": "Ben",
        "from_id": "u",
        "text": "tea",
    }
    chat = {
        "name": "Ben",
        "type": "personal_chat",
        "id": 1,
        "messages": [good, {"type": "message", "text": "x"}],
    }
    path.write_text(json.dumps(chat))
    _, said = pr2("import", "ana", path, "--on-error", "fail", code=2)
    assert said[-1] == "pr2: line 2: not a Telegram message"
    assert "there is no store" in pr2("list", code=2)[1][0]
    assert pr2("import", "ana", path)[0] == [
        "stored 1 document for ana",
        "skipped line 2: not a Telegram message",
    ]


def test_dates_in_either_order_are_refused_until_it_is_given(pr2: Any, tmp_path: Path) -> None:
    path = tmp_path / "WhatsApp Chat with Ben.txt"
    path.write_text("03/04/2024, 12:00 - Ben: tea\n")
    _, said = pr2("import", "ana", path, code=2)
    assert said[-1].endswith(
        "its dates can be read day first or month first: say --day-first or --month-first"
    )
    pr2("import", "ana", path, "--month-first", "--time-zone", "UTC")
    assert json.loads(pr2("export", "ana")[0][0])["created_at"] == "2024-03-04T12:00:00Z"
    # The same message in the other reading is another time, and so another document.
    assert pr2("import", "ana", path, "--day-first", "--time-zone", "UTC")[0] == ["stored 1 document for ana"]


def test_the_time_zone_of_the_machine_is_named(pr2: Any, tmp_path: Path) -> None:
    path = tmp_path / "WhatsApp Chat with Ben.txt"
    path.write_text(CHAT)
    _, [said] = pr2("import", "ana", path)
    assert "; times without a zone are in this machine's time zone, " in said
    _, [said] = pr2("import", "ana", path, "--time-zone", "Berlin", code=2)
    assert said == "pr2: 'Berlin' is not a time zone, like Europe/Berlin"


def test_a_file_that_nobody_can_read_says_what_it_seems_to_be(pr2: Any, tmp_path: Path) -> None:
    path = tmp_path / "msgstore.db"
    path.write_bytes(b"SQLite format 3\0")
    _, [said] = pr2("import", "ana", path, code=2)
    assert said.startswith("pr2: cannot tell the format of msgstore.db: it seems to be an SQLite database; ")
