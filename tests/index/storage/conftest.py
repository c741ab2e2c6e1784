"""An empty store with hashed vectors, and its file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
