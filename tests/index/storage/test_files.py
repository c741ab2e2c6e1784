"""Who may read the files of a store."""

import logging
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from index.storage.files import make_private
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.storage.test_store import encoded

ENCODER = HashEncoder()


@pytest.fixture
def open_umask() -> Iterator[None]:
    """New files may be read and written by everybody."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}


def use(folder: Path) -> None:
    """Write, so that the log and its index are there."""
    store = Store(f"sqlite:///{folder / 'pr2.db'}", ENCODER.manifest, keep_reserve=True)
    store.put("ana", [[encoded("a")]])
    assert modes(folder) == {
        folder.name: 0o700,
        "pr2.db": 0o600,
        "pr2.db-wal": 0o600,
        "pr2.db-shm": 0o600,
        "pr2.db-reserve": 0o600,
    }
    store.close()


@pytest.mark.usefixtures("open_umask")
def test_new_files_are_their_owners_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    assert modes(folder)["data"] == 0o777
    use(folder)


@pytest.mark.usefixtures("open_umask")
def test_files_that_others_could_read_are_tightened_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    folder.mkdir(0o700)
    use(folder)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        use(folder)
    (line,) = caplog.messages
    assert line.startswith("other people on this machine could read ")
    assert f"{folder}, " in line
    assert str(folder / "pr2.db") in line
    caplog.clear()
    use(folder)
    assert caplog.messages == []


def test_stricter_permissions_stay(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'pr2.db'}", ENCODER.manifest)
    store.open()
    store.close()
    (tmp_path / "pr2.db").chmod(0o400)
    store.database.engine.connect().close()
    assert modes(tmp_path)["pr2.db"] == 0o400


def test_a_folder_with_other_files_is_left_as_it_is_but_not_the_store(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "notes.txt").write_text("of somebody else")
    (folder / "notes.txt").chmod(0o644)
    (folder / "pr2.db").touch(0o644)
    (folder / "pr2.db").chmod(0o644)
    store = Store(f"sqlite:///{folder / 'pr2.db'}", ENCODER.manifest)
    store.open()
    assert modes(folder) | {"shared": 0o755, "notes.txt": 0o644, "pr2.db": 0o600} == modes(folder)
    store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
def test_a_file_of_somebody_else_is_reported_and_left(caplog: pytest.LogCaptureFixture) -> None:
    with TemporaryDirectory(dir="/tmp") as folder:
        file = Path(folder, "pr2.db")
        file.touch()
        for path, mode in ((Path(folder), 0o755), (file, 0o666)):
            path.chmod(mode)
        os.seteuid(65_534)
        try:
            make_private(file)
        finally:
            os.seteuid(0)
        assert stat.S_IMODE(file.stat().st_mode) == 0o666
    assert [line.partition(": ")[0] for line in caplog.messages] == [
        f"other people on this machine may read {path}" for path in (folder, file)
    ]


def test_a_copy_of_the_files_holds_everything(tmp_path: Path) -> None:
    """The reserve holds no data: a backup does not need it."""
    store = Store(f"sqlite:///{tmp_path / 'pr2.db'}", ENCODER.manifest, keep_reserve=True)
    store.put("ana", [[encoded("a")]])
    other = tmp_path / "copy"
    other.mkdir()
    for name in ("pr2.db", "pr2.db-wal"):
        shutil.copy(tmp_path / name, other)
    copy = Store(f"sqlite:///{other / 'pr2.db'}", ENCODER.manifest)
    assert copy.count("ana") == 1
    copy.close()
    store.close()
