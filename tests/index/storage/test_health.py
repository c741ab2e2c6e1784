"""Readiness finds pages that went bad, and costs little however often it is asked for."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from index.errors import StoreUnavailable
from index.storage.answers import StoredAnswer
from index.storage.health import FRESH_S, Health
from index.storage.probing import READ_S
from index.storage.store import Store
from tests.index.storage.conftest import putting_slowly
from tests.index.storage.test_store import encoded

PAGE = 4_096


class Clock:
    """Stands still, or moves on by `step` seconds each time it is read."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 100.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def overwrite(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xee" * PAGE)


def check_often(health: Health, clock: Clock) -> None:
    for _ in range(20):
        health.check()
        clock.now += FRESH_S


def checked_at(path: Path) -> str | None:
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT value FROM manifest WHERE key = 'checked'").fetchone()
    return None if row is None else str(row[0])


def test_a_store_in_use_is_ready_and_was_written_to(store: Store, path: Path) -> None:
    store.check()
    first = checked_at(path)
    assert first is not None
    clock = Clock()
    health = Health(store.database, clock)
    health.check()
    second = checked_at(path)
    assert second is not None
    assert second > first
    clock.now += FRESH_S - 0.001
    health.check()
    assert checked_at(path) == second
    clock.now += 0.001
    health.check()
    third = checked_at(path)
    assert third is not None
    assert third > second


@pytest.mark.parametrize("table", ["documents", "passages", "answers"])
def test_a_page_that_went_bad_is_found(store: Store, path: Path, table: str) -> None:
    store.put("ana", [[encoded("a")]])
    store.save_answers([StoredAnswer("ana", "1", {})])
    store.check()
    store.database.scrub()
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    overwrite(path, page)
    health = Health(store.database, Clock())
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="malformed"):
            health.check()


def test_each_check_reads_some_rows_and_the_next_one_goes_on(store: Store, path: Path) -> None:
    store.put("ana", [[encoded(f"d{i}", f"text-{i:03} " * 400) for i in range(100)]])
    store.database.scrub()
    content = path.read_bytes()
    overwrite(path, content.index(b"text-080") // PAGE + 1)
    clock = Clock(step=READ_S / 20)
    health = Health(store.database, clock)
    for _ in range(3):
        health.check()
        clock.now += FRESH_S
    with pytest.raises(StoreUnavailable, match="malformed"):
        check_often(health, clock)


def test_a_write_in_progress_is_no_fault(store: Store) -> None:
    store.put("ana", [[encoded("a")]])
    with putting_slowly(store, encoded("b")):
        Health(store.database).check()
    assert store.count("ana") == 2


def test_a_file_that_is_gone_is_not_ready(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'missing' / 'pr2.db'}", None)
    with pytest.raises(StoreUnavailable):
        store.check()
