"""PDF and Word files as programs write them, whole, long, protected and broken."""

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from index.documents import iso
from index.errors import InvalidDocument, UnreadableImport
from index.formats import office
from index.formats.kinds import OLE
from tests.index.formats.exports import zipped
from tests.index.formats.reading import imported

LONG = "The dog barked at the postman again and the neighbour wrote a letter. " * 40
"""So long that two of them are split."""
WORD = '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
CORE = (
    '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/">'
    "<dc:creator>Ana Ruiz</dc:creator><dcterms:created>2024-03-05T23:15:00Z</dcterms:created>"
    "</cp:coreProperties>"
)


def pdf(path: Path, pages: Iterable[str], extra: str = "") -> Path:
    """Write a PDF with one line of text on each page, and with its date and author."""
    texts = list(pages)
    kids = " ".join(f"{4 + 2 * index} 0 R" for index in range(len(texts)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(texts)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for index, text in enumerate(texts):
        lines = [text[at : at + 70] for at in range(0, len(text), 70)]
        shown = " ".join(f"({line}) Tj 0 -12 Td" for line in lines)
        stream = f"BT /F1 10 Tf 72 760 Td {shown} ET" if text else ""
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * index} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    objects.append("<< /CreationDate (D:20240305101500+01'00') /Author (Ana Ruiz) >>")
    data, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n"
    start = len(data)
    data += f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n"
    data += "".join(f"{place:010} 00000 n \n" for place in places)
    data += f"trailer << /Size {len(places) + 1} /Root 1 0 R /Info {len(places)} 0 R {extra} >>\n"
    path.write_bytes(f"{data}startxref\n{start}\n%%EOF\n".encode())
    return path


def docx(path: Path, *paragraphs: str, core: str = CORE, others: dict[str, bytes] | None = None) -> Path:
    """Write a Word document. Paragraphs that begin with # are headings."""
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>{text[2:]}</w:t></w:r></w:p>'
        if text.startswith("# ")
        else f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"
        for text in paragraphs
    )
    files: dict[str, str | bytes] = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="r1" Target="word/document.xml" Type="http://schemas.openxmlformats.org/'
        'officeDocument/2006/relationships/officeDocument"/></Relationships>',
        "word/document.xml": f"{WORD}{body}</w:body></w:document>",
        "docProps/core.xml": core,
    }
    return zipped(path, {**files, **(others or {})})


def test_a_pdf_is_a_document_with_its_date_and_author(tmp_path: Path) -> None:
    path = pdf(tmp_path / "letter.bin", ["Dear Ben, the roof is mended.", "The bill follows."])
    found = imported(path)
    assert found.formats == ["pdf"]
    assert found.texts == ["Dear Ben, the roof is mended.\n\nThe bill follows."]
    assert found.times == ["2024-03-05T10:15:00+01:00"]
    (document,) = found.documents
    assert (document.title, document.source, document.metadata) == (
        "letter",
        "letter.bin",
        {"author": "Ana Ruiz"},
    )
    assert imported(path).documents == found.documents


def test_a_long_pdf_is_a_document_for_each_page_and_keeps_its_identity(tmp_path: Path) -> None:
    first = imported(pdf(tmp_path / "2023-01-02 report.pdf", ["short"])).documents[0]
    found = imported(pdf(tmp_path / "2023-01-02 report.pdf", [f"one {LONG}", "", f"three {LONG}"]))
    assert [text[:9] for text in found.texts] == ["one The d", "three The"]
    assert [document.title for document in found.documents] == [
        "2023-01-02 report > p. 1",
        "2023-01-02 report > p. 3",
    ]
    assert found.times == ["2023-01-02T00:00:00+01:00"] * 2
    assert found.documents[0].id == first.id
    assert found.documents[1].id != first.id


PASSWORD = (
    f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{'41' * 32}> /U <{'42' * 32}> >> /ID [<00> <00>]"
)


@pytest.mark.parametrize(
    ("pages", "extra", "reason"),
    [
        (["secret"], PASSWORD, "a PDF with a password: save it without one"),
        (["", ""], "", r"a PDF without text, as scanners make it: run text recognition \(OCR\)"),
    ],
)
def test_a_pdf_that_gives_no_text_says_why(tmp_path: Path, pages: list[str], extra: str, reason: str) -> None:
    path = pdf(tmp_path / "x.pdf", pages, extra)
    with pytest.raises(InvalidDocument, match=reason):
        imported(path)


def test_what_cannot_be_read_in_a_folder_is_a_fault_and_the_rest_goes_in(tmp_path: Path) -> None:
    pdf(tmp_path / "a.pdf", ["tea"])
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    pdf(tmp_path / "c.pdf", ["secret"], PASSWORD)
    docx(tmp_path / "d.docx", "milk")
    docx(tmp_path / "e.docx", "eggs", core="<broken")
    found = imported(tmp_path)
    assert (found.formats, found.texts) == (["pdf", "docx"], ["tea", "milk"])
    assert [error.partition(":")[0] for error in found.errors] == ["b.pdf", "c.pdf", "e.docx"]
    assert "not a readable PDF" in found.errors[0]
    assert "not a readable Word document (ParseError)" in found.errors[2]


def test_a_word_document_is_one_document_in_an_archive_too(tmp_path: Path) -> None:
    path = docx(tmp_path / "a", "# Trip", "Lisbon in May", others={"word/media/1.png": b"\x89PNG"})
    found = imported(path)
    assert (found.formats, found.texts) == (["docx"], ["# Trip\n\nLisbon in May"])
    assert found.times == ["2024-03-06T00:15:00+01:00"]
    assert found.documents[0].metadata == {"author": "Ana Ruiz"}
    packed = imported(zipped(tmp_path / "all.zip", {"x/a.docx": path.read_bytes()}))
    assert (packed.formats, packed.texts) == (["docx"], found.texts)


def test_a_long_word_document_is_a_document_for_each_heading(tmp_path: Path) -> None:
    found = imported(docx(tmp_path / "plan.docx", "# One", LONG, "# Two", LONG))
    assert [document.title for document in found.documents] == ["plan > One", "plan > Two"]
    assert found.documents[1].text == f"# Two\n\n{LONG.strip()}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\3\4 cut off", "not a readable Word document"),
        (OLE + b"\0" * 100, "a Word document with a password, or an old one"),
        (b"", "not a readable Word document"),
    ],
)
def test_a_broken_word_document_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.docx").write_bytes(content)
    with pytest.raises(InvalidDocument, match=reason):
        imported(tmp_path / "a.docx")


def test_a_word_document_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match="a Word document without text"):
        imported(docx(tmp_path / "a.docx", core=CORE.replace("2024", "0000")))


def test_a_converter_reads_no_more_than_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = docx(tmp_path / "a.docx", "tea", others={"word/media/1.bmp": b"\0" * 300_000})
    monkeypatch.setattr(office, "UNPACKED_BYTES", 200_000)
    with pytest.raises(InvalidDocument, match="unpacks to more than"):
        imported(bomb)
    monkeypatch.setattr(office, "FILE_BYTES", 100)
    with pytest.raises(InvalidDocument, match="longer than 0 MB: save it in parts"):
        imported(pdf(tmp_path / "b.pdf", ["tea"]))


def test_without_the_extra_one_file_is_an_error_and_in_a_folder_the_rest_goes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "markitdown", None)
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    pdf(tmp_path / "a.pdf", ["tea"])
    docx(tmp_path / "b.docx", "milk")
    zipped(tmp_path / "c.xlsx", {"[Content_Types].xml": "", "xl/workbook.xml": ""})
    (tmp_path / "d.md").write_text("eggs")
    for name in ("a.pdf", "b.docx", "c.xlsx"):
        with pytest.raises(UnreadableImport, match=r"need an extra: pip install 'pr2\[files\]'"):
            imported(tmp_path / name)
    found = imported(tmp_path)
    assert found.texts == ["eggs"]
    assert sorted(found.skipped) == [
        "Excel workbooks need an extra: pip install 'pr2[files]'",
        "PDFs need an extra: pip install 'pr2[files]'",
        "Word documents need an extra: pip install 'pr2[files]'",
    ]


def test_the_date_of_a_pdf_may_be_missing_or_nonsense() -> None:
    assert office._pdf_date(b"yesterday") is None
    assert office._pdf_date(None) is None
    moment = office._pdf_date(b"D:20240305101500Z00'00'")
    assert moment is not None
    assert iso(moment) == "2024-03-05T10:15:00Z"
