"""Reads the records of a JSONL file, or of a file that holds one JSON array, without holding all of it."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from training.tasks.errors import DatasetUnavailable, InvalidRecord

_CHUNK_CHARACTERS = 2**20
_LITERAL = 16
"""Longer than any JSON literal (true, -1.5e10)."""
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def read_json(file: Path) -> Iterator[tuple[int, Any]]:
    """The records of a file, with their numbers. Raises InvalidRecord and DatasetUnavailable."""
    try:
        with file.open("rb") as content:
            start = content.read(3)
            content.seek(3 if start == b"\xef\xbb\xbf" else 0)
            begin = content.tell()
            # The first line may be all of a file that is one array, so it is not read as a line.
            while (character := content.read(1)).isspace():
                pass
            content.seek(begin)
            yield from (_elements if character == b"[" else _lines)(str(file), content)
    except OSError as error:
        raise DatasetUnavailable(f"{file}: cannot be read: {error.strerror or error}") from None


def _lines(place: str, content: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(content, 1):
        if line.strip():
            try:
                yield number, json.loads(line.decode())
            except (ValueError, RecursionError) as error:
                raise InvalidRecord(place, number, "", f"not JSON: {_why(error)}") from None


def _elements(place: str, content: IO[bytes], chunk: int = _CHUNK_CHARACTERS) -> Iterator[tuple[int, Any]]:
    """The elements of one JSON array, of which no more than a chunk, or two of them, are held at a time."""
    text = io.TextIOWrapper(content, encoding="utf-8", newline="")
    number = 1
    try:
        buffer, at = text.read(chunk), 0
        at = _past_space(buffer, 0) + 1  # the bracket that showed what it is
        while True:
            try:
                at = _past_space(buffer, at)
                if number == 1 and buffer[at : at + 1] == "]":
                    at, end = at + 1, "]"
                else:
                    element, after = _DECODER.raw_decode(buffer, at)
                    after = _past_space(buffer, after)
                    end = buffer[after : after + 1]
                    if end not in ("", ",", "]"):
                        raise InvalidRecord(place, number, "", "not JSON: expected ',' or ']' after it")
                    if not end:
                        raise json.JSONDecodeError("the array does not end", buffer, after)
                    yield number, element
                    number, at = number + 1, after + 1
            except json.JSONDecodeError as error:
                # Only what is wrong at the end of the buffer may be right with more text behind it; twice
                # as much each time, since it is decoded again from its beginning.
                cut = error.pos > len(buffer) - _LITERAL or error.msg.startswith("Unterminated")
                more = text.read(max(chunk, len(buffer) - at)) if cut else ""
                if not more:
                    raise
                buffer, at = buffer[at:] + more, 0
                continue
            if end == "]":
                if (buffer[at:] + text.read(chunk)).strip():
                    raise InvalidRecord(place, number, "", "something follows the end of the array")
                return
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidRecord):
            raise
        raise InvalidRecord(place, number, "", f"not JSON: {_why(error)}") from None
    finally:
        text.detach()


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _why(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return error.msg[:1].lower() + error.msg[1:]
        case UnicodeDecodeError():
            return "not UTF-8"
        case RecursionError():
            return "nested too deeply"
    return str(error)
