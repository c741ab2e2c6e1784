"""Names what an unknown file seems to be, and what can be done with it."""

from index.formats.source import Beginning

_SIGNATURES = (
    (b"%PDF-", "a PDF"),
    (b"\x89PNG\r\n", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"GIF8", "an image (GIF)"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"PK\3\4", "a zip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
    (b"!BDN", "an Outlook mailbox (PST)"),
    (b"OggS", "a sound recording"),
    (b"ID3", "a sound recording"),
    (b"RIFF", "a picture or recording (RIFF)"),
    (b"{\\rtf", "an RTF document"),
    (b"bplist00", "an Apple property list"),
    (b"\x7fELF", "a program"),
)
_OFFICE = {
    ".docx": "a Word document",
    ".xlsx": "an Excel workbook",
    ".pptx": "a PowerPoint presentation",
    ".odt": "an OpenDocument text",
    ".epub": "an EPUB book",
}
_ADVICE = {
    "a PDF": "save its text as .md or .txt",
    "a Word document": "save it as text",
    "an old Office document": "save it as text or CSV",
    "an Excel workbook": "save it as CSV",
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
    if beginning.suffix in _OFFICE and data.startswith(b"PK"):
        return _OFFICE[beginning.suffix]
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
        return "a web page" if "<html" in text[:1000].lower() else "XML"
    return "text"


def advice(kind: str) -> str:
    """Say what can be done with a file of this kind; '' if nothing."""
    return _ADVICE.get(kind, "")
