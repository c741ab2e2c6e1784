"""A folder of training or evaluation: locked to one process, pinned to one configuration.

Restarted work continues where it stopped; with another configuration it is refused.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from training.errors import TrainingError


class ChangedConfiguration(TrainingError, ValueError):
    """The folder was begun with another configuration."""


class FolderInUse(TrainingError, ValueError):
    """Another process has locked the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create the folder if needed and lock it to this process. Raises FolderInUse.

    The system releases the lock when the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(f"another process is working in {folder}") from None
        yield


def pin_configuration(manifest: Path, configuration: Mapping[str, Any]) -> None:
    """Write the configuration (JSON values) to a new manifest, or compare it with an existing one.

    Raises ChangedConfiguration, naming the keys that differ.
    """
    now: dict[str, Any] = json.loads(json.dumps(dict(configuration)))
    if not manifest.exists():
        manifest.parent.mkdir(parents=True, exist_ok=True)
        write_json(manifest, now)
        return
    check_unchanged(json.loads(manifest.read_text("utf-8")), now, manifest.parent)


def check_unchanged(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raises ChangedConfiguration, naming the keys that differ."""
    differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if differing:
        said = "; ".join(f"{key}: {before.get(key)!r} then, {now.get(key)!r} now" for key in differing)
        raise ChangedConfiguration(
            f"{folder} was begun with another configuration ({said}); choose another --out"
        )


@contextmanager
def replacing(file: Path) -> Iterator[IO[str]]:
    """Open a draft that replaces `file` once it is complete and on disk; on an error `file` stays."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as lines:
            yield lines
            lines.flush()
            os.fsync(lines.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Make a new folder that replaces `folder` once it is complete; on an error `folder` stays."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Write indented JSON. A reader never sees half a file."""
    with replacing(file) as draft:
        draft.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def cut_torn_line(file: Path) -> None:
    """Cut off a last line that a killed process left incomplete; create the file if it is missing."""
    file.touch()
    with file.open("rb+") as stream:
        whole = 0
        for line in stream:
            whole += len(line) if line.endswith(b"\n") else 0
        stream.truncate(whole)
