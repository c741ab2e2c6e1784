import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from index.documents import Document, iso
from index.errors import InvalidDocument
from index.formats import FORMATS, Options, opened_members, read, recognize
from index.formats.source import Skipped
from tests.index.formats.reading import BERLIN

HEADER = ("Datum", "Größe", "Text")
ROWS = [("05.03.2024 10:15", "groß", "Tee; und Brötchen"), ("13.03.2024", "", "zweite\nZeile")]
COLUMNS = {"created_at": "Datum", "text": "Text"}
TIMES = ["2024-03-05T10:15:00Z", "2024-03-13T00:00:00Z"]


def table(delimiter: str, *rows: tuple[str, ...], end: str = "\r\n") -> str:
    return "".join(delimiter.join(f'"{cell}"' for cell in row) + end for row in (HEADER, *rows))


def documents(
    path: Path, form: str | None = None, **options: Any
) -> list[Document | InvalidDocument | Skipped]:
    with opened_members(path) as members:
        recognition = recognize(members, FORMATS, form)
        sources = read(recognition, members, Options("ana", **options))
        return [item for _, source in sources for item in source.documents]


def texts(items: list[Document | InvalidDocument | Skipped]) -> list[str]:
    return [item.text if isinstance(item, Document) else str(item) for item in items]


def times(items: list[Document | InvalidDocument | Skipped]) -> list[str | None]:
    return [iso(item.created_at) if item.created_at else None for item in items if isinstance(item, Document)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_is_read_in_its_encoding_and_with_its_delimiter(
    tmp_path: Path, encoding: str, delimiter: str
) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(table(delimiter, *ROWS).encode(encoding))
    items = documents(path, columns=COLUMNS)
    assert texts(items) == ["Tee; und Brötchen", "zweite\nZeile"]
    assert times(items) == TIMES
    assert isinstance(items[0], Document)
    assert items[0].metadata == {"Größe": "groß"}
    assert [item.id for item in documents(path, columns=COLUMNS) if isinstance(item, Document)] == [
        item.id for item in items if isinstance(item, Document)
    ]


@pytest.mark.parametrize("stated", ["sep=;\r\n", '"sep=;"\n', "SEP=;\n"])
def test_the_delimiter_may_be_stated(tmp_path: Path, stated: str) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("\ufeff" + stated + "id;text\na;tea, milk\nb\nc;dog\n", encoding="utf-8")
    items = documents(path)
    assert texts(items) == ["tea, milk", "does not have the 2 columns of the header", "dog"]
    assert isinstance(items[1], InvalidDocument)
    assert items[1].line == 4


def test_a_tsv_and_a_table_of_one_column(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tid\ntea, milk\tx\n")
    (tmp_path / "b.csv").write_text("text\ntea; milk\n")
    assert texts(documents(tmp_path / "a.tsv")) == ["tea, milk"]
    assert texts(documents(tmp_path / "b.csv")) == ["tea; milk"]
    assert texts(documents(tmp_path)) == ["tea, milk", "tea; milk"]


def test_the_order_of_dates_is_settled_by_the_file_or_stated_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,created_at\na,05/03/2024\nb,12/31/2024\n")
    assert times(documents(path)) == ["2024-05-03T00:00:00Z", "2024-12-31T00:00:00Z"]
    path.write_text("text,created_at\na,05/03/2024\n")
    (fault,) = documents(path)
    assert "'05/03/2024' does not say whether the day or the month comes first" in str(fault)
    assert times(documents(path, day_first=True, zone=BERLIN)) == ["2024-03-05T00:00:00+01:00"]
    assert times(documents(path, day_first=False)) == ["2024-05-03T00:00:00Z"]
    path.write_text("text,created_at\na,13/03/2024\nb,03/13/2024\n")
    assert len(texts(documents(path))) == 2
    assert times(documents(path)) == []


def test_a_serial_is_a_day_only_where_a_column_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,day\na,45356.427083333336\n")
    assert times(documents(path, columns={"created_at_serial": "day"})) == ["2024-03-05T10:15:00Z"]
    (fault,) = documents(path, columns={"created_at": "day"})
    assert "is not a plausible time" in str(fault)


def test_bytes_that_do_not_fit_the_encoding_are_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"text\n" + b"tea\n" * 100_000 + b"\xff\n")
    items = documents_until_refused(path)
    assert items[:2] == ["tea", "tea"]
    assert items[-1] == "not UTF-8, as its beginning is: save it as UTF-8"


def documents_until_refused(path: Path) -> list[str]:
    found: list[str] = []
    with opened_members(path) as members:
        ((_, source),) = read(recognize(members, FORMATS), members, Options("ana"))
        try:
            found += texts(list(_collected(source.documents, found)))
        except InvalidDocument as error:
            found.append(str(error))
    return found


def _collected(items: Any, found: list[str]) -> Iterator[Any]:
    for item in items:
        found.append(item.text)
    yield from ()


JSON_ITEMS = [
    {"ts": 1709633700, "msg": {"body": "tea"}, "who": "Ana", "metadata": {"kept": 1}},
    {"ts": "2024-03-12T10:15:00+02:00", "msg": {"body": "dog"}, "id": "x"},
    {"ts": 0, "msg": {"body": "never 1970"}},
    {"msg": {}},
]


@pytest.mark.parametrize("name", ["x.json", "x.ndjson"])
def test_keys_of_json_are_mapped_too(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    lines = "\n".join(map(json.dumps, JSON_ITEMS))
    path.write_text(lines if name == "x.ndjson" else json.dumps(JSON_ITEMS))
    items = documents(path, columns={"text": "msg.body", "created_at": "ts"})
    first, second, third, fourth = items
    assert isinstance(first, Document)
    assert isinstance(second, Document)
    assert times(items) == ["2024-03-05T10:15:00Z", "2024-03-12T10:15:00+02:00"]
    assert first.metadata == {"who": "Ana", "kept": 1}
    assert second.id == "x"
    assert "'0' is not a plausible time" in str(third)
    assert "text: Field required" in str(fourth)
    with pytest.raises(InvalidDocument, match="unknown field: body"):
        documents(path, columns={"body": "msg"})


def workbook(**sheets: list[list[str | float | None]]) -> bytes:
    """An .xlsx as Excel writes it; numbers of more than 40,000 have the style of dates."""

    def cell(value: str | float | None) -> str:
        match value:
            case None:
                return "<c/>"
            case str():
                return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
            case _:
                return f'<c s="{int(value > 40_000)}"><v>{value}</v></c>'

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    files = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        + "".join(f'<sheet name="{name}" sheetId="{i}" r:id="s{i}"/>' for i, name in enumerate(sheets, 1))
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        + "".join(
            f'<Relationship Id="s{i}" Type="{office}/worksheet" Target="worksheets/s{i}.xml"/>'
            for i in range(1, len(sheets) + 1)
        )
        + f'<Relationship Id="st" Type="{office}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs><xf numFmtId="0"/>'
        '<xf numFmtId="22"/></cellXfs></styleSheet>',
    }
    for i, rows in enumerate(sheets.values(), 1):
        inner = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
        files[f"xl/worksheets/s{i}.xml"] = (
            f'<worksheet xmlns="{main}"><sheetData>{inner}</sheetData></worksheet>'
        )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return target.getvalue()


def test_a_workbook_is_read_sheet_by_sheet(tmp_path: Path) -> None:
    path = tmp_path / "notes.xlsx"
    path.write_bytes(
        workbook(
            March=[
                ["text", "created_at", "cups"],
                ["tea", 45356.427083333336, 2],
                [None, None, None],
                ["dog", None, None],
            ],
            Other=[["x", "y"], ["1", "2"]],
        )
    )
    items = documents(path, zone=BERLIN)
    assert [item.text for item in items if isinstance(item, Document)] == ["tea", "dog"]
    assert times(items) == ["2024-03-05T10:15:00+01:00", None]
    assert isinstance(items[0], Document)
    assert items[0].metadata == {"cups": 2}
    assert [item.reason for item in items if isinstance(item, Skipped)] == ["a sheet without the columns"]


def test_a_workbook_without_the_columns_or_broken_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.xlsx"
    path.write_bytes(workbook(Sheet=[["a", "b"], ["1", "2"]]))
    with pytest.raises(InvalidDocument, match="no column 'text'; its columns are a, b"):
        documents(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InvalidDocument, match="not a readable Excel workbook"):
        documents(path)


def test_workbooks_are_read_in_folders_and_archives_and_others_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(workbook(Sheet=[["text"], ["tea"]]))
    (tmp_path / "prices.xlsx").write_bytes(workbook(Sheet=[["a", "b"], ["1", "2"]]))
    (tmp_path / "torn.xlsx").write_bytes((tmp_path / "prices.xlsx").read_bytes()[:-100])
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("notes", "prices.xlsx"):
            archive.write(tmp_path / name, name)
    found = documents(tmp_path / "all.zip")
    assert texts(found[:1]) == ["tea"]
    reason = "an Excel workbook: the file has no column 'text'; its columns are a, b"
    assert found[-1] == Skipped(reason, "prices.xlsx")
    in_folder = documents(tmp_path)
    assert texts(in_folder[:1]) == ["tea"]
    assert Skipped(reason, "prices.xlsx") in in_folder
    assert [item.where for item in in_folder if isinstance(item, Skipped)][-1] == "torn.xlsx"
    with pytest.raises(InvalidDocument, match="no column 'message'"):
        documents(tmp_path / "notes", columns={"text": "message"})
    faults = texts(documents(tmp_path / "all.zip", columns={"text": "a"}))
    assert "notes: the file has no column 'a'; its columns are text" in faults
    assert faults[-1] == "1"
