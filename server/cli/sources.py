"""Reads the files of `pr2 profile import`: their users, documents and counts.

A file that cannot be read at all raises BadInput or InvalidDocument; a single bad line is left to
the caller.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import IO

from index.errors import InvalidDocument
from index.formats import FORMATS, File, Format, Source, recognize
from server.cli.errors import BadInput

AUTO = "auto"
"""Recognizes the format by the file."""

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@contextmanager
def opened(user: str, file: str, form: str, columns: Mapping[str, str]) -> Iterator[list[Source]]:
    """The sources of a file; `-` is stdin. For LoCoMo, `user` is a sample_id, or `all`."""
    try:
        with _open(file) as stream:
            yield _sources(user, file, stream, form, columns)
    except OSError as error:
        if error.filename is None and not isinstance(error, IsADirectoryError):
            raise
        raise BadInput(f"cannot read {file}: {error.strerror}") from None


def _open(file: str) -> AbstractContextManager[IO[bytes]]:
    return nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb")


def _sources(user: str, file: str, stream: IO[bytes], form: str, columns: Mapping[str, str]) -> list[Source]:
    line_count = _count_lines(stream)
    lines = _decoded(stream)
    if form == AUTO:
        chosen, lines = _recognized(file, lines)
    else:
        chosen = FORMATS[form]
    if columns and not chosen.takes_columns:
        raise BadInput(f"--map names the columns of a CSV file; {file} is read as {chosen.name}")
    return chosen.sources(File(file, user, lines, line_count, columns))


def _recognized(file: str, lines: Iterator[str]) -> tuple[Format, Iterator[str]]:
    """The format of a file by its name or, failing that, by its first character that is not a space."""
    head: list[str] = []
    for line in lines if recognize(file, "") is None else ():
        head.append(line)
        if line.strip():
            break
    form = recognize(file, head[-1].strip()[:1] if head else "{")
    if form is None:
        raise BadInput(f"cannot tell the format of {file}: name it with --format")
    return form, chain(head, lines)


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if number == 1:
            if line.startswith(_UTF16):
                raise InvalidDocument("the file is in UTF-16: save it as UTF-8")
            line = line.removeprefix(_BOM)
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise InvalidDocument(
                f"not UTF-8: byte 0x{byte:02x} at position {error.start + 1}; save the file as UTF-8", number
            ) from None


def _count_lines(stream: IO[bytes]) -> int | None:
    """Number of lines left to read; None if the file cannot be read twice."""
    if not stream.seekable():
        return None
    start, count, last = stream.tell(), 0, b"\n"
    while chunk := stream.read(2**20):
        count += chunk.count(b"\n")
        last = chunk[-1:]
    stream.seek(start)
    return count + (last != b"\n")
