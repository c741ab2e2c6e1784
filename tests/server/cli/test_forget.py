"""`pr2 profile forget` on a local store and through a server."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from server.cli import app
from tests.server.cli.test_profile import fail, here, lines, place, pr2, succeed, written

__all__ = ["here", "place"]

IDA: list[dict[str, Any]] = [
    {"id": "i1", "text": "Straße  to\nOslo was icy."},
    {"id": "i2", "text": "We drank coffee.", "title": "In STRASSE TO OSLO"},
    {"id": "i3", "text": "Bread with honey.", "metadata": {"to": ["Ben", {"name": "Zoë Quill"}], "km": 4711}},
    {"id": "i4", "text": "Bread with butter.", "source": "zoë quill"},
    {"id": "i5", "text": "My neighbour plays the cello."},
    {"id": "i6", "text": "My neighbour plays the cello."},
]


def imported(place: list[str], tmp_path: Path) -> None:
    succeed("import", "ida", written(tmp_path / "ida.ndjson", lines(*IDA)), *place)


def left(place: list[str]) -> list[str]:
    return [json.loads(line)["id"] for line in succeed("export", "ida", *place).splitlines()]


def test_documents_with_a_text_in_any_field_are_shown_and_deleted_when_one_agrees(
    place: list[str], tmp_path: Path
) -> None:
    imported(place, tmp_path)
    result = pr2("forget", "ida", "--matching", "tram", *place)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no document of ida matches" in result.stderr
    assert "needs a text" in fail("forget", "ida", "--matching", " ", *place)
    assert "add --semantic" in fail("forget", "ida", "--matching", "tram", "-k", "3", *place)
    assert "'bo'" in fail("forget", "bo", "--matching", "tram", *place)
    refused = pr2("forget", "ida", "--matching", "strasse to oslo", *place, stdin="n\n")
    assert (refused.exit_code, "Delete these 2 documents of 'ida'?" in refused.stderr) == (1, True)
    assert left(place) == [each["id"] for each in IDA]
    agreed = pr2("forget", "ida", "--matching", "strasse to oslo", *place, stdin="y\n")
    shown = agreed.stdout.splitlines()
    assert agreed.exit_code == 0
    assert [line.split()[0] for line in shown[:3]] == ["id", "i1", "i2"]
    assert shown[-2:] == ["deleted document i1 of ida", "deleted document i2 of ida"]
    succeed("forget", "ida", "--matching", "Zoe\u0308 Quill", "--yes", *place)
    assert left(place) == ["i5", "i6"]


def test_answers_asked_afterwards_do_not_know_what_was_forgotten(here: list[str], tmp_path: Path) -> None:
    imported(here, tmp_path)
    question = ["ask", "ida", "What does my neighbour play?", *here]
    before = CliRunner().invoke(app, question)
    assert "cello" in before.stdout
    # Both documents with this text, although a person is shown such a text once.
    succeed("forget", "ida", "--matching", "who makes music", "--semantic", "-k", "2", "--yes", *here)
    assert left(here) == ["i1", "i2", "i3", "i4"]
    after = CliRunner().invoke(app, question)
    assert after.exit_code == 0
    assert "cello" not in after.stdout
