"""Reads address books (vCard): a document for each person, so that names, numbers and birthdays are found."""

from collections.abc import Iterator
from typing import Any

from index.documents import LABEL_CHARACTERS
from index.errors import InvalidDocument
from index.formats.chats import identity
from index.formats.encodings import encoding_of
from index.formats.items import parsed
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options, Skipped

CARD_BYTES = 16 * 2**20
"""Largest card, with its photo."""
_LABELS = {
    "nickname": "Nickname",
    "org": "Organization",
    "title": "Position",
    "tel": "Phone",
    "email": "Email",
    "adr": "Address",
    "bday": "Birthday",
    "anniversary": "Anniversary",
    "url": "Page",
    "note": "Note",
}
_VAGUE = ("pref", "internet", "voice")


def split_cards(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield each card of a file."""
    card: list[bytes] = []
    size = 0
    for line in lines:
        mark = line.strip().upper()
        if mark == b"BEGIN:VCARD":
            if card:
                yield b"".join(card)
            card, size = [], 0
        if size < CARD_BYTES:
            card.append(line)
            size += len(line)
        if mark == b"END:VCARD":
            yield b"".join(card)
            card, size = [], 0
    if b"".join(card).strip():
        yield b"".join(card)


def read_card(raw: bytes, number: int) -> Items:
    """Yield the document of one card, or one fault with its `number`."""
    import vobject

    try:
        card = vobject.readOne(raw.decode(encoding_of(raw)), allowQP=True)
        if card is None or card.name != "VCARD":
            raise ValueError("it does not end")
        name, lines = _name(card), _lines(card)
    except (ValueError, LookupError, TypeError, AttributeError, vobject.base.VObjectError) as error:
        yield InvalidDocument(f"a broken card: {str(error)[:200]}", number)
        return
    if not name:
        yield Skipped("a card without a name")
        return
    uid = str(card.uid.value) if "uid" in card.contents else None
    yield parsed(
        {
            "id": identity("contact", uid) if uid else identity("contact", name, *lines[:1]),
            "text": "\n".join((name, *lines)),
            "title": name[:LABEL_CHARACTERS],
            "source": "contacts",
        },
        number,
    )


def _name(card: Any) -> str:
    for key in ("fn", "n", "org"):
        if key in card.contents and (name := _words(card.contents[key][0].value)):
            return name
    return ""


def _lines(card: Any) -> list[str]:
    found: list[str] = []
    for key, label in _LABELS.items():
        for content in card.contents.get(key, ()):
            kinds = [
                kind.lower()
                for kind in content.params.get("TYPE", [])
                if kind.lower() not in ("pref", "internet")
            ]
            if value := _words(content.value):
                found.append(f"{label}{f' ({kinds[0]})' if kinds else ''}: {value}")
    return found


def _words(value: Any) -> str:
    """Return a value on one line; a name or an address is put together from its parts."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_words, value)))
    return " ".join(str(value).replace("\n", ", ").split()).strip(", ")


def _read(member: Member, options: Options) -> Items:
    with member.open() as stream:
        for number, raw in enumerate(split_cards(iter(stream)), 1):
            yield from read_card(raw, number)


def _recognizes(beginning: Beginning) -> bool:
    return beginning.text.lstrip()[:11].upper() == "BEGIN:VCARD"


VCARD = Format("vcard", "contacts (vCard)", each(_read), recognizes=_recognizes, suffix=".vcf")
