"""A profile that was brought up to date is like one that is read anew."""

import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
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
USER = "ana"


@dataclass
class Counted(Store):
    """Counts how often whole profiles are loaded."""

    loaded: list[str] = field(default_factory=list)

    def __init__(self, url: str, encoder: HashEncoder, further: HashEncoder | None = None) -> None:
        super().__init__(url, encoder.manifest, {"further": further.manifest} if further else None)
        self.loaded = []

    def load(self, user: str) -> StoredProfile:
        self.loaded.append(user)
        return super().load(user)


def opened(folder: Path, *, further: bool = False) -> Profiles:
    encoder, other = HashEncoder(), HashEncoder("other", 8)
    store = Counted(f"sqlite:///{folder / 'profiles.db'}", encoder, other if further else None)
    return Profiles(store, encoder, spaces={"further": other} if further else None)


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    return opened(tmp_path)


def loaded(profiles: Profiles) -> list[str]:
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


def change(store: Store, profiles: Profiles, steps: list[list[Document] | int]) -> None:
    for step in steps:
        if isinstance(step, int):
            try:
                # As another process does, so that the profile in memory stays.
                store.delete_document(USER, f"d{step}")
            except UnknownDocument:
                pass
        else:
            profiles.put(USER, step)


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
    assert [one.called(name) for name in ("mel", "ana", "bo")] == [
        other.called(name) for name in ("mel", "ana", "bo")
    ]
    for name in ("groups", "days", "recency", "familiarity"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert np.array_equal(one.by("ana"), other.by("ana"))
    assert (one.text_bytes, one.last_day) == (other.text_bytes, other.last_day)


def assert_found_alike(one: Profiles, other: Profiles) -> None:
    for name in one.retrievers.names:
        for query, mine, fresh in zip(
            QUERIES, one.search(USER, QUERIES, 20, name), other.search(USER, QUERIES, 20, name), strict=True
        ):
            keys = [(passage.key, passage.copies) for passage in fresh]
            assert [(passage.key, passage.copies) for passage in mine] == keys, (name, query)
            assert [passage.score for passage in mine] == pytest.approx(
                [passage.score for passage in fresh], rel=1e-6, abs=1e-6
            ), (name, query)


@pytest.mark.parametrize("further", [False, True])
def test_after_any_changes_every_search_finds_what_a_fresh_profile_finds(
    tmp_path_factory: pytest.TempPathFactory, further: bool
) -> None:
    @settings(deadline=None, max_examples=40 if not further else 10)
    @given(st.lists(documents, min_size=1, max_size=12), st.lists(changes, min_size=1, max_size=4))
    def check(first: list[Document], rounds: list[list[list[Document] | int]]) -> None:
        profiles = opened(tmp_path_factory.mktemp("store"), further=further)
        fresh = Profiles(profiles.store, profiles.encoder, cache_bytes=0)
        fresh.spaces, fresh.retrievers = profiles.spaces, profiles.retrievers
        with closing(profiles.store):
            profiles.put(USER, first)
            profiles.get(USER).named("What did Mel say?")
            for steps in rounds:
                change(profiles.store, profiles, steps)
                anew = Profile(Store.load(profiles.store, USER), profiles.encoder.count_tokens)
                assert_alike(profiles.get(USER), anew)
                fresh.forget()
                assert_found_alike(profiles, fresh)

    check()
