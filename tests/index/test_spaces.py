"""Further embedding spaces: every document has a vector in each, or the space is not there."""

import asyncio
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.documents import Document, encoded_text
from index.encoding.embedding import reembed
from index.encoding.encoders import Vectors
from index.errors import (
    EncoderMismatch,
    InvalidName,
    SpaceUnavailable,
    StoreUnavailable,
    UnknownRetriever,
    UnknownSpace,
    UnknownUser,
)
from index.profiles import Profiles
from index.searching import AsyncSearch
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.storage import filler

T = TypeVar("T")

MAIN = HashEncoder("main", 16, window=64, passage_tokens=12)
LONG = "One two three. Four five six seven. Eight nine ten eleven. Twelve and more words than a window."


class Folder:
    """A database file that is opened several times, each time with its own store."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path / 'store.db'}"
        self.stores: list[Store] = []

    def open(self, cache_bytes: int = 2**30, **spaces: HashEncoder) -> Profiles:
        store = Store(self.url, MAIN.manifest, {name: other.manifest for name, other in spaces.items()})
        self.stores.append(store)
        return Profiles(store, MAIN, cache_bytes, spaces=spaces)

    def to_look(self) -> Store:
        self.stores.append(Store(self.url, None))
        return self.stores[-1]

    def close(self) -> None:
        for store in self.stores:
            store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    folder.close()


@pytest.fixture
def other() -> HashEncoder:
    return HashEncoder("other", 8)


def ids(profiles: Profiles, query: str, retriever: str, user: str = "ana", k: int = 10) -> list[str]:
    return [passage.document_id for passage in profiles.search(user, [query], k, retriever)[0]]


def by_vectors(encoder: HashEncoder, texts: dict[str, str], query: str) -> list[str]:
    stored = encoder.encode_documents(list(texts.values())).astype(np.float16).astype(np.float32)
    products = np.einsum("ij,j->i", stored, encoder.encode_queries([query])[0], optimize=False)
    return [list(texts)[i] for i in np.argsort(-products, kind="stable")]


def rows(folder: Folder, table: str) -> list[tuple[str, int, int]]:
    """(user, position, start) of each passage that has a row in the table."""
    with closing(sqlite3.connect(folder.url.removeprefix("sqlite:///"))) as connection:
        return connection.execute(f"SELECT user, position, start FROM {table} ORDER BY 1, 2, 3").fetchall()


def vector_of(encoder: HashEncoder, text: str) -> bytes:
    """The vector of a text as it is stored."""
    return encoder.encode_documents([text]).astype(np.float16).tobytes()


def whole(folder: Folder) -> bool:
    """Whether every passage has a vector in the space, or none and the space is not there."""
    there = "ropg" in folder.to_look().spaces()
    return rows(folder, "space_vectors") == (rows(folder, "passages") if there else [])


TEXTS = {"a": "green tea", "b": "the dog and the sofa", "c": "tea with the dog", "d": "mushrooms"}
DOCUMENTS = [Document(id=name, text=text) for name, text in TEXTS.items()]


def test_each_space_ranks_by_its_own_encoder(folder: Folder, other: HashEncoder) -> None:
    people = folder.open(ropg=other)
    people.put("ana", DOCUMENTS)
    for query in ("tea dog", "the sofa", "mushrooms"):
        assert ids(people, query, "dense") == by_vectors(MAIN, TEXTS, query)
        assert ids(people, query, "ropg") == by_vectors(other, TEXTS, query)
    assert people.retrievers.names[-1] == "ropg"
    assert people.store.spaces() == {"ropg": other.manifest}
    # Also after a restart, and when documents are replaced.
    people = folder.open(ropg=other)
    people.put("ana", [Document(id="b", text="tea tea mushrooms")])
    changed = TEXTS | {"b": "tea tea mushrooms"}
    assert ids(people, "tea dog", "ropg") == by_vectors(other, changed, "tea dog")


def test_the_passages_are_the_same_in_every_space(folder: Folder, other: HashEncoder) -> None:
    people = folder.open(ropg=other)
    people.put("ana", [Document(id="long", text=LONG, title="Counting"), *DOCUMENTS])
    profile = people.get("ana")
    texts = [
        encoded_text(profile.document(position), profile.text(position)) for position in range(len(profile))
    ]
    assert len(texts) > len(DOCUMENTS) + 1
    expected = other.encode_documents(texts).astype(np.float16)
    for position, vector in enumerate(expected):
        assert profile.space("ropg").vector(position).tolist() == vector.tolist()


@pytest.mark.parametrize(("words", "titled"), [(4, True), (5, False)])
def test_a_title_of_more_than_half_of_the_spaces_window_is_left_out(
    folder: Folder, words: int, titled: bool
) -> None:
    small = HashEncoder("small", 8, window=10)
    people = folder.open(small=small)
    title = " ".join(["word"] * words)  # and the colon
    people.put("ana", [Document(id="a", text="tea", title=title)])
    assert small.calls == [[f"{title}: tea" if titled else "tea"]]


class Prompted(HashEncoder):
    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return super().encode_queries([f"query: {text}" for text in texts])


def test_queries_are_encoded_by_the_spaces_encoder_with_its_prompt(folder: Folder) -> None:
    prompted = Prompted("prompted", 8)
    people = folder.open(ropg=prompted)
    people.put("ana", DOCUMENTS)
    MAIN.calls.clear()
    prompted.calls.clear()
    people.search("ana", ["tea", "the sofa"], 3, "ropg")
    assert (MAIN.calls, prompted.calls) == ([], [["query: the sofa", "query: tea"]])


async def test_queries_of_a_crowd_are_encoded_together(folder: Folder, other: HashEncoder) -> None:
    people = folder.open(ropg=other)
    people.put("ana", DOCUMENTS)
    other.calls.clear()
    other.hold = threading.Event()
    other.entered.clear()
    search = AsyncSearch(people)
    tasks = [asyncio.create_task(search.search("ana", ["tea"], 1, "ropg"))]
    await asyncio.to_thread(other.entered.wait, 10)
    tasks += [asyncio.create_task(search.search("ana", [query], 1, "ropg")) for query in ("sofa", "dog")]
    await asyncio.sleep(0)  # The tasks put their queries in line.
    other.hold.set()
    found = [(await task)[0][0].document_id for task in tasks]
    assert [sorted(call) for call in other.calls] == [["tea"], ["dog", "sofa"]]
    assert found == [by_vectors(other, TEXTS, query)[0] for query in ("tea", "sofa", "dog")]


def test_a_space_that_is_added_later_is_refused_until_it_is_made(folder: Folder, other: HashEncoder) -> None:
    folder.open().put("ana", DOCUMENTS)
    folder.open().put("bo", DOCUMENTS[:1])
    people = folder.open(ropg=other)
    with pytest.raises(SpaceUnavailable, match="pr2 profile reembed --space ropg=ENCODER"):
        ids(people, "tea", "ropg")
    with pytest.raises(SpaceUnavailable):
        people.check("ana", "ropg")
    people.put("ana", [Document(id="late", text="late")])
    assert "late" in ids(people, "late", "dense")
    done: list[int] = []
    assert reembed(folder.to_look(), other, done.append, "ropg") == sum(done) == 6
    people.check("ana", "ropg")
    assert ids(people, "tea dog", "ropg") == by_vectors(other, TEXTS | {"late": "late"}, "tea dog")
    assert ids(people, "tea", "ropg", "bo") == ["a"]
    assert whole(folder)


def test_a_process_without_the_space_reads_and_deletes_but_stores_nothing(
    folder: Folder, other: HashEncoder
) -> None:
    folder.open(ropg=other).put("ana", DOCUMENTS)
    people = folder.open()
    with pytest.raises(
        EncoderMismatch, match=r"space 'ropg' \(encoder other .*--space ropg=ENCODER.*--drop ropg"
    ):
        people.put("ana", [Document(id="new", text="new")])
    with pytest.raises(EncoderMismatch):
        people.put("new", [Document(id="new", text="new")])
    assert people.store.users() == ["ana"]
    assert ids(people, "tea", "dense") == by_vectors(MAIN, TEXTS, "tea")
    people.delete_document("ana", "a")
    assert whole(folder)
    folder.to_look().drop_space("ropg")
    people.put("ana", [Document(id="new", text="new")])
    assert rows(folder, "space_vectors") == []


def test_an_import_that_began_before_the_space_was_made_does_not_leave_it_incomplete(
    folder: Folder, other: HashEncoder
) -> None:
    people = folder.open()
    people.put("ana", DOCUMENTS)

    def made_meanwhile(_: int) -> None:
        reembed(folder.to_look(), other, space="ropg")

    with pytest.raises(EncoderMismatch, match="--space ropg=ENCODER"):
        people.put("ana", [Document(id="new", text="new")], progress=made_meanwhile)
    assert whole(folder)
    assert people.store.count("ana") == 4


def test_what_changes_while_a_space_is_made_is_encoded_again(folder: Folder, other: HashEncoder) -> None:
    people = folder.open(ropg=other)
    folder.open().put("ana", DOCUMENTS)
    folder.open().put("bo", DOCUMENTS)
    folder.open().put("cy", DOCUMENTS)
    filling = HashEncoder("other", 8)
    changes: list[Callable[[], object]] = [
        lambda: people.delete_document("ana", "a"),
        lambda: people.put("bo", [Document(id="late", text="late")]),
        lambda: people.erase("cy"),
        lambda: people.put("new", DOCUMENTS[:2]),
    ]

    def change(_: int) -> None:
        if changes:
            changes.pop(0)()

    reembed(folder.to_look(), filling, change, "ropg")
    assert changes == []
    assert folder.to_look().users() == ["ana", "bo", "new"]
    assert whole(folder)
    left = {name: text for name, text in TEXTS.items() if name != "a"}
    assert ids(people, "tea dog", "ropg") == by_vectors(other, left, "tea dog")
    assert "late" in ids(people, "late", "ropg", "bo")


def test_an_encoder_that_fails_leaves_everything_as_it_was(folder: Folder, other: HashEncoder) -> None:
    people = folder.open(ropg=other)
    people.put("ana", DOCUMENTS)
    version = people.store.version("ana")
    other.error = MemoryError("no room")
    with pytest.raises(MemoryError):
        people.put("ana", [Document(id="new", text="new")])
    with pytest.raises(MemoryError):
        reembed(folder.to_look(), other, space="ropg")
    other.error = None
    assert people.store.version("ana") == version
    assert whole(folder)
    assert ids(people, "tea", "ropg") == by_vectors(other, TEXTS, "tea")


def test_a_space_of_another_encoder_is_refused_until_it_is_made_again(
    folder: Folder, other: HashEncoder
) -> None:
    people = folder.open(ropg=other)
    people.put("ana", DOCUMENTS)
    better = HashEncoder("better", 8)
    with pytest.raises(EncoderMismatch) as raised:
        folder.open(ropg=better).store.open()
    for part in ("space 'ropg'", str(other.manifest), str(better.manifest), "reembed --space ropg=ENCODER"):
        assert part in str(raised.value)
    reembed(folder.to_look(), better, space="ropg")
    assert ids(folder.open(ropg=better), "tea dog", "ropg") == by_vectors(better, TEXTS, "tea dog")
    # The process with the former encoder neither mixes the two nor searches the wrong one.
    with pytest.raises(EncoderMismatch):
        ids(people, "tea", "ropg")
    with pytest.raises(EncoderMismatch):
        people.put("ana", DOCUMENTS)


def test_another_main_encoder_drops_the_spaces_because_passages_change(
    folder: Folder, other: HashEncoder, tmp_path: Path
) -> None:
    folder.open(ropg=other).put("ana", [Document(id="long", text=LONG)])
    whole_documents = HashEncoder("whole", 16)
    reembed(folder.to_look(), whole_documents)
    assert folder.to_look().spaces() == {}
    assert rows(folder, "space_vectors") == []
    reembed(folder.to_look(), other, space="ropg")
    assert len(rows(folder, "space_vectors")) == len(rows(folder, "passages")) == 1


def test_names_that_are_not_known_are_refused_with_those_that_are(folder: Folder, other: HashEncoder) -> None:
    people = folder.open(ropg=other, second=HashEncoder("second", 4))
    people.put("ana", DOCUMENTS)
    with pytest.raises(UnknownRetriever, match=r"no retriever 'rpog'; there are dense, .*, ropg, second"):
        ids(people, "tea", "rpog")
    with pytest.raises(UnknownSpace, match="no space 'rpog'; it has ropg, second"):
        people.store.drop_space("rpog")
    people.store.drop_space("ropg")
    people.store.drop_space("second")
    with pytest.raises(UnknownSpace, match="it has none"):
        people.store.drop_space("second")


@pytest.mark.parametrize("name", ["dense", "hybrid", "", " x", "a\nb"])
def test_a_space_needs_a_name_of_its_own(folder: Folder, other: HashEncoder, name: str) -> None:
    with pytest.raises(InvalidName):
        folder.open(2**30, **{name: other})


def test_memory_of_a_space_counts(folder: Folder, other: HashEncoder) -> None:
    folder.open(ropg=other).put("ana", DOCUMENTS)
    with_space, without = folder.open(ropg=other), folder.open()
    assert with_space.get("ana").nbytes == without.get("ana").nbytes + len(DOCUMENTS) * 8 * 4
    assert with_space._cached == with_space.get("ana").nbytes


def test_a_vector_that_is_missing_is_damage_and_not_an_empty_result(
    folder: Folder, other: HashEncoder
) -> None:
    people = folder.open(ropg=other)
    people.put("ana", DOCUMENTS)
    with people.store.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM space_vectors WHERE position = 1")
    with pytest.raises(StoreUnavailable, match="vectors of the user 'ana' are missing in the space 'ropg'"):
        ids(folder.open(ropg=other), "tea", "ropg")


def test_nothing_is_found_for_somebody_unknown(folder: Folder, other: HashEncoder) -> None:
    people = folder.open(ropg=other)
    people.put("bo", DOCUMENTS)
    with pytest.raises(UnknownUser):
        ids(people, "tea", "ropg", "ana")


steps = st.tuples(
    st.sampled_from(["put", "put", "put", "delete", "erase", "make", "drop"]),
    st.sampled_from(["ana", "bo"]),
    st.integers(0, 3),
)


@given(st.lists(steps, min_size=1, max_size=15))
@settings(max_examples=12, deadline=None)
def test_whatever_happens_the_space_is_whole_and_deleted_vectors_are_off_the_disk(
    happens: list[tuple[str, str, int]],
) -> None:
    other = HashEncoder("other", 8)
    with TemporaryDirectory() as name:
        folder = Folder(Path(name))
        people = folder.open(ropg=other)
        people.put("kept", [Document(id="kept", text="kept")])
        texts: dict[str, dict[str, str]] = {"ana": {}, "bo": {}}
        gone: set[str] = set()
        for count, (step, user, number) in enumerate(happens):
            own, document = texts[user], f"d{number}"
            before = set(own.values())
            if step == "put":
                own[document] = f"word{count}"
                people.put(user, [Document(id=document, text=own[document])])
            elif step == "delete" and document in own:
                people.delete_document(user, document)
                del own[document]
            elif step == "erase" and user in people.store.users():
                assert people.erase(user).passages == len(own)
                own.clear()
            elif step == "make":
                reembed(people.store, other, space="ropg")
            elif step == "drop" and "ropg" in people.store.spaces():
                people.store.drop_space("ropg")
            gone |= before - set(own.values())
            assert whole(folder)
            if "ropg" in people.store.spaces():
                for person, stored in texts.items():
                    if person in people.store.users():
                        assert sorted(ids(people, "word", "ropg", person)) == sorted(stored)
            contents = b"".join(file.read_bytes() for file in Path(name).iterdir())
            if step in ("delete", "erase", "drop"):
                assert not any(vector_of(other, text) in contents for text in gone)
            if "ropg" in people.store.spaces():
                assert all(
                    vector_of(other, text) in contents for own in texts.values() for text in own.values()
                )
        folder.close()


def test_a_kill_at_any_moment_leaves_the_space_whole_or_not_there(folder: Folder) -> None:
    folder.open().put("ana", [Document(id=str(i), text=f"tea {i}") for i in range(300)])
    dice = random.Random(1)
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", filler.__name__, folder.url], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process, process.stdout:
            assert process.stdout.readline() == "began\n"
            time.sleep(dice.uniform(0, 0.2))
            process.kill()
        assert whole(folder)
    # It can be made after all.
    encoder = HashEncoder("other", 8)
    reembed(folder.to_look(), encoder, space="ropg")
    assert len(ids(folder.open(ropg=encoder), "tea", "ropg", k=300)) == 300


async def test_an_import_in_turns_writes_all_vectors_and_one_that_is_cancelled_none(
    folder: Folder, other: HashEncoder
) -> None:
    people = folder.open(ropg=other)

    async def run(_: str, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    with people.importing("ana", DOCUMENTS) as work:
        assert (await work.finish_in(run)).put == 4
    assert ids(people, "tea dog", "ropg") == by_vectors(other, TEXTS, "tea dog")
    other.hold = threading.Event()
    other.entered.clear()
    with people.importing("bo", DOCUMENTS) as work:
        task = asyncio.create_task(work.finish_in(run))
        await asyncio.to_thread(other.entered.wait, 10)
        task.cancel()
        other.hold.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert people.store.users() == ["ana"]
    assert whole(folder)
