from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from index.documents import Document
from index.errors import InvalidDocument
from index.formats.contacts import read_card
from index.formats.source import Skipped
from tests.index.formats.reading import imported
from tests.index.formats.storing import opened_profile

ANA = """\
BEGIN:VCARD
VERSION:3.0
UID:ana-1
N:Novak;Ana;;;
FN:Ana Novak
ORG:Boats Ltd.;Sails
TEL;TYPE=CELL,PREF:+49 170 1
EMAIL;TYPE=INTERNET;TYPE=HOME:ana@example.net
ADR;TYPE=HOME:;;Hafen 1;Kiel;;24103;Germany
BDAY:1990-03-05
NOTE:Likes tea\\, not coffee
PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQSkZJRgABAQ==
END:VCARD
"""
# As older Android phones write it.
ZOE = """\
BEGIN:VCARD
VERSION:2.1
N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;Zo=C3=AB;;;
FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Zo=C3=AB M=C3=BCller
TEL;CELL:0170 2
END:VCARD
"""


def test_a_card_is_a_person(tmp_path: Path) -> None:
    path = tmp_path / "contacts.vcf"
    path.write_text(ANA + ZOE, newline="")
    result = imported(path)
    assert (result.formats, result.errors) == (["vcard"], [])
    assert result.texts == [
        "Ana Novak\nOrganization: Boats Ltd., Sails\nPhone (cell): +49 170 1\nEmail (home): ana@example.net\n"
        "Address (home): Hafen 1, Kiel, 24103, Germany\nBirthday: 1990-03-05\nNote: Likes tea, not coffee",
        "Zoë Müller\nPhone: 0170 2",
    ]
    assert [document.title for document in result.documents] == ["Ana Novak", "Zoë Müller"]
    assert result.times == [None, None]


def test_cards_are_stored_once_and_a_new_number_replaces_the_old(tmp_path: Path) -> None:
    path = tmp_path / "contacts.vcf"
    with opened_profile(tmp_path) as profile:
        path.write_text(ANA)
        assert profile.put(imported(path)) == (1, 0, 0)
        assert profile.put(imported(path)) == (0, 1, 0)
        path.write_text(ANA.replace("+49 170 1", "+49 170 9") + ZOE)
        assert profile.put(imported(path)) == (1, 0, 1)


def test_a_broken_card_is_reported_and_the_rest_goes_in(tmp_path: Path) -> None:
    path = tmp_path / "contacts.vcf"
    path.write_text(
        ANA + "BEGIN:VCARD\nVERSION:3.0\nno colon\nEND:VCARD\nBEGIN:VCARD\nVERSION:3.0\nFN:Cut\n" + ZOE
    )
    result = imported(path)
    assert [document.title for document in result.documents] == ["Ana Novak", "Zoë Müller"]
    assert len(result.errors) == 2
    assert all(error.startswith("a broken card: ") for error in result.errors)


@given(st.text("BEGIN:VCARD\n;=3.0FNTELUQ", max_size=60))
def test_any_card_is_a_document_or_a_fault(lines: str) -> None:
    for item in read_card(f"BEGIN:VCARD\nVERSION:3.0\n{lines}\nEND:VCARD\n".encode(), 1):
        assert isinstance(item, Document | InvalidDocument | Skipped)
