"""An empty store with hashed vectors, its file, and a write that is held open."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from index.storage.profiles import EncodedDocument
from index.storage.store import Store
from tests.index.fakes import HashEncoder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{path}", HashEncoder().manifest)
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
