"""A profile that was brought up to date is like one that is read anew."""

import random
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from index.documents import Document
from index.errors import StoreUnavailable, UnknownDocument
from index.profiles import Profiles
from index.ranking.contents import STRAYS
from index.ranking.profile import Profile
from index.storage.loading import StoredProfile
from index.storage.profiles import REMEMBERED
from index.storage.store import Store
from tests.index.fakes import HashEncoder

WORDS = "tea cake river dentist Lisbon the and was garden train kettle photo".split()
TEXTS = (
    "tea",
    "Hey Mel! tea and cake.",
    "Thanks, Mel. The dentist was in Lisbon.",
    "der Tee und die Kuchen sind nicht hier und das ist gut",
    "Ana: hey Mel!\nMelanie: tea, Ana?\nAna: the river, Mel.",
    "我昨天和朋友去了海边，那里的风很大。",
    "the cat and the dog were at the door of the house. " * 8,
)
QUERIES = (
    "tea",
    "Did Mel go to the dentist in Lisbon?",
    "und der Kuchen",
    "Melanie: the river in May 2024",
    "",
)


class Counted(Store):
    """Counts how often whole profiles are loaded."""

    def __init__(self, url: str, encoder: HashEncoder, further: HashEncoder | None = None) -> None:
        super().__init__(url, encoder.manifest, {"further": further.manifest} if further else None)
        self.loaded: list[str] = []

    def load(self, user: str) -> StoredProfile:
        self.loaded.append(user)
        return super().load(user)


def opened(folder: Path, further: HashEncoder | None = None) -> Profiles:
    encoder = HashEncoder()
    store = Counted(f"sqlite:///{folder / 'profiles.db'}", encoder, further)
    return Profiles(store, encoder, spaces={"further": further} if further else None)


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    return opened(tmp_path)


def loads(profiles: Profiles) -> list[str]:
    assert isinstance(profiles.store, Counted)
    return profiles.store.loaded


documents = st.builds(
    lambda number, text, source, day, author, title: Document(
        id=f"d{number}",
        text=text,
        source=source,
        title=title,
        created_at=f"2024-05-{day:02}T0{day % 9}:00:00Z" if day else None,
        metadata={"speaker": author} if author else {},
    ),
    st.integers(0, 11),
    st.sampled_from(TEXTS),
    st.sampled_from([None, "", "chat", "diary"]),
    st.integers(0, 4),
    st.sampled_from([None, "Ana", "Melanie"]),
    st.sampled_from([None, "Tea with Bo"]),
)
changes = st.lists(st.one_of(st.lists(documents, max_size=3), st.integers(0, 11)), min_size=1, max_size=3)
"""Documents to put, and numbers of documents to delete, before the next search."""


def make(profiles: Profiles, user: str, steps: list[list[Document] | int]) -> None:
    for step in steps:
        if isinstance(step, int):
            # As another process does, so that the profile in memory stays.
            with suppress(UnknownDocument):
                profiles.store.delete_document(user, f"d{step}")
        else:
            profiles.put(user, step)


def assert_alike(one: Profile, other: Profile) -> None:
    assert (one.user, one.version, one.documents) == (other.user, other.version, other.documents)
    assert len(one) == len(other)
    for position in range(len(other)):
        assert one.key(position) == other.key(position)
        assert one.text(position) == other.text(position)
        assert one.language(position) == other.language(position)
        assert one.authors(position) == other.authors(position)
        assert one.copies(one.text(position)) == other.copies(one.text(position))
    for document in (*other.documents, Document(id="none", text="none")):
        assert one.positions(document.id) == other.positions(document.id)
    assert np.array_equal(one.vectors.stored(), other.vectors.stored())
    assert one.people == other.people
    assert one._contents.readings.votes == other._contents.readings.votes
    assert [one.called(name) for name in ("mel", "ana", "bo")] == [
        other.called(name) for name in ("mel", "ana", "bo")
    ]
    for name in ("groups", "days", "recency", "familiarity"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert np.array_equal(one.by("ana"), other.by("ana"))
    assert one.last_day == other.last_day


def assert_found_alike(one: Profiles, other: Profiles, user: str) -> None:
    for name in one.retrievers.names:
        found = (each.search(user, QUERIES, 20, name) for each in (one, other))
        for query, mine, fresh in zip(QUERIES, *found, strict=True):
            assert [(passage.key, passage.rank, passage.copies) for passage in mine] == [
                (passage.key, passage.rank, passage.copies) for passage in fresh
            ], (name, query)
            scores = [passage.score for passage in fresh]
            assert [passage.score for passage in mine] == pytest.approx(scores, rel=1e-6, abs=1e-6)


def assert_up_to_date(profiles: Profiles, further: HashEncoder | None, user: str) -> None:
    anew = Profiles(profiles.store, profiles.encoder, spaces={"further": further} if further else None)
    assert_alike(profiles.get(user), anew.get(user))
    assert_found_alike(profiles, anew, user)


@pytest.mark.parametrize("further", [None, HashEncoder("other", 8)])
def test_after_any_changes_every_search_finds_what_a_fresh_profile_finds(
    tmp_path: Path, further: HashEncoder | None
) -> None:
    profiles = opened(tmp_path, further)
    users = map("u{}".format, count())

    @settings(deadline=None, max_examples=5 if further else 25)
    @given(st.lists(documents, min_size=1, max_size=12), st.lists(changes, min_size=1, max_size=4))
    def check(first: list[Document], rounds: list[list[list[Document] | int]]) -> None:
        user = next(users)
        profiles.put(user, first)
        profiles.get(user).named("What did Mel say?")
        for steps in rounds:
            make(profiles, user, steps)
            assert_up_to_date(profiles, further, user)

    check()


def history(size: int, first: int = 0) -> list[Document]:
    dice = random.Random(size)
    return [
        Document(id=f"n{number}", text=" ".join(dice.choices(WORDS, k=12)), source="notes")
        for number in range(first, first + size)
    ]


CHANGES: dict[str, Callable[[Profiles], object]] = {
    "append": lambda profiles: profiles.put("ana", [Document(id="new", text="A new zebra", source="notes")]),
    "replace": lambda profiles: profiles.put("ana", [Document(id="n7", text="A new river", source="notes")]),
    "delete": lambda profiles: profiles.delete_document("ana", "n7"),
    "delete elsewhere": lambda profiles: profiles.store.delete_document("ana", "n7"),
    "nothing": lambda profiles: profiles.put("ana", history(100)[:1]),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_small_change_loads_no_document_again(profiles: Profiles, kind: str) -> None:
    profiles.put("ana", history(100))
    before = profiles.get("ana")
    loads(profiles).clear()
    CHANGES[kind](profiles)
    after = profiles.get("ana")
    assert loads(profiles) == []
    kept = {id(document) for document in before.documents}
    assert sum(id(document) not in kept for document in after.documents) <= 1
    assert_up_to_date(profiles, None, "ana")


@pytest.mark.parametrize(("size", "loaded"), [(STRAYS, []), (STRAYS + 1, ["ana"])])
def test_many_changes_build_the_indexes_anew(profiles: Profiles, size: int, loaded: list[str]) -> None:
    profiles.put("ana", history(10))
    profiles.get("ana")
    loads(profiles).clear()
    profiles.put("ana", history(size, 10))
    profiles.get("ana")
    assert loads(profiles) == loaded
    assert len(profiles.get("ana")) == size + 10


def test_a_source_that_changes_its_language_is_read_again(profiles: Profiles) -> None:
    profiles.put("ana", [Document(id="a", text="The cat and the dog were at the door.", source="notes")])
    assert profiles.get("ana").language(0) == "en"
    german = "Der Hund und die Katze waren nicht an der Tür, und das ist gut so für den Garten. " * 3
    profiles.put("ana", [Document(id="b", text=german, source="notes")])
    assert profiles.get("ana").language(0) == "de"
    assert_up_to_date(profiles, None, "ana")


def test_versions_that_the_store_has_forgotten_are_loaded_whole(profiles: Profiles) -> None:
    profiles.put("ana", history(3))
    version = profiles.store.version("ana")
    assert profiles.store.changes("ana", version) is not None
    assert profiles.store.changes("ana", version - REMEMBERED) is None
    assert profiles.store.changes("ana", version + 1) is None
    assert profiles.store.changes("ana", version - 1, most=2) is None
    assert profiles.store.changes("ana", version, spaces=["other"]) is None


def test_deletions_are_remembered_for_as_many_versions_as_can_be_asked_for(profiles: Profiles) -> None:
    profiles.put("ana", history(3))
    profiles.store.delete_document("ana", "n0")
    for after, kept in ((REMEMBERED - 1, 2), (REMEMBERED, 1)):
        with profiles.store.database.write() as connection:
            connection.execute(
                text("delete from deletions where version <> (select min(version) from deletions)")
            )
            connection.execute(
                text("update users set version = (select min(version) from deletions) + :n"), {"n": after - 1}
            )
        profiles.put("ana", history(1, 10))
        profiles.store.delete_document("ana", "n10")
        with profiles.store.database.read() as connection:
            rows = connection.execute(text("select count(*) from deletions")).scalar_one()
        assert rows == kept


def test_a_document_that_was_deleted_and_put_again_comes_last(profiles: Profiles) -> None:
    profiles.put("ana", history(5))
    profiles.get("ana")
    profiles.store.delete_document("ana", "n1")
    profiles.put("ana", history(5)[1:2])
    assert [document.id for document in profiles.get("ana").documents] == ["n0", "n2", "n3", "n4", "n1"]
    assert_up_to_date(profiles, None, "ana")


def test_a_profile_in_use_stays_as_it_is_while_others_come(profiles: Profiles) -> None:
    profiles.put("ana", history(20))
    before = profiles.get("ana")
    scores = before.lexical.scores(["tea"])
    profiles.put("ana", history(2, 30))
    profiles.delete_document("ana", "n0")
    assert len(profiles.get("ana")) == 21
    assert [document.id for document in before.documents] == [f"n{number}" for number in range(20)]
    assert np.array_equal(before.lexical.scores(["tea"]), scores)
    assert before.positions("n0") == [0]


def test_a_deletion_leaves_no_text_in_memory_even_if_the_store_fails_then(
    profiles: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles.put("ana", history(3))
    profiles.get("ana")
    profiles.delete_document("ana", "n0")
    assert [document.id for document in profiles._cache["ana"].documents] == ["n1", "n2"]

    def failing(*_: object) -> None:
        raise StoreUnavailable("the disk cannot be used now")

    monkeypatch.setattr(profiles.store, "changes", failing)
    profiles.delete_document("ana", "n1")
    assert profiles._cache == {}
    assert [document.id for document in profiles.get("ana").documents] == ["n2"]


def test_a_damaged_vector_is_found_when_a_profile_is_brought_up_to_date(profiles: Profiles) -> None:
    profiles.put("ana", [Document(id=str(number), text="tea") for number in range(3)])
    profiles.get("ana")
    profiles.put("ana", [Document(id="3", text="river")])
    with profiles.store.database.write() as connection:
        connection.execute(text("update passages set vector = x'00' where position = 3"))
    with pytest.raises(StoreUnavailable, match="damaged"):
        profiles.get("ana")
