"""`pr2 profile` on a local store and, where that differs, through a server."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

from server.cli import app
from server.http.app import create_app
from server.service import Service
from tests.server.live import ANA, BEN, serving

LOCOMO = [
    {
        "sample_id": name,
        "conversation": {
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [{"speaker": name, "dia_id": "D1:1", "text": f"I am {name}."}],
        },
    }
    for name in ("conv-1", "conv-2")
]


@pytest.fixture(params=["local", "server"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, make_service: Callable[..., Service]
) -> Iterator[list[str]]:
    if request.param == "local":
        yield ["--data", str(tmp_path / "local")]
        return
    service = make_service()
    with serving(create_app(service.settings, service)) as url:
        yield ["--server", url]


@pytest.fixture
def here(tmp_path: Path) -> list[str]:
    return ["--data", str(tmp_path / "local")]


def pr2(*arguments: str, stdin: str | None = None) -> Any:
    return CliRunner().invoke(app, ["profile", *arguments], input=stdin)


def succeed(*arguments: str, **options: Any) -> str:
    result = pr2(*arguments, **options)
    assert result.exit_code == 0, result.stderr or result.exception
    return str(result.stdout)


def fail(*arguments: str) -> str:
    result = pr2(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.stdout
    # Before it, an import says which format it recognized.
    [message] = [line for line in result.stderr.splitlines() if line.startswith("pr2: ")]
    return f"{message}\n"


def written(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def lines(*documents: Any) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


def test_a_profile_goes_in_out_and_in_again(place: list[str], tmp_path: Path) -> None:
    file = written(tmp_path / "ana.ndjson", "\ufeff" + lines(*ANA, ANA[0]))
    report = succeed("import", "ana", file, *place)
    assert report == "stored 3 documents for ana\ncame more than once, the last one counts: a1\n"
    exported = succeed("export", "ana", *place)
    assert [json.loads(line) for line in exported.splitlines()] == ANA
    out = tmp_path / "out.ndjson"
    succeed("export", "ana", "--output", str(out), *place)
    assert out.read_text() == exported
    assert succeed("import", "copy", "-", *place, stdin=exported) == "stored 3 documents for copy\n"
    assert succeed("export", "copy", *place) == exported


def test_answers_are_exported_with_what_was_said_of_them(place: list[str], tmp_path: Path) -> None:
    succeed("import", "ana", written(tmp_path / "ana.ndjson", lines(*ANA)), *place)
    asked = CliRunner().invoke(app, ["ask", "ana", "Which pears?", "--json", *place])
    assert asked.exit_code == 0, asked.stderr
    out = tmp_path / "answers.ndjson"
    succeed("export", "ana", "--answers", "--output", str(out), *place)
    [answer] = map(json.loads, out.read_text("utf-8").splitlines())
    assert (answer["question"], answer["feedback"]) == ("Which pears?", None)
    assert answer["trajectory"]["steps"]
    assert succeed("export", "ana", "--answers", *place) == out.read_text("utf-8")
    assert "nobody" in fail("export", "nobody", "--answers", *place)


def test_a_bad_line_stops_everything_or_is_reported(place: list[str], tmp_path: Path) -> None:
    file = written(tmp_path / "x.ndjson", lines(ANA[0]) + '{"id": "a2"}\nnot json\n' + lines(BEN[0]))
    assert fail("import", "ana", file, *place).startswith("pr2: line 2: text: Field required")
    # Of a server, ana is unknown; here, not even a store was made.
    assert re.match(
        "pr2: (nothing is stored for the user 'ana'|there is no store)", fail("show", "ana", *place)
    )
    report = succeed("import", "ana", file, "--on-error", "skip", *place).splitlines()
    assert report[0] == "stored 2 documents for ana"
    assert report[1].startswith("skipped line 2: text: Field required")
    assert report[2].startswith("skipped line 3: not JSON")


def test_an_import_says_what_it_replaced(place: list[str], tmp_path: Path) -> None:
    file = written(tmp_path / "x.ndjson", lines(ANA[0], ANA[1]))
    succeed("import", "ana", file, *place)
    file = written(tmp_path / "y.ndjson", lines(ANA[0], ANA[1] | {"text": "Other."}, BEN[0]))
    assert succeed("import", "ana", file, *place).splitlines() == [
        "stored 3 documents for ana",
        f"added 1: {BEN[0]['id']}",
        f"left unchanged 1: {ANA[0]['id']}",
        f"replaced 1: {ANA[1]['id']}",
    ]


def test_show_search_and_delete(place: list[str], tmp_path: Path) -> None:
    file = written(
        tmp_path / "ana.json", json.dumps([*ANA, *({"id": f"n{i}", "text": "x"} for i in range(5))])
    )
    succeed("import", "ana", file, *place)
    overview = succeed("show", "ana", *place)
    for part in ("documents 8", "2024-05-01 to 2024-05-01", "Dentist: The dentist moved", "…", "n4"):
        assert part in overview
    assert "n1" not in overview
    assert "We walked along the river until dark." in succeed("show", "ana", "a3", *place)
    assert "'ana' has no document 'zz'" in fail("show", "ana", "zz", *place)

    found = succeed("search", "ana", "ripe fruit", "teeth", "-k", "1", *place).splitlines()
    assert [line.split("  ")[0] for line in found][::2] == ["search ripe fruit", "search teeth"]
    as_json = json.loads(succeed("search", "ana", "pears", "--retriever", "bm25", "--json", *place))
    assert [passage["document_id"] for passage in as_json["results"][0]] == ["a1"]
    for limits in (("--before", "2024-05-02"), ("--as-of", "2024-05-01"), ("--after", "2024-05-01")):
        assert "pears" in succeed("search", "ana", "pears", "--retriever", "bm25", *limits, *place)
    past = ("--before", "2024-05-01", "--retriever", "bm25")
    assert "nothing found" in succeed("search", "ana", "pears", *past, *place)
    assert "no time zone 'Mars'" in fail("search", "ana", "x", "--time-zone", "Mars", *place)
    assert "oracle" in fail("search", "ana", "x", "--retriever", "oracle", *place)

    assert "deleted document a2" in succeed("delete", "ana", "--document", "a2", "-y", *place)
    assert "has no document" in fail("delete", "ana", "--document", "a2", "-y", *place)
    assert pr2("delete", "ana", *place, stdin="n\n").exit_code == 1
    receipt = json.loads(succeed("delete", "ana", *place, stdin="y\n").removeprefix(" y\n"))
    assert (receipt["user"], receipt["documents"]) == ("ana", 7)
    assert "nothing is stored" in fail("delete", "ana", "--yes", *place)


def test_a_csv_file_by_its_own_columns(here: list[str], tmp_path: Path) -> None:
    file = written(tmp_path / "x.csv", 'ID,BODY,mood\n1,"two\nlines",calm\n2,,odd\n')
    assert "line 4: text: Field required" in fail(
        "import", "ana", file, "--map", "id=ID", "--map", "text=BODY", *here
    )
    succeed("import", "ana", file, "--map", "id=ID", "--map", "text=BODY", "--on-error", "skip", *here)
    assert json.loads(succeed("export", "ana", *here)) == {
        "id": "1",
        "text": "two\nlines",
        "metadata": {"mood": "calm"},
    }


MAILS = """\
MessageId,Date,From,Subject,Body
<CAF+abc/def=1@mail.gmail.com>,"Tue, 05 Mar 2024 23:30:00 -0800",ana@example.org,Tea,"I switched to oolong,
because green tea keeps me awake."
<20240306081500.7/0@mx.example.org>,"6 Mar 2024 08:15:00 GMT",ben@example.org,Re: Tea,Try rooibos.
"""
"""As mail programs export it: ids with slashes and plus signs, and dates of RFC 2822."""


def test_a_mail_is_imported_shown_cited_and_deleted_by_its_message_id(
    place: list[str], tmp_path: Path
) -> None:
    # The command of the README.
    readme = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
    [command] = re.findall(r"pr2 profile import (ana mails\.csv .*)", readme)
    arguments = command.replace("mails.csv", written(tmp_path / "mails.csv", MAILS)).split()
    assert "id=MessageId" in arguments
    assert succeed("import", *arguments, *place) == "stored 2 documents for ana\n"
    first, second = "<CAF+abc/def=1@mail.gmail.com>", "<20240306081500.7/0@mx.example.org>"
    assert f"/documents/{quote(first, safe='')}'" in readme
    assert f"--data-urlencode 'id={first}'" in readme
    exported = [json.loads(line) for line in succeed("export", "ana", *place).splitlines()]
    assert exported == [
        {
            "id": first,
            "text": "I switched to oolong,\nbecause green tea keeps me awake.",
            "created_at": "2024-03-05T23:30:00-08:00",
            "metadata": {"From": "ana@example.org", "Subject": "Tea"},
        },
        {
            "id": second,
            "text": "Try rooibos.",
            "created_at": "2024-03-06T08:15:00Z",
            "metadata": {"From": "ben@example.org", "Subject": "Re: Tea"},
        },
    ]
    assert "oolong" in succeed("show", "ana", first, *place)
    found = json.loads(succeed("search", "ana", "green tea", "-k", "1", "--json", *place))
    [passage] = found["results"][0]
    # The writer's day, not that of Greenwich.
    assert (passage["document_id"], passage["created_at"][:10]) == (first, "2024-03-05")
    assert f"deleted document {second}" in succeed("delete", "ana", "--document", second, "-y", *place)
    assert "has no document" in fail("show", "ana", second, *place)
    assert "oolong" in succeed("show", "ana", first, *place)


def test_a_wrong_mapping_names_the_columns_that_there_are(here: list[str], tmp_path: Path) -> None:
    file = written(tmp_path / "x.csv", "ID,BODY\n1,a\n")
    assert "no column 'TEXT'; its columns are ID, BODY" in fail(
        "import", "ana", file, "--map", "id=ID", "--map", "text=TEXT", *here
    )
    assert "unknown field: body" in fail("import", "ana", file, "--map", "body=BODY", *here)
    assert "--map takes FIELD=COLUMN, not 'id'" in fail("import", "ana", file, "--map", "id", *here)
    other = written(tmp_path / "x.md", "A note")
    assert "--map is for CSV, TSV, Excel and JSON" in fail("import", "a", other, "--map", "id=ID", *here)


def test_locomo_conversations_become_users(here: list[str], tmp_path: Path) -> None:
    file = written(tmp_path / "locomo.json", json.dumps(LOCOMO))
    assert succeed("import", "conv-2", file, "--format", "locomo", *here) == "stored 1 document for conv-2\n"
    succeed("import", "all", file, "--format", "locomo", *here)
    assert [line.split() for line in succeed("list", *here).splitlines()] == [
        ["1", "conv-1"],
        ["1", "conv-2"],
    ]
    assert json.loads(succeed("export", "conv-1", *here))["created_at"] == "2023-05-08T13:56:00Z"
    assert "it has conv-1, conv-2" in fail("import", "ana", file, "--format", "locomo", *here)
    only = written(tmp_path / "only.json", json.dumps(LOCOMO[:1]))
    assert succeed("import", "ana", only, "--format", "locomo", *here) == "stored 1 document for ana\n"
    wrong = written(tmp_path / "wrong.json", json.dumps(ANA))
    assert "item 1" in fail("import", "all", wrong, "--format", "locomo", *here)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"id": "1", "text": "a"}\n{"id": "2", "text": "é"}\n'.encode("latin-1"),
            "line 2: not UTF-8: byte 0xe9",
        ),
        ('{"id": "1", "text": "a"}'.encode("utf-16"), "the file is in UTF-16"),
        (b"hello", "cannot tell the format"),
        (b'[{"id": ', "not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    here: list[str], tmp_path: Path, content: bytes, message: str
) -> None:
    assert message in fail("import", "ana", written(tmp_path / "x", content), *here)


def test_a_file_that_is_not_there(here: list[str], tmp_path: Path) -> None:
    assert "No such file or directory" in fail("import", "ana", str(tmp_path / "none"), *here)
    (tmp_path / "empty").mkdir()
    assert "empty holds nothing that can be imported" in fail("import", "ana", str(tmp_path / "empty"), *here)


def test_an_export_that_fails_leaves_the_old_file(here: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    out.write_text("old")
    fail("export", "nobody", "--output", str(out), *here)
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.ndjson"]
    succeed("import", "ana", "-", *here, stdin=lines(*ANA))
    assert "cannot write" in fail("export", "ana", "--output", str(tmp_path / "no" / "x"), *here)


def test_where_there_is_nobody_it_says_how_to_begin(here: list[str]) -> None:
    message = fail("list", *here)
    assert "there is no store in" in message
    assert "pr2 profile import" in message
    succeed("import", "ana", "-", *here, stdin=lines(*ANA))
    succeed("delete", "ana", "--yes", *here)
    result = pr2("list", *here)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "pr2 profile import" in result.stderr
