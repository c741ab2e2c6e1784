"""Names what an unknown file seems to be, and what can be done with it."""

import struct
from collections.abc import Iterator

from index.formats.source import Beginning

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Beginning of old Office documents, and of new ones with a password."""
_ENTRY = b"PK\3\4"
_PACKAGE = frozenset(("[Content_Types].xml", "_rels/.rels", "docProps/app.xml", "Index/Document.iwa"))
"""Files that packages of Office have near their beginning."""
_SIGNATURES = (
    (b"%PDF-", "a PDF"),
    (b"\x89PNG\r\n", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"GIF8", "an image (GIF)"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (_ENTRY, "a zip archive"),
    (OLE, "an old Office document"),
    (b"!BDN", "an Outlook mailbox (PST)"),
    (b"OggS", "a sound recording"),
    (b"ID3", "a sound recording"),
    (b"RIFF", "a picture or recording (RIFF)"),
    (b"{\\rtf", "an RTF document"),
    (b"bplist00", "an Apple property list"),
    (b"\x7fELF", "a program"),
)
_OFFICE = {
    "word/": "a Word document",
    "xl/": "an Excel workbook",
    "ppt/": "a PowerPoint presentation",
    "Index/Document.iwa": "a document of Apple's Pages, Numbers or Keynote",
    "application/vnd.oasis.opendocument.text": "an OpenDocument text",
    "application/vnd.oasis.opendocument.spreadsheet": "an OpenDocument spreadsheet",
    "application/epub+zip": "an EPUB book",
}
"""By the folder of an archive that holds the contents or, for those that state it, by their media type."""
_APPS = {
    "page_body chat_page": "a Telegram chat as a web page",
    "chatlog__message": "a Discord chat as a web page",
    "<title>Exported Data</title>": "a Telegram chat as a web page",
}
"""Marks of web pages that apps write."""
PAGE = "a web page"
_ADVICE = {
    "an old Office document": "save it as .docx or .xlsx",
    "an Office document with a password": "save it without its password",
    "a PowerPoint presentation": "save it as a PDF",
    "an OpenDocument text": "save it as .docx or as a PDF",
    "an OpenDocument spreadsheet": "save it as .xlsx or CSV",
    "a document of Apple's Pages, Numbers or Keynote": "export it to Word, Excel or PDF",
    "an EPUB book": "save it as a PDF",
    "an RTF document": "save it as .docx",
    "a Telegram chat as a web page": "export it in the format JSON",
    "a Discord chat as a web page": "export it in the format JSON",
    "an SQLite database": "export from the app that made it, or query it into a CSV file",
    "a gzip archive": "unpack it and import the file or folder inside",
    "a 7z archive": "unpack it and import the folder",
    "a RAR archive": "unpack it and import the folder",
    "a zip archive": "unpack it, or import it by itself",
    "an Outlook mailbox (PST)": "export its mails as .eml or mbox",
    "an encrypted Signal or WhatsApp backup": "export the chat as text in the app instead",
    "JSON": "bring it into objects with a text field, or name its format with --format",
    "XML": "name its format with --format if it is one of the known exports",
    "text": "name its format with --format",
}


def seems_to_be(beginning: Beginning) -> str:
    """Say what kind of file this is, like "an image (PNG)"."""
    data = beginning.data
    if not data:
        return "an empty file"
    if kind := office(data):
        return kind
    if data.startswith(OLE) and "EncryptedPackage".encode("utf-16-le") in data:
        return "an Office document with a password"
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[4:8] == b"ftyp":
        return "a video or picture (MP4, HEIC)"
    if beginning.suffix in (".crypt14", ".crypt15", ".backup"):
        return "an encrypted Signal or WhatsApp backup"
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "a binary file"
    text = beginning.text.lstrip()
    if text[:1] in ("{", "["):
        return "JSON"
    if text[:1] == "<":
        return _page(beginning.name, text) if "<html" in text[:1000].lower() else "XML"
    return "text"


def _page(name: str, text: str) -> str:
    if name.endswith("archive_browser.html"):
        return "Google Takeout's table of contents"
    return next((kind for mark, kind in _APPS.items() if mark in text), PAGE)


def office(data: bytes) -> str:
    """Say what kind of Office document an archive is by its first bytes, like "a Word document"; '' if none.

    An archive in which somebody packed such documents is none.
    """
    names = list(_entries(data))
    if names[:1] == ["mimetype"]:
        return next((kind for mark, kind in _OFFICE.items() if data.startswith(mark.encode(), 38)), "")
    if not _PACKAGE.intersection(names):
        return ""
    return next((kind for mark, kind in _OFFICE.items() if any(name.startswith(mark) for name in names)), "")


def _entries(data: bytes) -> Iterator[str]:
    """Yield the names of an archive's files whose headers are in `data`."""
    at = 0 if data.startswith(_ENTRY) else -1
    while at >= 0:
        stored, _, length, extra = struct.unpack_from("<IIHH", data.ljust(at + 30, b"\0"), at + 18)
        yield data[at + 30 : at + 30 + length].decode("utf-8", "replace")
        # An archive in the contents has headers of its own; only a header right behind is surely the next.
        end = at + 30 + length + extra + stored
        at = end if data.startswith(_ENTRY, end) else data.find(_ENTRY, end)


def advice(kind: str) -> str:
    """Say what can be done with a file of this kind; '' if nothing."""
    return _ADVICE.get(kind, "")
