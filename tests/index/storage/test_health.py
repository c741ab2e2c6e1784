"""Readiness finds pages that went bad, and costs little however often it is asked for."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from index.errors import StoreUnavailable
from index.storage.health import FRESH_S, READ_S, Health
from index.storage.store import Store
from tests.index.storage.test_store import encoded

PAGE = 4_096


class Clock:
    """Moves on by itself at every look, so that a check ends after so many rows."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 100.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def damage(path: Path, table: str) -> None:
    """Overwrite the last page of a table, after the log was emptied into the database."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            (page,) = connection.execute(
                "SELECT max(pageno) FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (table,)
            ).fetchone()
        except sqlite3.OperationalError:
            page = None
    assert page is not None
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xee" * PAGE)


def test_a_store_in_use_is_ready(store: Store) -> None:
    store.check()
    store.put("ana", [[encoded("a")]])
    store.check()


@pytest.mark.parametrize("table", ["documents", "passages", "answers"])
def test_a_page_that_went_bad_is_found(store: Store, path: Path, table: str) -> None:
    pass
