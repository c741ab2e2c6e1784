from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from index.documents import Document
from index.encoding.embedding import reembed
from index.errors import EncoderMismatch, StoreUnavailable
from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder

OLD, NEW = HashEncoder("old", 16, window=64), HashEncoder("new", 8, window=12)
LONG = "One two three. Four five six seven. Eight nine ten eleven. Twelve and more words than a window."

Open = Callable[[HashEncoder | None], Store]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Open]:
    stores: list[Store] = []

    def open_(encoder: HashEncoder | None) -> Store:
        stores.append(Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest if encoder else None))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


@pytest.fixture
def old(open_store: Open) -> Profiles:
    profiles = Profiles(open_store(OLD), OLD)
    profiles.put("ana", [Document(id="b", text=LONG), Document(id="a", text="tea", metadata={"k": 1})])
    profiles.put("bo", [Document(id="x", text="coffee")])
    return profiles


def test_a_store_gets_the_vectors_of_another_encoder_and_keeps_everything_else(
    old: Profiles, open_store: Open
) -> None:
    before = {user: old.store.load(user) for user in ("ana", "bo")}
    done: list[int] = []
    assert reembed(open_store(None), NEW, done.append) == sum(done) == 3
    new = Profiles(open_store(NEW), NEW)
    for user, stored in before.items():
        assert new.store.load(user).documents == stored.documents
        assert new.store.version(user) > stored.version
    assert len(new.get("ana")) > len(before["ana"].spans)
    assert new.get("ana").vectors.vector(0).shape == (8,)
    assert new.search("bo", ["coffee"], 1, "dense")[0][0].document_id == "x"


def test_the_same_encoder_with_longer_passages_is_another_one(old: Profiles, open_store: Open) -> None:
    whole = HashEncoder("old", 16, window=64, passage_tokens=12)
    with pytest.raises(EncoderMismatch, match=r"passages of 64 tokens.*passages of 12 tokens"):
        open_store(whole).open()
    assert len(old.store.load("ana").spans) == 2
    reembed(open_store(None), whole)
    assert len(open_store(whole).load("ana").spans) > 2


def test_a_process_with_the_old_encoder_is_refused_at_once(old: Profiles, open_store: Open) -> None:
    reembed(open_store(None), NEW)
    with pytest.raises(EncoderMismatch, match="reembed"):
        old.search("ana", ["tea"], 1, "dense")
    with pytest.raises(EncoderMismatch):
        old.put("ana", [Document(id="c", text="more")])
    assert Profiles(open_store(NEW), NEW).store.count("ana") == 2


def test_documents_that_change_meanwhile_are_encoded_again(old: Profiles, open_store: Open) -> None:
    encoder = HashEncoder("new", 8, window=12)

    def change(_: int) -> None:
        if not any("late" in texts for texts in encoder.calls) and old.store.count("ana") == 2:
            old.put("ana", [Document(id="late", text="late")])
            old.put("cy", [Document(id="new", text="somebody new")])
            old.erase("bo")

    reembed(open_store(None), encoder, change)
    new = Profiles(open_store(encoder), encoder)
    assert new.store.users() == ["ana", "cy"]
    assert {document.id for document in new.get("ana").documents} == {"a", "b", "late"}
    assert new.search("ana", ["late"], 1, "dense")[0][0].document_id == "late"


def test_an_encoder_that_fails_leaves_the_store_as_it_was(old: Profiles, open_store: Open) -> None:
    broken = HashEncoder("new", 8)
    broken.error = MemoryError("no room")
    with pytest.raises(MemoryError):
        reembed(open_store(None), broken)
    assert old.search("ana", ["tea"], 1, "dense")[0][0].document_id == "a"


def test_reembedding_needs_a_store(open_store: Open) -> None:
    with pytest.raises(StoreUnavailable, match="no store yet"):
        open_store(None).users()
