"""A folder of training that is worked on by one process at a time, and by one configuration for ever.

What is started again goes on where it was; what would go on with other settings is refused.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.errors import TrainingError


class ChangedConfiguration(TrainingError, ValueError):
    """The folder holds work of another configuration."""


class FolderInUse(TrainingError, ValueError):
    """Somebody else is at work in the folder."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """The folder, made if need be, for this process alone. Raises FolderInUse.

    The system lets go of it when the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(f"another process is working in {folder}") from None
        yield


def settle(manifest: Path, configuration: Mapping[str, Any]) -> None:
    """Write what the work depends on, as JSON values; or compare it with what was written before.

    Raises ChangedConfiguration, naming the keys that differ.
    """
    now: dict[str, Any] = json.loads(json.dumps(dict(configuration)))
    if not manifest.exists():
        manifest.parent.mkdir(parents=True, exist_ok=True)
        write_json(manifest, now)
        return
    check_same(json.loads(manifest.read_text("utf-8")), now, manifest.parent)


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raises ChangedConfiguration, naming the keys that differ."""
    differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if differing:
        said = "; ".join(f"{key}: {before.get(key)!r} then, {now.get(key)!r} now" for key in differing)
        raise ChangedConfiguration(
            f"{folder} was begun with another configuration ({said}); choose another --out"
        )


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """All of it or nothing: a reader never sees half a file."""
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(part, file)


def whole_lines(file: Path) -> None:
    """Cut off a last line that a killed process has half written; make the file if there is none."""
    file.touch()
    with file.open("rb+") as stream:
        whole = 0
        for line in stream:
            whole += len(line) if line.endswith(b"\n") else 0
        stream.truncate(whole)
