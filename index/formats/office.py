"""Reads PDF and Word files, converted to Markdown by markitdown of the extra `[files]`."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from index.dates import Style, date_if_read
from index.errors import InvalidDocument, UnreadableImport
from index.formats.kinds import OLE, office
from index.formats.members import Member
from index.formats.parts import Part, date_of_name, in_parts, sections
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options

FILE_BYTES = 64 * 2**20
"""Largest PDF or Word file: a converter holds it in memory several times."""
UNPACKED_BYTES = 256 * 2**20
"""Most bytes that a Word file, which is a zip archive, may unpack to."""
_IMAGE = re.compile(r"!\[[^\[\]\n]{0,500}\]\(data:[^()\s]{0,100}\)")
_CORE = "docProps/core.xml"
_CREATED = "{http://purl.org/dc/terms/}created"
_CREATOR = "{http://purl.org/dc/elements/1.1/}creator"


def read_pdf(path: str, data: bytes, dates: Style) -> Items:
    """Yield the documents of a PDF: one or, of a long one, one for each page.

    Raises InvalidDocument if it is damaged, encrypted or without text, UnreadableImport without the extra.
    """
    try:
        from markitdown import StreamInfo
        from markitdown.converters import PdfConverter
        from pdfminer.pdfdocument import PDFDocument, PDFEncryptionError, PDFPasswordIncorrect
        from pdfminer.pdfparser import PDFParser
    except ImportError:
        raise _missing("PDFs") from None
    try:
        info = dict(*PDFDocument(PDFParser(io.BytesIO(data))).info[-1:])
        text: str = PdfConverter().convert(io.BytesIO(data), StreamInfo(extension=".pdf")).markdown
    except (PDFPasswordIncorrect, PDFEncryptionError):
        raise InvalidDocument("a PDF with a password: save it without one") from None
    except Exception as error:
        # Of a damaged file, the parsers raise whatever they stumble over.
        raise InvalidDocument(f"not a readable PDF ({type(error).__name__}): {error}") from None
    if not text.strip():
        raise InvalidDocument("a PDF without text, as scanners make it: run text recognition (OCR) over it")
    base = _base(path, _pdf_date(info.get("CreationDate")), _pdf_text(info.get("Author")), dates)
    # Form feeds end pages, or are missing where the converter found tables.
    text = text.replace("\0", "")
    whole = "\n\n".join(page for _, page in _pages(text))
    yield from in_parts("pdf", path, PurePosixPath(path).stem, whole, lambda _: _pages(text), base)


def _pages(text: str) -> Iterator[Part]:
    pages = text.split("\f")
    for number, page in enumerate(pages, 1):
        if page.strip():
            yield ((f"p. {number}",) if len(pages) > 1 else (), page.strip())


def _pdf_text(value: Any) -> str:
    from pdfminer.utils import decode_text

    return decode_text(value).strip() if isinstance(value, bytes) else ""


def _pdf_date(value: Any) -> datetime | None:
    """Read a date as PDFs write it, like D:20240305101500+01'00' (ISO 32000, 7.9.4)."""
    written = _pdf_text(value).removeprefix("D:").replace("'", "").replace("Z0000", "Z")
    try:
        return datetime.strptime(written.replace("Z", "+0000"), "%Y%m%d%H%M%S%z")
    except ValueError:
        return None


def read_docx(path: str, data: bytes, dates: Style) -> Items:
    """Yield the documents of a Word file: one or, of a long one, one for each heading.

    Raises InvalidDocument if it is damaged, encrypted, too large unpacked or without text, UnreadableImport
    without the extra.
    """
    try:
        from markitdown import StreamInfo
        from markitdown.converters import DocxConverter
    except ImportError:
        raise _missing("Word documents") from None
    if data.startswith(OLE):
        raise InvalidDocument("a Word document with a password, or an old one: save it as .docx without one")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > UNPACKED_BYTES:
                raise InvalidDocument(f"unpacks to more than {UNPACKED_BYTES // 2**20} MB")
            core = archive.read(_CORE) if _CORE in archive.namelist() else b"<none/>"
        properties = ElementTree.fromstring(core)
        text: str = DocxConverter().convert(io.BytesIO(data), StreamInfo(extension=".docx")).markdown
    except InvalidDocument:
        raise
    except Exception as error:
        raise InvalidDocument(f"not a readable Word document ({type(error).__name__}): {error}") from None
    text = _IMAGE.sub("", text).strip()
    if not text:
        raise InvalidDocument("a Word document without text")
    created = date_if_read(properties.findtext(_CREATED) or None, dates)
    created = created and created.astimezone(dates.zone)  # Word writes it in UTC.
    base = _base(path, created, (properties.findtext(_CREATOR) or "").strip(), dates)
    yield from in_parts("docx", path, PurePosixPath(path).stem, text, sections, base)


def _base(path: str, created: datetime | None, author: str, dates: Style) -> dict[str, Any]:
    """Return the fields that all parts share. A date in the file's name was stated by a person, and wins."""
    when = date_of_name(PurePosixPath(path).stem, dates) or created
    return {"created_at": when, "metadata": {"author": author} if author else {}}


def _missing(files: str) -> UnreadableImport:
    return UnreadableImport(f"{files} need an extra: pip install 'pr2[files]'")


def _reader(read: Callable[[str, bytes, Style], Items]) -> Callable[[Member, Options], Items]:
    def read_member(member: Member, options: Options) -> Items:
        if member.size > FILE_BYTES:
            raise InvalidDocument(f"longer than {FILE_BYTES // 2**20} MB: save it in parts")
        with member.open() as stream:
            data = stream.read()
        yield from read(member.name, data, options.dates)

    return read_member


def _is_pdf(beginning: Beginning) -> bool:
    return beginning.data.startswith(b"%PDF-")


def _is_docx(beginning: Beginning) -> bool:
    return office(beginning.data) == "a Word document"


PDF = Format("pdf", "PDF", each(_reader(read_pdf)), recognizes=_is_pdf)
DOCX = Format("docx", "Word document", each(_reader(read_docx)), recognizes=_is_docx, suffix=".docx")
