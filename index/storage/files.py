"""The files of a SQLite store: private to their owner, with a reserve of disk space for deletions."""

import logging
import os
import sqlite3
import stat
import threading
from contextlib import closing, suppress
from pathlib import Path

RESERVE_BYTES = 16 * 2**20
"""Room for the log of a deletion: SQLite has to write before anything is free."""

_PRIVATE = {stat.S_IFREG: 0o600, stat.S_IFDIR: 0o700}
_creating = threading.Lock()
_refused: set[Path] = set()
_log = logging.getLogger(__name__)


def make_private(file: Path) -> None:
    """Restrict a SQLite file, its companions and its folder to their owner; create the file if missing.

    SQLite gives its log the permissions of the database, so that must have the right ones from the first
    byte. A folder that holds other files, too, is left as it is. Errors are left for SQLite to report.
    """
    # Closing any descriptor of a file drops all locks of this process on it (POSIX), so nobody may have
    # opened the database before the descriptor that creates it is closed.
    with _creating, suppress(OSError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with suppress(OSError):
        entries = list(file.parent.iterdir())
        own = [entry for entry in entries if entry.name.startswith(file.name)]
        tightened = list(filter(_tighten, own if len(own) < len(entries) else [file.parent, *own]))
        if tightened:
            _log.warning(
                "other people on this machine could read %s: now only their owner can",
                ", ".join(map(str, tightened)),
            )


def _tighten(path: Path) -> bool:
    """Take all permissions of others away. Returns whether there were any."""
    try:
        mode = path.stat().st_mode
        wanted = _PRIVATE.get(stat.S_IFMT(mode))
        if wanted is None or not stat.S_IMODE(mode) & ~wanted:
            return False
        path.chmod(stat.S_IMODE(mode) & wanted)
    except OSError as error:
        if path not in _refused:  # Once is enough; there are many connections.
            _refused.add(path)
            _log.warning("other people on this machine may read %s: %s", path, error)
        return False
    return True


def private_copy(database: Path, copy: Path) -> None:
    """Copy a SQLite database that may be in use; the copy is whole and its owner's alone, or not there.

    Raises OSError and sqlite3.Error.
    """
    part = copy.with_name(f"{copy.name}.part")
    part.unlink(missing_ok=True)
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(part)) as target:
            source.backup(target)
        os.replace(part, copy)
        folder = os.open(copy.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        part.unlink(missing_ok=True)


class Reserve:
    """Disk space kept beside a database, to be given back when a deletion finds the disk full."""

    def __init__(self, database: Path) -> None:
        self._file = database.with_name(f"{database.name}-reserve")

    def exists(self) -> bool:
        return self._file.exists()

    def fill(self) -> None:
        """Take the space unless it is taken already. On a full disk there is no reserve."""
        if self.exists():
            return
        try:
            with os.fdopen(os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(bytes(RESERVE_BYTES))
        except OSError as error:
            self.release()
            _log.warning("no disk space is kept for deletions: %s", error)

    def release(self) -> bool:
        """Give the space back. Returns whether there was any."""
        try:
            self._file.unlink()
        except OSError:
            return False
        return True
