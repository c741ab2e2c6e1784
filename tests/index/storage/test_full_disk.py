"""A real disk that is full: nothing is half written, deletions still work, and readiness says so."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from index.errors import StoreFull, StoreUnavailable, UnknownDocument
from index.storage.answers import StoredAnswer
from index.storage.files import RESERVE_BYTES
from index.storage.health import FRESH_S, Health
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.storage.test_revisions import REVISION_2
from tests.index.storage.test_store import encoded

ENCODER = HashEncoder()
MB = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m,mode=700", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("cannot mount a disk here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def store_on(disk: Path, *, keep_reserve: bool) -> Store:
    return Store(f"sqlite:///{disk / 'pr2.db'}", ENCODER.manifest, keep_reserve=keep_reserve)


def fill(disk: Path) -> Path:
    """Take all space that is left."""
    file = disk / "other"
    with file.open("wb", buffering=0) as filler:
        os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(disk).free)
        with pytest.raises(OSError, match="No space left"):
            os.posix_fallocate(filler.fileno(), 0, filler.seek(0, os.SEEK_END) + 1)
    return file


def test_documents_can_be_deleted_on_a_full_disk(disk: Path) -> None:
    store = store_on(disk, keep_reserve=True)
    store.put("ana", [[encoded(f"d{i}", f"text {i} " * 500) for i in range(100)]])
    store.put("bo", [[encoded("d0")]])
    store.save_answers([StoredAnswer("ana", "1", {"document_id": "d3", "text": "text 3 text 3"})])
    store.database.scrub()
    fill(disk)
    with pytest.raises(StoreFull):
        store.put("ana", [[encoded("new", "x" * 100_000)]])
    for number in range(5):
        store.delete_document("ana", f"d{number}")
        with pytest.raises(StoreFull):
            store.put("ana", [[encoded("new", "x" * 100_000)]])
    assert store.answer("ana", "1")["redacted"] is True
    receipt = store.erase("ana")
    assert (receipt.documents, receipt.answers, receipt.scrubbed) == (95, 1, True)
    assert (disk / "pr2.db-reserve").stat().st_size == RESERVE_BYTES
    for file in disk.iterdir():
        assert b"text 9" not in file.read_bytes()
    assert store.users() == ["bo"]
    store.close()


def test_without_a_reserve_a_deletion_on_a_full_disk_is_refused_and_changes_nothing(disk: Path) -> None:
    store = store_on(disk, keep_reserve=False)
    store.put("ana", [[encoded("d0"), encoded("d1")]])
    store.database.scrub()
    filler = fill(disk)
    with pytest.raises(StoreFull, match="database or disk is full"):
        store.delete_document("ana", "d0")
    with pytest.raises(StoreFull):
        store.erase("ana")
    assert store.count("ana") == 2
    filler.unlink()
    store.delete_document("ana", "d0")
    assert store.count("ana") == 1
    store.close()


def test_a_full_disk_has_no_room_for_a_reserve_which_is_logged(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store_on(disk, keep_reserve=False).open()
    (disk / "other").write_bytes(bytes(20 * MB))
    store = store_on(disk, keep_reserve=True)
    store.open()
    assert not (disk / "pr2.db-reserve").exists()
    assert "no disk space is kept for deletions: " in caplog.text
    store.put("ana", [[encoded("d0")]])
    store.close()


def test_what_is_not_there_frees_no_reserve(disk: Path) -> None:
    store = store_on(disk, keep_reserve=True)
    store.put("ana", [[encoded("d0")]])
    fill(disk)
    with pytest.raises(UnknownDocument):
        store.delete_document("ana", "d1")
    assert (disk / "pr2.db-reserve").exists()
    store.close()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_full_disk_is_not_ready_until_there_is_room(disk: Path) -> None:
    store = store_on(disk, keep_reserve=False)
    store.put("ana", [[encoded("d0")]])
    clock = Clock()
    health = Health(store.database, clock)
    health.check()
    filler = fill(disk)
    health.check()  # Not tried again so soon.
    clock.now += FRESH_S
    with pytest.raises(StoreUnavailable, match=r"is full: \d+ bytes are free"):
        health.check()
    filler.unlink()
    with pytest.raises(StoreUnavailable):
        health.check()
    clock.now += FRESH_S
    health.check()
    store.close()


def test_a_disk_that_takes_no_write_is_not_ready(disk: Path) -> None:
    store = store_on(disk, keep_reserve=False)
    store.put("ana", [[encoded("d0")]])
    store.database.close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StoreUnavailable):
        store.check()
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    store.close()


def test_a_store_that_cannot_be_copied_aside_is_not_migrated(disk: Path) -> None:
    shutil.copy(REVISION_2, disk / "pr2.db")
    store = store_on(disk, keep_reserve=False)
    store.database.engine.connect().close()
    filler = fill(disk)
    with pytest.raises(StoreFull):
        store.open()
    assert sorted(file.name for file in disk.iterdir() if "schema" in file.name) == []
    filler.unlink()
    assert store.users() == ["ana", "bo"]
    assert (disk / "pr2.db-schema-2").exists()
    store.close()
