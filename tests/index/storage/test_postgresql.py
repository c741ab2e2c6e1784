"""PostgreSQL in particular: who waits for whom, servers that go away, and errors that name what to do."""

import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event, text

from index.errors import StoreCorrupted, StoreFull, StoreUnavailable
from index.storage import profiles
from index.storage.answers import StoredAnswer
from index.storage.checking import faults
from index.storage.database import connect
from index.storage.profiles import EncodedDocument
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.storage.conftest import putting_slowly
from tests.index.storage.test_store import encoded
from tests.postgresql import Cluster

ENCODER = HashEncoder()


@pytest.fixture
def url(emptied: str) -> str:
    return emptied


def limited(url: str, milliseconds: int) -> Store:
    """A store whose statements may take so long."""
    return Store(f"{url}?options=-c%20statement_timeout%3D{milliseconds}", ENCODER.manifest)


def test_users_do_not_wait_for_each_other_but_a_user_has_one_writer(store: Store, url: str) -> None:
    store.put("bo", [[encoded("a")]])
    impatient = limited(url, 300)
    with putting_slowly(store, encoded("a"), encoded("b")):
        store.put("bo", [[encoded("b")]])
        store.put("cleo", [[encoded("a")]])
        store.delete_document("bo", "a")
        store.erase("cleo")
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            impatient.put("ana", [[encoded("c")]])
    impatient.put("ana", [[encoded("c")]])
    assert [document.id for document in store.load("ana").documents] == ["a", "b", "c"]
    impatient.close()


def test_answers_are_stored_while_their_user_imports(store: Store) -> None:
    store.put("ana", [[encoded("a")]])
    with putting_slowly(store, encoded("b"), encoded("c")):
        assert store.save_answers([StoredAnswer("ana", "1", {"answer": "Tea."})]) == [None]
        assert store.answer("ana", "1") == {"answer": "Tea."}


def test_a_deletion_waits_for_vectors_that_are_being_replaced(store: Store, url: str) -> None:
    versions = {"ana": store.put("ana", [[encoded("a"), encoded("b")]])}
    impatient = limited(url, 300)

    def batches() -> Iterator[tuple[str, int, list[EncodedDocument]]]:
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            impatient.delete_document("ana", "a")
        yield "ana", versions["ana"], [encoded("a"), encoded("b")]

    assert store.swap_vectors(ENCODER.manifest, versions, batches()) == []
    impatient.delete_document("ana", "a")
    assert [document.id for document in store.load("ana").documents] == ["b"]
    impatient.close()


def test_what_is_deleted_before_vectors_are_replaced_does_not_come_back(store: Store, url: str) -> None:
    versions = {"ana": store.put("ana", [[encoded("a"), encoded("b")]])}
    batch = [("ana", versions["ana"], [encoded("a"), encoded("b")])]
    waits = threading.Event()

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def watch(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "FROM users" in statement and statement.endswith("FOR NO KEY UPDATE"):
            waits.set()

    other = Store(url, None)
    with ThreadPoolExecutor(1) as threads:
        with other.database.write() as connection:
            profiles.delete_document(connection, "ana", "a")
            swapping = threads.submit(store.swap_vectors, ENCODER.manifest, versions, batch)
            assert waits.wait(60)
        assert swapping.result() == ["ana"]
    assert [document.id for document in store.load("ana").documents] == ["b"]
    other.close()


def test_connections_that_the_server_closed_are_replaced(store: Store) -> None:
    store.put("ana", [[encoded("a")]])
    other = Store(store.database.engine.url.render_as_string(hide_password=False), None)
    with other.database.write() as connection:
        closed = text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )
        assert connection.scalar(closed) > 0
    other.close()
    assert store.count("ana") == 1


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL])
def test_a_server_that_was_down_is_used_again_and_nothing_is_lost(
    store: Store, postgresql: Cluster, how: signal.Signals
) -> None:
    store.put("ana", [[encoded("a")]])
    postgresql.stop(how)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="the database cannot be used now"):
            store.users()
        with pytest.raises(StoreUnavailable):
            store.put("ana", [[encoded("lost")]])
    postgresql.start()
    assert store.count("ana") == 1
    store.put("ana", [[encoded("b")]])
    assert [document.id for document in store.load("ana").documents] == ["a", "b"]


def test_a_write_during_which_the_server_goes_away_has_changed_nothing(
    store: Store, postgresql: Cluster
) -> None:
    store.put("ana", [[encoded("a")]])

    def batches() -> Iterator[list[EncodedDocument]]:
        yield [encoded("b")]
        postgresql.stop(signal.SIGKILL)
        yield [encoded("c")]

    with pytest.raises(StoreUnavailable):
        store.put("ana", batches())
    postgresql.start()
    assert [document.id for document in store.load("ana").documents] == ["a"]
    assert list(faults(store)) == []


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ("53100", StoreFull, "no room"),
        ("XX001", StoreCorrupted, r"no room; postgresql://pr2:\*\*\*@.* is damaged: see pr2 store check"),
        ("57P03", StoreUnavailable, "no room"),
    ],
)
def test_errors_of_the_server_are_told_apart(
    store: Store, state: str, error: type[Exception], message: str
) -> None:
    store.open()
    failing = f"DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(error, match=message) as raised, store.database.write() as connection:
        connection.execute(text(failing))
    assert type(raised.value) is error


def test_a_statement_that_takes_too_long_is_given_up(url: str) -> None:
    store = limited(url, 50)
    with (
        pytest.raises(StoreUnavailable, match="statement timeout"),
        store.database.read() as connection,
    ):
        connection.execute(text("SELECT pg_sleep(60)"))
    with store.database.write() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "50ms"
        store.database.unhurried(connection)
        assert connection.scalar(text("SHOW statement_timeout")) == "0"
    store.close()


def test_a_database_that_cannot_hold_every_text_is_refused(postgresql: Cluster) -> None:
    url = postgresql.create("latin", "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    store = Store(url, ENCODER.manifest)
    with pytest.raises(StoreUnavailable, match="has the encoding LATIN1, which cannot hold every text"):
        store.open()
    store.close()


def test_a_database_that_is_not_there_is_reported_without_the_password(postgresql: Cluster) -> None:
    store = Store(postgresql.url("missing"), ENCODER.manifest)
    with pytest.raises(StoreUnavailable, match='database "missing" does not exist') as raised:
        store.open()
    password = store.database.engine.url.password
    assert password
    assert password not in str(raised.value) + store.database.name
    store.close()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("pr2.db", "not a URL"),
        ("mysql://localhost/pr2", "mysql is not supported"),
        ("sqlite://", "has to name a file"),
    ],
)
def test_urls_of_nothing_that_can_be_a_store_are_refused(wrong: str, message: str) -> None:
    with pytest.raises(StoreUnavailable, match=message):
        connect(wrong)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreUnavailable, match=r"pip install 'pr2\[postgres\]'"):
        connect("postgresql://localhost/pr2")
