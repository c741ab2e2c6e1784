"""Measures the readers of an import on made files: documents a second, and the most memory that they take.

    python -m benchmarks.imports [--messages 100000] [--mailbox-mb 64]

Every file is written, read by a process of its own, and deleted. Nothing is encoded or stored.
"""

import argparse
import base64
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from index.documents import Document
from index.formats import FORMATS, Options, opened_members, read, recognize

WORDS = "we met at the old harbour and talked about tea bread rain work music until the last bus home".split()
START = datetime(2020, 1, 20, 8, tzinfo=UTC)
"""A day after the 12th, which settles the order of day and month even in a short chat."""
ATTACHMENT_BYTES = 2**20
EVERY = 10
"""Every tenth mail has an attachment."""


def write_chat(path: Path, messages: int) -> None:
    """Write a chat as WhatsApp on Android exports it, with a message every two minutes or so."""
    chance, moment = random.Random(messages), START
    with path.open("w", encoding="utf-8") as file:
        for number in range(messages):
            moment += timedelta(minutes=chance.randrange(5))
            text = " ".join(chance.choices(WORDS, k=chance.randrange(3, 20)))
            file.write(f"{moment:%d/%m/%Y, %H:%M} - {'Ana' if number % 2 else 'Ben'}: {text}\n")


def write_mailbox(path: Path, size: int) -> None:
    """Write an mbox of at least `size` bytes, most of which are attachments."""
    chance, number = random.Random(size), 0
    attachment = base64.encodebytes(chance.randbytes(ATTACHMENT_BYTES)).decode()
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            moment = START + timedelta(hours=number)
            text = ". ".join(" ".join(chance.choices(WORDS, k=12)) for _ in range(10))
            file.write(
                f"From ana@example.org {moment:%a %b %d %H:%M:%S %Y}\nMessage-ID: <{number}@example.org>\n"
                f"From: Ana <ana@example.org>\nTo: Ben <ben@example.org>\nDate: {format_datetime(moment)}\n"
                f"Subject: Note {number}\n"
            )
            if number % EVERY:
                file.write(f"\n{text}\n\n")
            else:
                file.write(
                    f"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n{text}\n--b\n"
                    "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n"
                    f"{attachment}--b--\n\n"
                )
            number += 1


def documents(path: Path) -> Iterator[Document]:
    """Yield what an import of the file would store. Raises what the reader finds wrong."""
    with opened_members(path) as members:
        for _, source in read(recognize(members, FORMATS), members, Options("ana", zone=UTC)):
            for item in source.documents:
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, Document):
                    yield item


def measured(path: Path) -> str:
    """Read the file, and say how fast that was and how much memory this process has ever taken."""
    before, start = _peak_mb(), time.process_time()
    count = sum(1 for _ in documents(path))
    seconds = time.process_time() - start
    return (
        f"{path.name}: {path.stat().st_size / 1e6:,.0f} MB, {count:,} documents, "
        f"{count / seconds:,.0f} a second of one core, "
        f"peak memory {_peak_mb():.0f} MB ({before:.0f} MB before reading)"
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Readers of an import on made files.")
    parser.add_argument("--messages", type=int, action="append", help="Messages of a chat. Repeatable.")
    parser.add_argument("--mailbox-mb", type=int, action="append", help="Size of a mailbox. Repeatable.")
    parser.add_argument(
        "--folder", type=Path, help="Where the files are written; by default a temporary one."
    )
    parser.add_argument("--read", type=Path, help="Only read this file.")
    given = parser.parse_args(arguments)
    if given.read:
        print(measured(given.read))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for messages in given.messages or [10_000, 100_000]:
            path = Path(folder, f"WhatsApp Chat of {messages} messages.txt")
            write_chat(path, messages)
            _measure_apart(path)
        for size in given.mailbox_mb or [8, 64]:
            path = Path(folder, f"{size} MB.mbox")
            write_mailbox(path, size * 1_000_000)
            _measure_apart(path)


def _measure_apart(path: Path) -> None:
    """Measure in a process of its own, whose memory has held nothing else."""
    subprocess.run([sys.executable, "-m", "benchmarks.imports", "--read", str(path)], check=True)
    path.unlink()


if __name__ == "__main__":
    main()
