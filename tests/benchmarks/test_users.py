"""Stores that are filled in bulk are as puts make them, and what is measured is what it is called."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.capacity import Use, need, table
from benchmarks.crowd import RandomEncoder, Zipf, fill
from benchmarks.users import WatchedStore, measured
from index.profiles import Profiles
from index.storage.checking import faults
from index.storage.profiles import EncodedDocument, EncodedPassage
from index.storage.store import Store
from tests.index.bulk.folders import rows


def store_in(folder: Path, name: str) -> Store:
    return Store(f"sqlite:///{folder / name}.db", RandomEncoder.manifest)


def test_rows_of_a_bulk_fill_are_those_of_puts(tmp_path: Path) -> None:
    bulk, put = store_in(tmp_path, "bulk"), store_in(tmp_path, "put")
    with closing(bulk), closing(put):
        fill(bulk, ["ana", "ben"], 3)
        assert list(faults(bulk, lambda users: None)) == []
        for user in ("ana", "ben"):
            profile = bulk.load(user)
            encoded = [
                EncodedDocument(document, (EncodedPassage(0, len(document.text), vector),))
                for document, vector in zip(profile.documents, profile.vectors, strict=True)
            ]
            put.put(user, [encoded])
        assert len({document.text for document in bulk.load("ana").documents}) == 3
    assert rows(f"sqlite:///{tmp_path / 'bulk'}.db") == rows(f"sqlite:///{tmp_path / 'put'}.db")


def test_users_are_drawn_by_their_rank() -> None:
    users = [f"user{number}" for number in range(100)]
    zipf, count = Zipf(users, seed=3), 20_000
    drawn = [zipf.draw() for _ in range(count)]
    shares = sorted((drawn.count(user) / count for user in users), reverse=True)
    harmonic = sum(1 / rank for rank in range(1, 101))
    for rank in (1, 2, 10):
        assert shares[rank - 1] == pytest.approx(1 / rank / harmonic, rel=0.15)
    assert shares[-1] > 0


def test_hits_and_misses_are_told_apart(tmp_path: Path) -> None:
    urls = tuple(f"sqlite:///{tmp_path / name}.db" for name in ("small", "large"))
    found = asyncio.run(measured("SQLite", (urls[0], urls[1]), (4, 40), 12, with_memory=False, wide_users=2))
    assert (len(found.few.hits), len(found.few.misses)) == (12, 0)
    assert found.few_loaded.misses
    assert len(found.many.hits) + len(found.many.misses) == 12
    assert len(found.cold_ms) == 2
    # A vector alone has 768 bytes.
    assert 768 < found.bytes_per_document < 10_000
    assert [figure.name.rpartition(", ")[2] for figure in found.figures] == ["hits", "misses", "ms"]


def test_a_profile_that_is_searched_again_is_not_loaded_again(tmp_path: Path) -> None:
    """The counter that tells hits from misses."""
    encoder = RandomEncoder()
    with closing(WatchedStore(f"sqlite:///{tmp_path / 'a'}.db", encoder.manifest)) as store:
        fill(store, ["ana", "ben"], 2)
        profiles = Profiles(store, encoder)
        for user in ("ana", "ben", "ana"):
            profiles.search(user, ["tea"], 1)
        assert store.loads == 2


def test_a_need_is_worked_out_from_bytes_and_processor_time() -> None:
    use = Use(documents=100, hot=0.01, active=0.5, searches=8.64, peak=2, cores=4, memory_gib=1, disk_tb=1)
    memory = {"10": {"resident": 1, "users": 1}, "100": {"resident": 2**30, "users": 1_000}}
    found = need(1_000_000, use, {"bytes_per_document": 20_000, "search_cpu_s": 0.1, "memory": memory})
    assert found.rows == 201_000_000
    assert found.database_bytes == 2e12
    assert found.hot_bytes == pytest.approx(10 * 2**30)
    assert found.searches_s == pytest.approx(100)
    # 13.3 for the profiles, 5 for the searches.
    assert (found.api_servers, found.database_servers) == (14, 2)
    assert table([found]).splitlines()[-1] == "| 1,000,000 | 201,000,000 | 2 TB | 10.7 GB | 100 | 14 | 2 |"
