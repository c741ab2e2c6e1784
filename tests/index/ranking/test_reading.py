"""The reading of a document is stored with it, and belongs to one version of the code that reads."""

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import text

from index.documents import Document
from index.profiles import Profiles
from index.ranking import reading
from index.ranking.people import Turn
from index.ranking.reading import found_in, names_in, read, turns_in
from index.storage.store import Store
from index.text.words import split
from tests.index.fakes import HashEncoder

DOCUMENTS = [
    Document(id="a", title="Breakfast", text="Ana's green tea, naïve ŁÓDŹ & café; 2,5 kg — don't!"),
    Document(id="b", text="Ana: Hey Mel!\nMelanie Berg: Thanks, Ana. Der Fluß ist schön.", source="chat"),
    Document(id="c", text="我昨天和朋友去了海边。ひらがな 한국어 ภาษาไทย", metadata={"author": "李\t雷\x1d"}),
    Document(id="d", text="हिन्दी अंक عَرَبِيّ ال‌کتاب עברית Ελλάδα Привет ёж"),
    Document(id="e", text="?!"),
]
PARTS = [[(0, 20), (20, 51)], [(0, 61)], [(0, 26)], [(0, 40)], [(0, 2)]]
RECORDED = {1: "1e59a8c73ea8bf667a26befd6585a5c8"}
"""Digest of what each version reads in the documents. A new version gets a line; no line ever changes."""


def never(index: int) -> bytes:
    raise AssertionError(f"document {index} is read again")


def test_another_reading_is_another_version() -> None:
    heads = [read(*each).partition(b"\n")[2] for each in zip(DOCUMENTS, PARTS, strict=True)]
    assert hashlib.blake2b(b"\0".join(heads), digest_size=16).hexdigest() == RECORDED[reading.VERSION]


def test_what_is_stored_is_what_was_read() -> None:
    stored = [read(*each) for each in zip(DOCUMENTS, PARTS, strict=True)]
    found = found_in(stored, never)
    assert len(found.words) == len(found.hashes) == 6
    assert found.words[0].split(" ")[:2] == ["breakfast", "ana"]
    assert found.words[5] == ""
    assert [names_in(authors) for authors in found.authors] == [
        set(), {"ana", "melanie berg"}, {"李 雷"}, set(), set(),
    ]  # fmt: skip
    turns = [list(turns_in(said, 7)) for said in found.turns]
    assert turns[1] == [
        Turn(7, "ana", frozenset({"mel"})),
        Turn(7, "melanie berg", frozenset({"ana"})),
    ]
    assert [len(own) for own in turns] == [0, 2, 1, 0, 0]


@pytest.mark.parametrize("stored", [None, b"", b"0 15.0.0\n\x1d\x1d\x1d", b"another format"])
def test_a_reading_of_another_version_is_made_again(stored: bytes | None) -> None:
    each = [read(*each) for each in zip(DOCUMENTS, PARTS, strict=True)]
    asked: list[int] = []

    def again(index: int) -> bytes:
        asked.append(index)
        return each[index]

    found = found_in([each[0], stored, *each[2:]], again)
    assert asked == [1]
    assert found.words == found_in(each, never).words


def test_no_documents_have_no_readings() -> None:
    found = found_in([], never)
    assert (found.words, found.authors, found.turns, len(found.hashes)) == ([], [], [], 0)
    assert found_in([read(DOCUMENTS[0], [])], never).words == []


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    encoder = HashEncoder()
    return Profiles(Store(f"sqlite:///{tmp_path / 'profiles.db'}", encoder.manifest), encoder)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts whose words are split from now on."""
    read: list[str] = []

    def noted(text: str) -> list[str]:
        read.append(text)
        return split(text)

    monkeypatch.setattr("index.ranking.reading.split", noted)
    return read


def test_a_document_is_read_when_it_is_put_and_never_again(
    profiles: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reads(monkeypatch)
    profiles.put("ana", DOCUMENTS)
    assert len(read) >= len(DOCUMENTS)
    read.clear()
    again = Profiles(profiles.store, profiles.encoder)
    assert again.search("ana", ["Breakfast with Mel"], 3)[0][0].document_id == "a"
    profiles.put("ana", [Document(id="z", text="zebra tea")])
    assert read == ["zebra tea"]
    assert again.search("ana", ["zebra"], 3, "bm25")[0][0].document_id == "z"
    assert read == ["zebra tea"]


@pytest.mark.parametrize("stored", ["null", "x'30'"])
def test_a_store_without_readings_or_with_others_finds_the_same(
    profiles: Profiles, monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    profiles.put("ana", DOCUMENTS)
    expected = profiles.search("ana", ["Mel", "der Fluss", "Ana tea"], 5)
    with profiles.store.database.write() as connection:
        connection.execute(text(f"update documents set reading = {stored}"))
    read = reads(monkeypatch)
    assert (
        Profiles(profiles.store, profiles.encoder).search("ana", ["Mel", "der Fluss", "Ana tea"], 5)
        == expected
    )
    assert len(read) >= len(DOCUMENTS)
