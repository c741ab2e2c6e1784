"""Damage in the log is found before SQLite drops what is behind it, and nothing else is called damage."""

import logging
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import StoreDamaged
from index.storage.store import Store
from index.storage.wal import Examination, examine
from tests.index.fakes import HashEncoder
from tests.index.storage.test_store import encoded

ENCODER = HashEncoder()
HEADER, FRAME = 32, 24 + 4_096


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a store whose process ended without closing it: nine documents, one transaction each."""
    folder = tmp_path_factory.mktemp("crashed")
    copy = folder / "copy"
    copy.mkdir()
    store = Store(f"sqlite:///{folder / 'pr2.db'}", ENCODER.manifest)
    for number in range(9):
        store.put("ana", [[encoded(f"d{number}", f"text {number} " * 200)]])
    for name in ("pr2.db", "pr2.db-wal"):
        shutil.copy(folder / name, copy)
    store.close()
    return copy


@pytest.fixture
def path(crashed: Path, tmp_path: Path) -> Path:
    shutil.copytree(crashed, tmp_path, dirs_exist_ok=True)
    return tmp_path / "pr2.db"


def log_of(path: Path) -> Path:
    return path.with_name("pr2.db-wal")


def change(path: Path, at: int, content: bytes) -> None:
    with log_of(path).open("r+b") as file:
        file.seek(at)
        file.write(content)


def frames(path: Path) -> int:
    return (log_of(path).stat().st_size - HEADER) // FRAME


def last_transaction(path: Path) -> int:
    """Number of its frames."""
    log = log_of(path).read_bytes()
    ends = [n for n in range(frames(path)) if any(log[HEADER + n * FRAME + 4 : HEADER + n * FRAME + 8])]
    return ends[-1] - ends[-2]


def documents(path: Path, *, accept_loss: bool = False) -> list[str]:
    store = Store(f"sqlite:///{path}", ENCODER.manifest, accept_loss=accept_loss)
    try:
        return [document.id for document in store.load("ana").documents]
    finally:
        store.close()


def test_a_sound_log_is_read_to_its_end(path: Path) -> None:
    assert examine(path) == Examination(intact=frames(path))
    assert documents(path) == [f"d{number}" for number in range(9)]


def test_garbage_in_the_middle_is_refused_and_nothing_is_changed(path: Path) -> None:
    change(path, HEADER + 12 * FRAME + 100, random.Random(1).randbytes(3_000))
    before = log_of(path).read_bytes()
    for _ in range(2):  # A refusal leaves the evidence.
        with pytest.raises(StoreDamaged) as raised:
            documents(path)
    assert log_of(path).read_bytes() == before
    assert str(raised.value).startswith(f"{log_of(path)} is damaged: at least ")
    assert "restore a backup, or set accept_loss" in str(raised.value)


def test_the_loss_can_be_accepted_once_and_is_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(path, HEADER + 12 * FRAME + 100, b"garbage")
    found = examine(path)
    assert found.intact == 12
    kept = documents(path, accept_loss=True)
    assert kept == [f"d{number}" for number in range(len(kept))]
    assert 0 < len(kept) < 9
    assert found.lost in (9 - len(kept), 9 - len(kept) - 1)
    (line,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert f"at least {found.lost} acknowledged writes behind the damage are lost" in line
    caplog.clear()
    assert documents(path) == kept
    assert caplog.messages == []


@pytest.mark.parametrize("at", [0, 4, 11, 16, 24, 31], ids=lambda at: f"byte {at}")
def test_a_garbled_header_is_refused(path: Path, at: int) -> None:
    change(path, at, bytes([log_of(path).read_bytes()[at] ^ 0xFF]))
    assert examine(path).lost >= 9
    with pytest.raises(StoreDamaged):
        documents(path)


def test_an_interrupted_last_write_is_normal(path: Path) -> None:
    whole = log_of(path).read_bytes()
    for cut in (
        len(whole) - 1,
        len(whole) - FRAME + 24,
        len(whole) - FRAME,
        HEADER + FRAME - 1,
        HEADER,
        31,
        0,
    ):
        log_of(path).write_bytes(whole[:cut])
        assert examine(path).lost == 0
    log_of(path).write_bytes(whole[: len(whole) - FRAME + 24])
    assert documents(path) == [f"d{number}" for number in range(8)]


def test_a_last_write_that_cannot_be_read_is_mentioned(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(path, log_of(path).stat().st_size - 50, b"garbage")
    assert documents(path) == [f"d{number}" for number in range(8)]
    (line,) = [record.message for record in caplog.records if record.name == "index.storage.sqlite"]
    assert "ends in an unreadable write" in line


def test_a_loss_of_power_may_leave_holes_in_the_last_write(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk may have written its frames in any order, and was not done: nobody was told that it is."""
    last = last_transaction(path)
    assert last >= 2
    for content in (bytes(FRAME), log_of(path).read_bytes()[HEADER : HEADER + FRAME]):
        change(path, HEADER + (frames(path) - last) * FRAME, content)
        assert examine(path) == Examination(intact=frames(path) - last, doubtful=True)
    assert documents(path) == [f"d{number}" for number in range(8)]


def test_damage_in_the_last_write_but_one_is_refused(path: Path) -> None:
    last = last_transaction(path)
    for frame in (frames(path) - last - 1, frames(path) - last - 2):
        whole = log_of(path).read_bytes()
        change(path, HEADER + frame * FRAME + 1_000, b"garbage")
        with pytest.raises(StoreDamaged):
            documents(path)
        log_of(path).write_bytes(whole)


def test_bytes_that_sqlite_did_not_write_are_mentioned(path: Path) -> None:
    with log_of(path).open("ab") as file:
        file.write(random.Random(2).randbytes(2 * FRAME))
    assert examine(path) == Examination(intact=frames(path) - 2, doubtful=True)


@given(
    steps=st.lists(
        st.sampled_from(["small", "large", "rolled back", "restart", "truncate", "passive"]), max_size=12
    ),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_no_history_of_a_sound_log_looks_like_damage(steps: list[str], order: random.Random) -> None:
    """Behind its end are rests of earlier uses, and of transactions that were rolled back."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "pr2.db")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in ("journal_mode=WAL", "wal_autocheckpoint=0", "cache_size=5"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("CREATE TABLE rows (text)")
            for step in steps:
                if step in ("restart", "truncate", "passive"):
                    connection.execute(f"PRAGMA wal_checkpoint({step})")
                else:
                    connection.execute("BEGIN")
                    for _ in range(1 if step == "small" else 30):
                        connection.execute("INSERT INTO rows VALUES (?)", ("x" * order.randrange(6_000),))
                    connection.execute("ROLLBACK" if step == "rolled back" else "COMMIT")
                found = examine(path)
                assert (found.lost, found.doubtful) == (0, False)


@given(data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_damage_anywhere_is_refused_unless_only_the_last_write_can_be_lost(
    crashed: Path, data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "pr2.db")
        shutil.copytree(crashed, folder, dirs_exist_ok=True)
        size = log_of(path).stat().st_size
        at = data.draw(st.integers(0, size - 1))
        content = data.draw(st.binary(min_size=1, max_size=200))[: size - at]
        change(path, at, content)
        try:
            assert documents(path) in ([f"d{number}" for number in range(count)] for count in (8, 9))
        except StoreDamaged:
            with pytest.raises(StoreDamaged):
                documents(path)
