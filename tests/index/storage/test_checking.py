"""A check names what is wrong with a store, and finds nothing wrong with a sound one, on both databases."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, insert, update

from index.documents import Document
from index.errors import StoreCorrupted, StoreDamaged
from index.profiles import Profiles
from index.storage import schema
from index.storage.answers import StoredAnswer
from index.storage.checking import faults
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.storage.test_store import encoded

ENCODER, OTHER = HashEncoder(), HashEncoder("other", 8)
DOCUMENTS, PASSAGES, VECTORS = schema.documents.c, schema.passages.c, schema.space_vectors.c
WRONG = {
    "text": (
        update(schema.documents).where(DOCUMENTS.id == "a").values(text="Tea?"),
        "document 'a' or its vectors are not as they were written",
    ),
    "title": (
        update(schema.documents).where(DOCUMENTS.id == "a").values(title="Tea"),
        "document 'a' or its vectors are not as they were written",
    ),
    "vector": (
        update(schema.passages)
        .where(PASSAGES.position == 1)
        .values(vector=np.ones(16, np.float16).tobytes()),
        "document 'b' or its vectors are not as they were written",
    ),
    "no vectors": (delete(schema.passages).where(PASSAGES.position == 0), "document 'a' has no vectors"),
    "short vector": (
        update(schema.passages).where(PASSAGES.position == 0).values(vector=b"12"),
        "document 'a' has a vector of 2 bytes instead of 32",
    ),
    "NaN": (
        update(schema.space_vectors)
        .where(VECTORS.position == 0)
        .values(vector=np.full(8, np.nan, np.float16).tobytes()),
        "space 'other' has a vector with a value that is not finite",
    ),
    "no document": (
        delete(schema.documents).where(DOCUMENTS.id == "b"),
        "passages at position 1 belong to no document",
    ),
    "no space vector": (
        delete(schema.space_vectors).where(VECTORS.position == 1),
        "space 'other' lacks the vectors of 1 passages",
    ),
    "space vector over": (
        update(schema.space_vectors).where(VECTORS.position == 1).values(start=99),
        "space 'other' has 1 vectors of no passage",
    ),
    "unknown space": (
        update(schema.space_vectors).values(space="former"),
        "vectors in the space 'former', which the store does not have",
    ),
    "position": (
        update(schema.users).values(next_position=1),
        "document 'b' has a position that the next new document would get",
    ),
    "answer": (update(schema.answers).values(body="{"), "answer '1' is not JSON"),
    "no user": (delete(schema.users), "documents of a user that the store does not have"),
}


@pytest.fixture
def filled(url: str) -> Any:
    """A store with two documents and an answer of ana, and a further space."""
    store = Store(url, ENCODER.manifest, {"other": OTHER.manifest})
    profiles = Profiles(store, ENCODER, spaces={"other": OTHER})
    profiles.put("ana", [Document(id="a", text="Tea."), Document(id="b", text="Coffee.", title="Morning")])
    store.save_answers([StoredAnswer("ana", "1", {"answer": "Tea."})])
    yield store
    store.close()


def test_whatever_the_store_has_done_leaves_no_fault(filled: Store) -> None:
    profiles = Profiles(filled, ENCODER, spaces={"other": OTHER})
    profiles.put("bo", [Document(id=f"d{i}", text=f"Walk {i}. " * 200) for i in range(4)])
    profiles.put("bo", [Document(id="d1", text="Short.", metadata={"a": ["é", None]})])
    profiles.delete_document("bo", "d0")
    profiles.put("cleo", [Document(id="c", text="Sea.")])
    profiles.erase("cleo")
    done: list[int] = []
    assert list(faults(filled, done.append)) == []
    assert done == [1, 1]


@pytest.mark.parametrize("wrong", WRONG)
def test_each_fault_is_named(filled: Store, wrong: str) -> None:
    statement, message = WRONG[wrong]
    with filled.database.write() as connection:
        connection.execute(statement)
    found = list(faults(filled))
    assert any(fault.startswith(f"user 'ana': {message}") for fault in found), found


def test_users_are_checked_apart(filled: Store) -> None:
    row = schema.owner("bo") | {"position": 0, "start": 0, "end": 1, "vector": bytes(32)}
    with filled.database.write() as connection:
        connection.execute(insert(schema.passages), [row])
    assert list(faults(filled)) == ["user 'bo': passages of a user that the store does not have"]


def test_a_damaged_page_is_found_and_the_file_is_named(store: Store, path: Path) -> None:
    store.put("ana", [[encoded(f"d{i}", f"text {i} " * 300) for i in range(30)]])
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'passages'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4_096)
        file.write(b"\xee" * 4_096)
    again = Store(f"sqlite:///{path}", None)
    with pytest.raises(StoreCorrupted, match=rf"{path} is damaged: see pr2 store check"):
        again.load("ana")
    assert any("passages" in fault or "page" in fault.lower() for fault in _until_an_error(again))
    again.close()


def _until_an_error(store: Store) -> list[str]:
    found: list[str] = []
    try:
        found.extend(faults(store))
    except StoreCorrupted as error:
        found.append(f"page: {error}")
    return found


def test_a_file_that_is_no_database_is_named_and_left_as_it_is(store: Store, path: Path) -> None:
    garbage = b"not a database " * 1_000
    path.write_bytes(garbage)
    with pytest.raises(StoreCorrupted, match=rf"{path} is damaged: see pr2 store check"):
        store.open()
    assert path.read_bytes() == garbage


def test_a_store_that_was_cut_to_nothing_is_not_begun_anew(path: Path) -> None:
    first = Store(f"sqlite:///{path}", ENCODER.manifest, keep_reserve=True)
    first.put("ana", [[encoded("a")]])
    first.close()
    path.write_bytes(b"")
    again = Store(f"sqlite:///{path}", ENCODER.manifest, keep_reserve=True)
    for _ in range(2):
        with pytest.raises(StoreDamaged, match=rf"{path} is empty, and a store was there"):
            again.open()
    assert path.read_bytes() == b""
    path.unlink()
    assert again.users() == []
    again.close()
