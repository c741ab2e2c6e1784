"""`pr2 serve` as a process of its own."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

PR2 = [sys.executable, "-m", "server.cli"]
ROOT = Path(__file__).parents[3]


@dataclass
class Served:
    process: subprocess.Popen[str]
    url: str
    errors: IO[str]

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 0

    @property
    def descriptors(self) -> int:
        """Files that the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def cpu_s(self) -> float:
        """Processor time that the process has used."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        self.errors.seek(0)
        return self.errors.read()


def limited(command: list[str], descriptors: int) -> list[str]:
    """The command, with a limit on the files that it may have open."""
    return ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **variables}


@contextmanager
def served(folder: Path, *options: str, descriptors: int | None = None, **variables: str) -> Iterator[Served]:
    """A server on a free port, with its store in `folder`, once it can be asked. It is killed at the end."""
    command = [*PR2, "serve", "--port", "0", "--data", str(folder / "data"), *options]
    if descriptors:
        command = limited(command, descriptors)
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            addresses = (re.search(r"PR² at (http://\S+)", line) for line in process.stdout)
            url = next((found.group(1) for found in addresses if found), "")
            assert url, (errors.seek(0), errors.read())
            yield Served(process, url, errors)
        finally:
            process.send_signal(signal.SIGKILL)
