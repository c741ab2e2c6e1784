"""The benchmark of changes times a search after each change, and the next one."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from benchmarks import changes
from benchmarks.changes import History, first_search, measured
from benchmarks.crowd import RandomEncoder
from index.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'pr2.db'}", RandomEncoder.manifest)


def test_changes_are_made_and_each_is_searched_twice(store: Store) -> None:
    ticks = count()
    # Nothing else looks at the clock, so every time is one second.
    got = measured(store, 20, 3, lambda: float(next(ticks)))
    assert (got.warm, got.ingest) == (1_000, 1_000)
    assert got.ratios == {"append": 1, "replace": 1, "delete": 1}
    # Two looks at the clock for each search; one before each change, and one after each that is appended.
    assert next(ticks) == 2 * (1 + 3 * 3 * 2) + 3 * 3 + 3
    documents = store.load("with 20").documents
    assert len(documents) == 20 + 3 - 3
    first = History()
    unchanged = {document.id: document for document in first.documents(20)}
    assert sum(unchanged.get(document.id) == document for document in documents) == 20 - 6


def test_the_first_search_is_that_of_a_user_who_is_not_in_memory(store: Store) -> None:
    ticks = count()
    assert first_search(store, 10, 3, lambda: float(next(ticks))) == 1_000
    assert store.count("first") == 10


@pytest.mark.parametrize(("bar", "code"), [(10_000.0, None), (0.0, 1)])
def test_a_bar_that_is_missed_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    bar: float,
    code: int | None,
) -> None:
    @contextmanager
    def one() -> Iterator[dict[str, tuple[str, int]]]:
        yield {"SQLite": (f"sqlite:///{tmp_path / 'pr2.db'}", 1)}

    monkeypatch.setattr(changes, "databases", one)
    monkeypatch.setattr(changes, "RATIO", bar)
    monkeypatch.setattr(changes, "FIRST_MS", 1_000 * bar)
    monkeypatch.setattr("sys.argv", ["changes", "--documents", "12", "--first", "10", "--rounds", "2"])
    if code is None:
        changes.main()
    else:
        with pytest.raises(SystemExit) as raised:
            changes.main()
        assert raised.value.code == code
    output = capsys.readouterr().out
    assert ("append at 12 documents" in output) == ("a first search takes" in output) == bool(code)
    assert "PostgreSQL is not installed on this machine, and was not measured" in output


def test_more_changes_than_documents_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["changes", "--documents", "10", "--rounds", "6"])
    with pytest.raises(SystemExit):
        changes.main()
    assert "--rounds: at most half of the documents can change" in capsys.readouterr().err
