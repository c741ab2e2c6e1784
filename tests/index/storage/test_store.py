import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, func, select

from index.documents import Document
from index.errors import EncoderMismatch, StoreUnavailable, UnknownDocument, UnknownUser
from index.storage import schema
from index.storage.answers import StoredAnswer
from index.storage.database import insert_if_missing
from index.storage.profiles import EncodedDocument, EncodedPassage
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.storage.conftest import putting_slowly

ENCODER = HashEncoder()


def encoded(name: str, text: str = "tea", passages: int = 1) -> EncodedDocument:
    vector = np.arange(16, dtype=np.float16)
    parts = tuple(EncodedPassage(i, len(text), vector + i) for i in range(passages))
    return EncodedDocument(Document(id=name, text=text), parts)


def rows(store: Store, table: str) -> int:
    with store.database.read() as connection:
        query = select(func.count()).select_from(schema.tables.tables[table])
        return int(connection.execute(query).scalar_one())


def test_what_is_put_is_loaded_again_in_order(store: Store) -> None:
    store.put("ana", [[encoded("b", "two", 2)], [encoded("a", "one")]])
    loaded = store.load("ana")
    assert [document.id for document in loaded.documents] == ["b", "a"]
    assert loaded.spans == [(0, 0, 3), (0, 1, 3), (1, 0, 3)]
    assert loaded.vectors.dtype == np.float16
    assert loaded.vectors[:, 0].tolist() == [0, 1, 0]
    assert loaded.version == store.version("ana")


def test_every_field_of_a_document_survives(store: Store) -> None:
    document = Document.model_validate(
        {
            "id": "é 🦊",
            "text": "line\nline",
            "title": "",
            "source": "mail",
            "created_at": "2024-05-01T10:00:00.25+02:00",
            "metadata": {"a": [1, None, {"b": "é"}], "big": 1 << 70},
        }
    )
    store.put("ana", [[EncodedDocument(document, ())]])
    assert store.document("ana", "é 🦊") == document
    assert store.document("ana", "é 🦊").to_dict()["created_at"] == "2024-05-01T10:00:00.250000+02:00"
    assert store.load("ana").documents == [document]
    assert store.documents("ana") == [(0, document)]


def test_the_version_grows_with_every_change_and_only_then(store: Store) -> None:
    versions = [store.put("ana", [[encoded("a")]]), store.put("ana", [[encoded("a")]])]
    store.delete_document("ana", "a")
    versions.append(store.version("ana"))
    save(store, "ana", "1", {})
    store.put("bo", [[encoded("a")]])
    assert store.version("ana") == versions[-1]
    assert versions == sorted(set(versions))


def test_pages_go_on_where_the_last_one_ended(store: Store) -> None:
    store.put("ana", [[encoded(f"d{i}") for i in range(10)]])
    store.put("bo", [[encoded("other")]])
    store.delete_document("ana", "d3")
    seen: list[str] = []
    after = -1
    while page := store.documents("ana", after, 4):
        assert len(page) <= 4
        seen += [document.id for _, document in page]
        after = page[-1][0]
    assert seen == [f"d{i}" for i in range(10) if i != 3]
    assert store.count("ana") == 9


def test_a_replaced_document_leaves_nothing_of_its_former_passages(store: Store) -> None:
    store.put("ana", [[encoded("a", "long text", 5), encoded("b")]])
    store.put("ana", [[encoded("a", "short", 1)]])
    assert store.load("ana").spans == [(0, 0, 5), (1, 0, 3)]
    assert rows(store, "passages") == 2
    store.delete_document("ana", "a")
    assert rows(store, "passages") == 1


def test_more_documents_than_one_statement_takes_are_replaced_at_once(store: Store) -> None:
    store.put("ana", [[encoded(f"d{i}") for i in range(1_200)]])
    store.put("ana", [[encoded(f"d{i}", "new") for i in reversed(range(1_200))]])
    loaded = store.load("ana")
    assert [document.id for document in loaded.documents] == [f"d{i}" for i in range(1_200)]
    assert {document.text for document in loaded.documents} == {"new"}


def test_nothing_is_written_when_the_batches_break_off(store: Store) -> None:
    def batches() -> Iterator[list[EncodedDocument]]:
        yield [encoded(f"d{i}") for i in range(100)]
        raise OSError("gone")

    with pytest.raises(StoreUnavailable, match="gone"):
        store.put("ana", batches())
    assert store.users() == []
    assert rows(store, "documents") == rows(store, "passages") == 0


def save(store: Store, user: str, answer_id: str, body: dict[str, Any]) -> None:
    (unknown,) = store.save_answers([StoredAnswer(user, answer_id, body)])
    if unknown is not None:
        raise unknown


READING: dict[str, Any] = {
    "version": lambda s, u: s.version(u),
    "load": lambda s, u: s.load(u),
    "document": lambda s, u: s.document(u, "a"),
    "documents": lambda s, u: s.documents(u),
    "count": lambda s, u: s.count(u),
    "answer": lambda s, u: s.answer(u, "1"),
    "answers": lambda s, u: s.answers(u),
    "delete_answer": lambda s, u: s.delete_answer(u, "1"),
    "delete_document": lambda s, u: s.delete_document(u, "a"),
    "save_answer": lambda s, u: save(s, u, "2", {}),
    "erase": lambda s, u: s.erase(u),
}


@pytest.mark.parametrize("method", READING)
def test_every_method_knows_one_user_from_the_next(store: Store, method: str) -> None:
    store.put("bo", [[encoded("a", "bo's")]])
    save(store, "bo", "1", {"answer": "bo's"})
    with pytest.raises(UnknownUser, match="nothing is stored for the user 'ana'"):
        READING[method](store, "ana")
    store.put("ana", [[encoded("a", "ana's"), encoded("b")]])
    save(store, "ana", "1", {"answer": "ana's"})
    version = store.version("bo")
    READING[method](store, "ana")
    assert store.version("bo") == version
    assert store.document("bo", "a").text == "bo's"
    assert store.answer("bo", "1") == {"answer": "bo's"}
    assert store.load("bo").spans == [(0, 0, 4)]


def test_items_that_a_user_does_not_have_are_unknown(store: Store) -> None:
    store.put("bo", [[encoded("a")]])
    store.put("ana", [[encoded("b")]])
    save(store, "bo", "1", {})
    for ask in (
        lambda: store.document("ana", "a"),
        lambda: store.delete_document("ana", "a"),
        lambda: store.answer("ana", "1"),
        lambda: store.delete_answer("ana", "1"),
    ):
        with pytest.raises(UnknownDocument, match="'ana' has no"):
            ask()


def test_an_erasure_leaves_nothing_in_any_table(store: Store) -> None:
    store.put("bo", [[encoded("kept")]])
    before = {table.name: rows(store, table.name) for table in schema.PER_USER}
    store.put("ana", [[encoded("a", passages=2), encoded("b")]])
    save(store, "ana", "1", {"text": "a"})
    receipt = store.erase("ana")
    assert (receipt.documents, receipt.passages, receipt.answers) == (2, 3, 1)
    assert {table.name: rows(store, table.name) for table in schema.PER_USER} == before
    with pytest.raises(UnknownUser):
        store.erase("ana")


def test_an_erasure_leaves_nothing_in_any_table_nor_in_the_files(store: Store, path: Path) -> None:
    secret = "zanzibar-secret"
    store.put("bo", [[encoded(f"kept{i}") for i in range(50)]])
    documents = [encoded(f"{secret}-id-{i}", f"{secret} text {i} " * 300, 2) for i in range(50)]
    store.put("ana-secret", [documents])
    store.put("ana-secret", [[encoded(f"{secret}-id-0", f"{secret} changed")]])
    save(store, "ana-secret", "answer-secret", {"text": secret})
    assert any(b"secret" in file.read_bytes() for file in path.parent.iterdir())
    receipt = store.erase("ana-secret")
    assert (receipt.user, receipt.documents, receipt.passages, receipt.answers) == ("ana-secret", 50, 99, 1)
    assert receipt.id != store.erase("bo").id
    for table in schema.tables.sorted_tables:
        assert rows(store, table.name) == (2 if table.name == "manifest" else 0)
    store.close()
    for file in path.parent.iterdir():
        assert b"secret" not in file.read_bytes(), file.name
    with pytest.raises(UnknownUser):
        store.erase("ana-secret")


def test_erased_text_is_gone_from_the_files_while_the_store_is_open(store: Store, path: Path) -> None:
    store.put("ana", [[encoded("a", "zanzibar " * 2_000)]])
    store.put("bo", [[encoded("a")]])
    store.load("ana")
    store.erase("ana")
    files = [file for file in path.parent.iterdir() if not file.name.endswith("-shm")]
    assert not any(b"zanzibar" in file.read_bytes() for file in files)
    assert store.load("bo").version


def test_a_store_of_another_encoder_is_refused_and_both_are_named(store: Store, url: str) -> None:
    store.open()
    other = Store(url, HashEncoder("other", 8).manifest)
    with pytest.raises(EncoderMismatch) as raised:
        other.open()
    assert str(ENCODER.manifest) in str(raised.value)
    assert str(HashEncoder("other", 8).manifest) in str(raised.value)
    with pytest.raises(EncoderMismatch):
        other.put("ana", [[encoded("a")]])
    other.close()
    same = Store(url, HashEncoder().manifest)
    same.open()
    same.close()


def test_readers_are_not_blocked_by_a_writer_and_see_whole_states(store: Store) -> None:
    store.put("ana", [[encoded("a")]])
    with putting_slowly(store, encoded("b"), encoded("c")):
        before = store.load("ana")
        assert store.count("ana") == 1
        assert [document.id for document in before.documents] == ["a"]
    assert [document.id for document in store.load("ana").documents] == ["a", "b", "c"]
    assert store.version("ana") == before.version + 1


def test_writers_of_two_stores_wait_for_each_other(url: str) -> None:
    stores = [Store(url, ENCODER.manifest) for _ in range(2)]
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for i in range(10):
                stores[number].put("ana", [[encoded(f"{number}-{i}")]])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert stores[0].count("ana") == 20
    for store in stores:
        store.close()


def test_a_full_disk_is_reported_and_nothing_is_half_written(path: Path, store: Store) -> None:
    @event.listens_for(store.database.engine, "connect")
    def small_disk(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count=60")

    store.put("ana", [[encoded("a")]])
    version = store.version("ana")
    with pytest.raises(StoreUnavailable, match="full"):
        store.put("ana", [[encoded(f"d{j}-{i}", "x" * 10_000) for i in range(10)] for j in range(10)])
    with pytest.raises(StoreUnavailable, match="full"):
        save(store, "ana", "1", {"text": "x" * 500_000})
    assert store.version("ana") == version
    assert [document.id for document in store.load("ana").documents] == ["a"]
    assert rows(store, "passages") == 1
    store.put("ana", [[encoded("b")]])
    assert store.count("ana") == 2


def test_a_data_path_that_cannot_hold_a_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "garbage.db").write_bytes(b"not a database " * 1_000)
    paths = [
        tmp_path / "file" / "store.db",
        tmp_path / "missing" / "store.db",
        tmp_path / "garbage.db",
        tmp_path,
    ]
    for path in paths:
        store = Store(f"sqlite:///{path}", ENCODER.manifest)
        for ask in (store.open, store.users, lambda store=store: store.put("ana", [[encoded("a")]])):
            with pytest.raises(StoreUnavailable, match="the database cannot be used now"):
                ask()
        store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    store = Store(f"sqlite:///{tmp_path / 'store.db'}", ENCODER.manifest)
    with pytest.raises(StoreUnavailable):
        store.open()
    tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder where nobody can write")
def test_a_folder_where_nobody_can_write_is_reported() -> None:
    store = Store("sqlite:////proc/self/store.db", ENCODER.manifest)
    with pytest.raises(StoreUnavailable):
        store.open()
    store.close()


def test_a_store_that_is_unavailable_opens_when_it_is_back(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'later' / 'store.db'}", ENCODER.manifest)
    with pytest.raises(StoreUnavailable):
        store.users()
    (tmp_path / "later").mkdir()
    assert store.users() == []
    store.close()


def test_a_new_store_can_be_opened_by_many_at_the_same_time(tmp_path: Path) -> None:
    def open_and_close(file: Path) -> None:
        store = Store(f"sqlite:///{file}", ENCODER.manifest)
        try:
            store.open()
        finally:
            store.close()

    with ThreadPoolExecutor(6) as threads:
        for number in range(15):
            list(threads.map(open_and_close, [tmp_path / f"{number}.db"] * 6))


def test_a_user_who_is_created_by_two_processes_at_the_same_time_is_one_user(store: Store, url: str) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "tests.index.storage.creating", url]
    store.open()
    with (
        subprocess.Popen([*command, "a"], stdin=pipe, stdout=pipe, text=True) as one,
        subprocess.Popen([*command, "b"], stdin=pipe, stdout=pipe, text=True) as other,
    ):
        both = [(each.stdin, each.stdout) for each in (one, other) if each.stdin and each.stdout]
        assert [lines.readline() for _, lines in both] == ["ready\n", "ready\n"]
        for i in range(10):
            for asked, _ in both:
                print(f"user {i}", file=asked, flush=True)
            assert [lines.readline() for _, lines in both] == [f"user {i}\n"] * 2
    assert [store.count(f"user {i}") for i in range(10)] == [2] * 10


def test_a_profile_is_loaded_in_one_state_whoever_writes_meanwhile(store: Store, url: str) -> None:
    store.put("ana", [[encoded("a", passages=2)]])
    other = Store(url, ENCODER.manifest)

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def write(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "FROM passages" in statement and other.count("ana") == 1:
            other.put("ana", [[encoded("a", "new", passages=3), encoded("b")]])

    loaded = store.load("ana")
    assert (len(loaded.documents), loaded.documents[0].text, len(loaded.spans)) == (1, "tea", 2)
    assert loaded.version < store.version("ana")
    assert len(store.load("ana").spans) == 4
    other.close()


def test_a_row_that_another_transaction_inserted_first_stays_as_it_is(store: Store) -> None:
    version = store.put("ana", [[encoded("a")]])
    with store.database.write() as connection:
        row = schema.owner("ana") | {"version": 0, "next_position": 0}
        insert_if_missing(connection, schema.users, row)
    assert store.version("ana") == version
