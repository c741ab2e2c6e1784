"""Reads mail: mbox files, Maildir folders and single messages (.eml).

A mailbox is read message by message, and of a huge message only the beginning, so memory stays bounded.
"""

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parseaddr
from typing import IO, Any

from index.dates import date_if_read
from index.documents import LABEL_CHARACTERS
from index.errors import InvalidDocument
from index.formats.chats import identity
from index.formats.html import plain_text
from index.formats.items import parsed
from index.formats.members import Member
from index.formats.reading import each
from index.formats.replies import own_text
from index.formats.source import Beginning, Format, Items, Options, Skipped

MESSAGE_BYTES = 32 * 2**20
"""Bytes of one message that are looked at. Text comes first in a mail, attachments after it."""
_PIECE = 2**16
_SEPARATOR = re.compile(rb"From \S{1,200} .{0,200}\d\d:\d\d")
_ESCAPED = re.compile(rb">{1,20}From ")
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60}):")
_PREFIXES = frozenset(
    "re aw fw fwd wg sv vs vb rv tr res ref odp enc i antw ynt 回复 答复 转发 回覆 轉寄 返信 転送".split()
)
"""Marks of replies and forwards before a subject."""
_KNOWN = frozenset("from to date subject message-id received return-path delivered-to mime-version".split())
_CHARSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso-8859-1": "cp1252",
    "us-ascii": "cp1252",
    "ks_c_5601-1987": "cp949",
}
"""Encodings that are declared for text in a larger one."""
_BROKEN = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    RecursionError,
    HeaderParseError,
)
"""Errors of the standard library's parser on malformed messages."""


def split_mbox(stream: IO[bytes], most: int = MESSAGE_BYTES) -> Iterator[bytes]:
    """Yield each message of an mbox file, about its first `most` bytes.

    A message begins at a line "From sender date" after a blank line. Raises InvalidDocument if the file does
    not begin with one.
    """
    kept: list[bytes] | None = None
    size, at_start, after_blank = 0, True, True
    while piece := stream.readline(_PIECE):
        if at_start and after_blank and _SEPARATOR.match(piece):
            if kept is not None:
                yield b"".join(kept)
            kept, size = [], 0
        elif kept is None:
            if piece.strip():
                raise InvalidDocument('not mbox: it does not begin with a line "From sender date"', 1)
        elif size < most:
            # Lines of a message that look like a separator are escaped in the file.
            kept.append(piece[1:] if at_start and _ESCAPED.match(piece) else piece)
            size += len(piece)
        after_blank = at_start and not piece.strip(b"\r\n")
        at_start = piece.endswith(b"\n")
    if kept is not None:
        yield b"".join(kept)


def read_message(raw: bytes, number: int) -> Items:
    """Yield the document of one message after what is left out of it, or one fault with its `number`."""
    try:
        message = message_from_bytes(raw)
        if not message.keys():
            yield InvalidDocument("a broken mail: it has no headers", number)
            return
        texts, attachments = _parts(message)
        data = _document(message, own_text("\n\n".join(texts)))
    except _BROKEN as error:
        yield InvalidDocument(f"a broken mail: {error or type(error).__name__}", number)
        return
    yield from attachments
    yield parsed(data, number) if "text" in data else Skipped("a mail without text", data.get("title", ""))


def _document(message: Message, text: str) -> dict[str, Any]:
    name, address = parseaddr(_header(message, "From"))
    author = name or address
    subject = _header(message, "Subject")
    title = ": ".join(filter(None, (author, subject)))
    date, message_id = _header(message, "Date"), _header(message, "Message-ID")
    created_at = date_if_read(date)
    references = _header(message, "References").split() + _header(message, "In-Reply-To").split()
    metadata = {
        "author": author,
        "from": address,
        "to": ", ".join(shown or to for shown, to in getaddresses([_header(message, "To")])),
        "thread": _header(message, "X-GM-THRID") or next(iter(references), message_id),
        "labels": _header(message, "X-Gmail-Labels"),
    }
    data = {
        "id": identity("mail", message_id) if message_id else identity("mail", date, address, subject, text),
        "text": text,
        "title": title[:LABEL_CHARACTERS],
        "source": f"mail/{_thread(subject)}"[:LABEL_CHARACTERS],
        "created_at": created_at,
        "metadata": {key: value for key, value in metadata.items() if value},
    }
    return {key: value for key, value in data.items() if value}


def _header(message: Message, name: str) -> str:
    """Return a header as one line of text; '' if there is none."""
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    try:
        text = str(make_header(decode_header(decoded(raw.encode("ascii", "surrogateescape"), None))))
    except (ValueError, LookupError, HeaderParseError):
        text = raw.encode("ascii", "replace").decode()
    return " ".join(text.split())


def _thread(subject: str) -> str:
    """Return a subject without the marks of replies and forwards."""
    while True:
        mark, colon, rest = subject.replace("：", ":", 1).partition(":")
        if not colon or mark.partition("[")[0].strip().casefold() not in _PREFIXES:
            return subject or "no subject"
        subject = rest.strip()


def _parts(message: Message) -> tuple[list[str], list[Skipped]]:
    """Return the texts of a message in order, and its attachments."""
    if message.is_multipart() and message.get_content_maintype() == "multipart":
        found = [_parts(part) for part in message.get_payload() if isinstance(part, Message)]
        if message.get_content_subtype() == "alternative":
            # The first version with text is the plain one.
            texts = next((texts for texts, _ in found if any(map(str.strip, texts))), [])
        else:
            texts = [text for texts, _ in found for text in texts]
        return texts, [attachment for _, attachments in found for attachment in attachments]
    kind, name = message.get_content_type(), message.get_filename()
    if kind not in ("text/plain", "text/html") or name or message.get_content_disposition() == "attachment":
        return [], [Skipped(f"an attachment ({message.get_content_maintype()[:20]})", name or "")]
    payload = message.get_payload(decode=True)
    text = decoded(payload if isinstance(payload, bytes) else b"", message.get_content_charset())
    return [plain_text(text) if kind == "text/html" else text], []


def decoded(data: bytes, charset: str | None) -> str:
    """Decode text in a declared encoding; if it is unknown or wrong, as UTF-8 or else as Windows-1252."""
    for encoding in (_CHARSETS.get(charset or "", charset), "utf-8"):
        try:
            return data.decode(encoding or "utf-8")
        except (UnicodeError, LookupError):
            continue
    return data.decode("cp1252", "replace")


def _read_mbox(member: Member, options: Options) -> Items:
    with member.open() as stream:
        for number, raw in enumerate(split_mbox(stream), 1):
            yield from read_message(raw, number)


def _read_single(member: Member, options: Options) -> Items:
    with member.open() as stream:
        raw = stream.read(MESSAGE_BYTES)
    first, _, rest = raw.partition(b"\n")
    # Apple Mail writes the length before the message.
    yield from read_message(rest if first.strip().isdigit() else raw, 1)


def _is_message(beginning: Beginning) -> bool:
    """Whether a file begins with the headers of a mail."""
    head, blank, _ = beginning.data.decode("latin-1").replace("\r\n", "\n").partition("\n\n")
    lines = head.split("\n")
    # The length that Apple Mail writes before, and a header that is cut off.
    lines = lines[1 if lines[0].strip().isdigit() else 0 : None if blank else -1]
    found = [_HEADER.match(line) for line in lines if line[:1] not in (" ", "\t")]
    names = {match[1].lower() for match in found if match}
    return all(found) and len(names & _KNOWN) >= 3 and bool(names & {"from", "received", "return-path"})


MBOX = Format(
    "mbox",
    "mailbox (mbox)",
    each(_read_mbox),
    recognizes=lambda beginning: _SEPARATOR.match(beginning.data) is not None,
    suffix=".mbox",
)
MAIL = Format("mail", "mail (.eml or Maildir)", each(_read_single), recognizes=_is_message, suffix=".eml")
