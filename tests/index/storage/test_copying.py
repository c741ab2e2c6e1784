"""A copy of a store in use is one whole state of it, on either database, and becomes a store again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from index.documents import Document
from index.errors import NotCopied, StoreUnavailable
from index.profiles import Profiles
from index.storage import schema
from index.storage.answers import StoredAnswer
from index.storage.checking import faults
from index.storage.copying import copy, size
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.storage.conftest import putting_slowly
from tests.index.storage.test_store import encoded
from tests.postgresql import Cluster

ENCODER, OTHER = HashEncoder(), HashEncoder("other", 8)


def fill(url: str) -> Store:
    store = Store(url, ENCODER.manifest, {"other": OTHER.manifest})
    profiles = Profiles(store, ENCODER, spaces={"other": OTHER})
    for user in ("ana", "Ána", "bo", "𐍈"):
        texts = [f"{user} drinks tea {i}. " * (100 if i == 7 else 1) for i in range(12)]
        profiles.put(user, [Document(id=f"é{i} 🦊", text=text) for i, text in enumerate(texts)])
        store.save_answers([StoredAnswer(user, "1", {"answer": f"Tea, {user}."})])
    profiles.delete_document("bo", "é3 🦊")
    return store


def assert_same(one: Store, other: Store) -> None:
    assert one.users() == other.users()
    assert one.encoder() == other.encoder()
    assert one.spaces() == other.spaces()
    for user in one.users():
        mine, copied = one.load(user), other.load(user)
        assert (mine.version, mine.documents, mine.spans) == (copied.version, copied.documents, copied.spans)
        assert (mine.vectors == copied.vectors).all()
        assert (mine.spaces["other"] == copied.spaces["other"]).all()
        assert one.answer(user, "1") == other.answer(user, "1")
        assert other.version(user) == copied.version


@pytest.fixture
def elsewhere(postgresql: Cluster, tmp_path: Path) -> Iterator[Store]:
    """An empty PostgreSQL database, as a store that has not been opened."""
    store = Store(postgresql.create(tmp_path.name), ENCODER.manifest, {"other": OTHER.manifest})
    yield store
    store.close()


def url_of(store: Store) -> str:
    return store.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def test_a_store_goes_to_postgresql_and_back_and_is_used_on(elsewhere: Store, tmp_path: Path) -> None:
    source = fill(f"sqlite:///{tmp_path / 'a.db'}")
    rows: list[int] = []
    copied = copy(source, url_of(elsewhere), rows.append)
    assert sum(rows) == size(source) == sum(contents.rows for contents in copied.values())
    assert copied["documents"].rows == 47
    assert_same(source, elsewhere)
    assert list(faults(elsewhere)) == []
    restored_at = f"sqlite:///{tmp_path / 'b.db'}"
    assert copy(elsewhere, restored_at) == copied
    restored = Store(restored_at, ENCODER.manifest, {"other": OTHER.manifest})
    assert_same(source, restored)
    for store in (elsewhere, restored):
        Profiles(store, ENCODER, spaces={"other": OTHER}).put("ana", [Document(id="new", text="Coffee.")])
        assert store.documents("ana", after=11)[0][1].id == "new"
    assert (tmp_path / "b.db").stat().st_mode & 0o777 == 0o600
    for store in (source, restored):
        store.close()


def test_the_copy_of_a_store_that_is_written_to_has_the_state_before(store: Store, tmp_path: Path) -> None:
    store.put("ana", [[encoded("a")]])
    target = f"sqlite:///{tmp_path / 'copy' / 'pr2.db'}"
    (tmp_path / "copy").mkdir()
    with putting_slowly(store, encoded("b"), encoded("c")):
        copy(store, target)
    copied = Store(target, ENCODER.manifest)
    assert [document.id for document in copied.load("ana").documents] == ["a"]
    assert list(faults(copied)) == []
    copied.close()
    assert store.count("ana") == 3


def test_nothing_is_copied_over_a_store(store: Store, url: str, tmp_path: Path) -> None:
    store.put("ana", [[encoded("a")]])
    other = f"sqlite:///{tmp_path / 'other.db'}"
    copy(store, other)
    for target in (url, other):
        with pytest.raises(NotCopied, match=r"there is a store in .* already: copy to a new place"):
            copy(store, target)
    assert store.count("ana") == 1


def test_a_copy_that_breaks_off_leaves_no_store(store: Store, tmp_path: Path) -> None:
    store.put("ana", [[encoded("a"), encoded("b")]])
    target = f"sqlite:///{tmp_path / 'other.db'}"

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(store, target, stop)
    with pytest.raises(StoreUnavailable, match="there is no store yet"):
        Store(target, None).users()
    copy(store, target)


def test_faults_of_a_store_are_in_its_copy_and_are_found_there(store: Store, tmp_path: Path) -> None:
    store.put("ana", [[encoded("a"), encoded("b")]])
    with store.database.write() as connection:
        connection.execute(delete(schema.documents).where(schema.documents.c.id == "b"))
    target = f"sqlite:///{tmp_path / 'other.db'}"
    copy(store, target)
    copied = Store(target, None)
    assert list(faults(copied)) == ["user 'ana': passages at position 1 belong to no document"]
    copied.close()
