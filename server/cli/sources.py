"""The files that `pr2 profile import` takes: whose documents they hold, and how many.

A file that cannot be read at all raises BadInput or InvalidDocument; a single bad line is left to
whoever stores the documents.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal

from index.documents import Document
from index.errors import InvalidDocument
from index.formats import read_csv, read_json, read_locomo, read_ndjson
from server.cli.errors import BadInput

Format = Literal["auto", "ndjson", "json", "csv", "locomo"]

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Source:
    """What to store for one user. `total` is how many documents there are, if that is known."""

    user: str
    documents: Iterable[Document | InvalidDocument]
    total: int | None = None


@contextmanager
def opened(user: str, file: str, form: Format, columns: Mapping[str, str]) -> Iterator[list[Source]]:
    """The sources of a file; `-` is stdin. Of LoCoMo, `user` is a sample_id, or `all`."""
    try:
        with _open(file) as stream:
            yield _sources(user, file, stream, form, columns)
    except OSError as error:
        if error.filename is None and not isinstance(error, IsADirectoryError):
            raise
        raise BadInput(f"cannot read {file}: {error.strerror}") from None


def _open(file: str) -> AbstractContextManager[IO[bytes]]:
    return nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb")


def _sources(
    user: str, file: str, stream: IO[bytes], form: Format, columns: Mapping[str, str]
) -> list[Source]:
    total = _count_lines(stream)
    lines = _decoded(stream)
    if form == "auto":
        form, lines = _recognized(file, lines)
    if columns and form != "csv":
        raise BadInput(f"--map names the columns of a CSV file; {file} is read as {form}")
    match form:
        case "csv":
            # The header is no document, and a quoted field may hold line breaks: an upper bound.
            return [Source(user, read_csv(lines, columns), None if total is None else max(total - 1, 0))]
        case "ndjson":
            return [Source(user, read_ndjson(lines), total)]
        case "json":
            documents = list(read_json("".join(lines)))
            return [Source(user, documents, len(documents))]
    return _conversations(user, file, "".join(lines))


def _recognized(file: str, lines: Iterator[str]) -> tuple[Format, Iterator[str]]:
    """The format of a file by its name or, failing that, by the first character that is no space."""
    if file.endswith(".csv"):
        return "csv", lines
    head: list[str] = []
    for line in lines:
        head.append(line)
        if line.strip():
            break
    first = head[-1].strip()[:1] if head else "{"
    form: Format | None = {"[": "json", "{": "ndjson"}.get(first)  # type: ignore[assignment]
    if form is None:
        raise BadInput(f"cannot tell the format of {file}: name it with --format")
    return form, chain(head, lines)


def _conversations(user: str, file: str, text: str) -> list[Source]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file} is not JSON: {error}") from None
    samples = found if isinstance(found, list) else [found]
    named: dict[str, Any] = {}
    for number, sample in enumerate(samples, 1):
        if not isinstance(sample, dict) or not isinstance(sample.get("conversation"), dict):
            raise BadInput(f"item {number} of {file} is no LoCoMo conversation: it has no 'conversation'")
        named[str(sample.get("sample_id", f"conversation-{number}"))] = sample
    if user == "all":
        chosen = named
    elif user in named or len(named) == 1:
        # The only conversation of a file can be anybody's.
        chosen = {user: named.get(user) or next(iter(named.values()))}
    else:
        raise BadInput(f"{file} has no conversation {user!r}; it has {', '.join(named)} (or say 'all')")
    return [_conversation(name, sample) for name, sample in chosen.items()]


def _conversation(name: str, sample: Mapping[str, Any]) -> Source:
    try:
        documents = list(read_locomo(sample))
    except (AttributeError, TypeError) as error:
        raise BadInput(f"the conversation {name!r} is not in LoCoMo's shape: {error}") from None
    return Source(name, documents, len(documents))


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
    """How many lines are left to read, if the file can be read twice."""
    if not stream.seekable():
        return None
    start, count, last = stream.tell(), 0, b"\n"
    while chunk := stream.read(2**20):
        count += chunk.count(b"\n")
        last = chunk[-1:]
    stream.seek(start)
    return count + (last != b"\n")
