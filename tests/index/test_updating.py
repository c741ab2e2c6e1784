"""A profile that was brought up to date is like one that is read anew."""

import random
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from index.documents import Document
from index.errors import StoreUnavailable
from index.profiles import Profiles
from index.ranking.profile import Profile
from index.storage.store import Store
from index.text.words import terms
from tests.index.fakes import HashEncoder

WORDS = [
    "tea",
    "cake",
    "river",
    "dentist",
    "Lisbon",
    "der",
    "die",
    "und",
    "nicht",
    "the",
    "and",
    "was",
    "Mel!",
]
QUERIES = [["tea"], ["dentist", "river"], ["lisbon", "und", "zebra"]]


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    encoder = HashEncoder()
    return Profiles(Store(f"sqlite:///{tmp_path / 'profiles.db'}", encoder.manifest), encoder)


def document(dice: random.Random, number: int) -> Document:
    speaker = dice.choice(["Ana", "Melanie"])
    text = " ".join(dice.choices(WORDS, k=dice.randint(1, 400)))
    return Document(id=f"d{number}", text=text, source=dice.choice("ab"), metadata={"speaker": speaker})


def assert_alike(one: Profile, other: Profile) -> None:
    assert one.version == other.version
    assert one.documents == other.documents
    for position in range(len(other)):
        assert one.key(position) == other.key(position)
        assert one.text(position) == other.text(position)
    assert len(one) == len(other)
    assert np.array_equal(one.vectors.stored(), other.vectors.stored())
    for name in ("languages", "authors", "people", "copies", "_called"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("groups", "days", "recency"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    for query in QUERIES:
        assert np.array_equal(one.lexical.scores(query), other.lexical.scores(query))
        assert [one.lexical.idf(term) for term in query] == [other.lexical.idf(term) for term in query]
        assert [term in one.lexical for term in query] == [term in other.lexical for term in query]


@pytest.mark.parametrize("seed", range(4))
def test_a_profile_brought_up_to_date_is_like_a_fresh_one(profiles: Profiles, seed: int) -> None:
    dice = random.Random(seed)
    profiles.put("ana", [document(dice, number) for number in range(8)])
    for _ in range(12):
        known = [each.id for each in profiles.get("ana").documents]
        profiles.get("ana").named("What did Mel say?")
        match dice.choice(["add", "replace", "delete", "many", "spaces"]):
            case "add":
                profiles.put("ana", [document(dice, 100 + dice.randrange(100))])
            case "replace":
                profiles.put("ana", [document(dice, int(dice.choice(known)[1:]))])
            case "delete" if len(known) > 1:
                # As another process does, so that the profile in memory stays.
                profiles.store.delete_document("ana", dice.choice(known))
            case "many":
                profiles.put("ana", [document(dice, number) for number in range(dice.randint(1, 20))])
            case _:
                profiles.put("ana", [])
        fresh = Profile(profiles.store.load("ana"), profiles.encoder.count_tokens)
        assert_alike(profiles.get("ana"), fresh)


def test_what_is_the_same_is_not_read_again(profiles: Profiles, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(text: str, language: str) -> list[str]:
        read.append(text)
        return terms(text, language)

    monkeypatch.setattr("index.ranking.reading.terms", noted)
    dice = random.Random(0)
    profiles.put("ana", [document(dice, number) for number in range(30)])
    assert profiles.search("ana", ["tea"], 5, "bm25")[0]
    assert len(read) == len(profiles.get("ana"))
    read.clear()
    profiles.put("ana", [Document(id="new", text="zebra tea", source="a")])
    assert profiles.search("ana", ["zebra"], 5, "bm25")[0][0].document_id == "new"
    assert read == ["zebra tea"]


def test_a_damaged_vector_is_found_when_a_profile_is_brought_up_to_date(profiles: Profiles) -> None:
    profiles.put("ana", [Document(id=str(number), text="tea") for number in range(3)])
    profiles.get("ana")
    profiles.put("ana", [Document(id="3", text="river")])
    with profiles.store.database.write() as connection:
        connection.execute(text("update passages set vector = x'00' where position = 3"))
    with pytest.raises(StoreUnavailable, match="damaged"):
        profiles.get("ana")
