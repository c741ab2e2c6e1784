"""An empty store with hashed vectors on each database, and a write that is held open."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete

from index.storage import schema
from index.storage.opening import write_encoder
from index.storage.profiles import EncodedDocument
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.postgresql import Cluster


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that use `url` on both databases; those that look at the file, on SQLite."""
    if "url" in metafunc.fixturenames and "emptied" not in metafunc.fixturenames:
        both = ["sqlite"] if "path" in metafunc.fixturenames else ["sqlite", "postgresql"]
        metafunc.parametrize("url", both, indirect=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without documents."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    emptied: str = request.getfixturevalue("emptied")
    return emptied


@pytest.fixture(scope="session")
def hashed(postgresql: Cluster) -> str:
    """The URL of a PostgreSQL database with a store in it. It is made once, because that takes long."""
    url = postgresql.create("hashed")
    store = Store(url, HashEncoder().manifest)
    store.open()
    store.close()
    return url


@pytest.fixture
def emptied(hashed: str) -> str:
    store = Store(hashed, None)
    with store.database.write() as connection:
        for table in schema.tables.tables.values():
            connection.execute(delete(table))
        write_encoder(connection, HashEncoder().manifest)
    store.close()
    return hashed


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url, HashEncoder().manifest)
    yield store
    store.close()


@contextmanager
def putting_slowly(store: Store, *documents: EncodedDocument) -> Iterator[None]:
    """Put documents for ana in another thread: the first one is written, and the rest after the block.

    Whoever waits for the write in the block ends it with an error, after a minute.
    """
    inside, may_go_on = threading.Event(), threading.Event()

    def batches() -> Iterator[list[EncodedDocument]]:
        yield [documents[0]]
        inside.set()
        assert may_go_on.wait(60), "the block waits for the write"
        yield list(documents[1:])

    with ThreadPoolExecutor(1) as threads:
        putting = threads.submit(store.put, "ana", batches())
        try:
            assert inside.wait(60)
            yield
        finally:
            may_go_on.set()
        putting.result()
