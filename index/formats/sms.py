"""Reads the XML of SMS Backup & Restore: text messages, multimedia messages and calls."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import IO
from xml.parsers import expat

from index.documents import TEXT_CHARACTERS, Document
from index.errors import InvalidDocument
from index.formats.chats import ME, Occurrences, identity, message
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options, Skipped

_PIECE = 2**16
_LONGEST = 4 * TEXT_CHARACTERS
"""Bytes of an attribute that are read: a text may have as many, an attachment has more and is not read."""
_SURROGATES = re.compile(rb"&#(5[5-7]\d{3});&#(5[5-7]\d{3});")
"""Characters beyond 16 bits, which the app writes as two halves, and no XML parser accepts."""
_HALF = re.compile(rb"(?:&#5(?:5\d\d\d|6[0-2]\d\d|63[01]\d);)?(?:&(?:#\d{0,5})?)?\Z")
"""The beginning of such a pair at the end of a piece, or nothing."""
_MARKUP = re.compile(rb"<[!?]?|[>\"']")
_ENDS = [
    expat.errors.codes[name]
    for name in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
    )
]
"""Errors of a file that ends too early."""
_SENT = "2"
_CALLS = {
    "1": "incoming call",
    "2": "outgoing call",
    "3": "missed call",
    "4": "voicemail",
    "5": "rejected call",
}
_DRAFTS = ("3", "4", "5", "6")
_UNKNOWN = ("", "null", "(Unknown)")


def read_sms(member: Member, options: Options) -> Items:
    """Yield messages and calls; drafts and messages without text are Skipped."""
    occurrences = Occurrences()
    with member.open() as stream:
        for number, (tag, data, text) in enumerate(_elements(stream), 1):
            yield _item(tag, data, text, number, occurrences, options)


def _item(
    tag: str, data: Mapping[str, str], text: str, number: int, occurrences: Occurrences, options: Options
) -> Document | InvalidDocument | Skipped:
    kind = data.get("msg_box" if tag == "mms" else "type", "")
    address = data.get("number" if tag == "call" else "address", "")
    name = data.get("contact_name", "")
    partner = address if name in _UNKNOWN else name
    if tag == "call":
        text = f"{_CALLS.get(kind, 'call')}{_lasting(data.get('duration', ''))}"
    elif kind in _DRAFTS:
        return Skipped("a draft or a message that was not sent")
    if not text.strip():
        return Skipped("a message without text")
    try:
        when = options.since_1970(int(data.get("date", "")), 1_000)
    except ValueError:
        return InvalidDocument(f"not a time: {data.get('date', '')!r:.60}", number)
    parts = tag, address, data["date"], kind, text
    return message(
        identity("sms", *parts, occurrences(*parts)),
        text,
        author=ME if kind == _SENT else partner,
        when=when,
        source=f"{'Calls' if tag == 'call' else 'SMS'}/{partner}",
        number=number,
        title=f"to {partner}" if kind == _SENT else None,
    )


def _lasting(seconds: str) -> str:
    return f" of {timedelta(seconds=int(seconds))}" if seconds.isdigit() and int(seconds) else ""


def _elements(stream: IO[bytes]) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Yield (tag, attributes, text) of each message or call. Raises InvalidDocument."""
    found: list[tuple[str, Mapping[str, str], str]] = []
    mms: dict[str, str] = {}
    texts: list[str] = []

    def start(tag: str, data: dict[str, str]) -> None:
        if tag == "sms":
            body = data.get("body", "")
            found.append((tag, data, "" if body == "null" else body))
        elif tag == "call":
            found.append((tag, data, ""))
        elif tag == "mms":
            mms.clear()
            mms.update(data)
            texts.clear()
        elif tag == "part" and data.get("ct") == "text/plain":
            texts.append(data.get("text", ""))

    def end(tag: str) -> None:
        if tag == "mms":
            found.append((tag, dict(mms), "\n".join(texts)))

    def doctype(*declared: object) -> None:
        raise InvalidDocument("not a backup of messages: it declares a document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = doctype
    try:
        for piece in _shortened(stream):
            parser.Parse(piece)
            yield from found
            found.clear()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        yield from found
        if error.code in _ENDS:
            raise InvalidDocument("the file ends in the middle: make the backup again") from None
        raise InvalidDocument(f"not XML: {expat.ErrorString(error.code)}", error.lineno) from None


def _shortened(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the file in pieces, with very long attributes cut off and halves of characters joined."""
    rest = b""
    for piece in _without_long_values(stream):
        rest += piece
        half = _HALF.search(rest[-20:])
        cut = len(rest) - (len(half[0]) if half else 0)
        yield _SURROGATES.sub(_joined, rest[:cut])
        rest = rest[cut:]
    yield _SURROGATES.sub(_joined, rest)


def _joined(found: re.Match[bytes]) -> bytes:
    high, low = int(found[1]), int(found[2])
    if 0xD800 <= high < 0xDC00 <= low < 0xE000:
        return f"&#{0x10000 + ((high - 0xD800) << 10) + low - 0xDC00};".encode()
    return b"\xef\xbf\xbd"


def _without_long_values(stream: IO[bytes]) -> Iterator[bytes]:
    quote, tag, length = b"", False, 0
    while piece := stream.read(_PIECE):
        kept, at = bytearray(), 0
        while at < len(piece):
            if quote:
                end = piece.find(quote, at)
                stop = len(piece) if end < 0 else end
                kept += piece[at : min(stop, at + max(0, _LONGEST - length))]
                length += stop - at
                if end >= 0:
                    kept += quote
                    quote = b""
                at = stop + 1
            else:
                found = _MARKUP.search(piece, at)
                stop = len(piece) if found is None else found.end()
                kept += piece[at:stop]
                if found is not None:
                    mark = found[0]
                    if mark not in (b'"', b"'"):
                        tag = mark == b"<"  # Comments and instructions have no attributes.
                    elif tag:
                        quote, length = mark, 0
                at = stop
        yield bytes(kept)


def _recognizes(beginning: Beginning) -> bool:
    text = beginning.text
    return text.lstrip().startswith("<") and ("<smses" in text or "<calls" in text)


SMS = Format("sms", "SMS Backup & Restore", each(read_sms), recognizes=_recognizes)
