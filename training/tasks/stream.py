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
    """Yield the records of a file with their numbers. Raises InvalidRecord and DatasetUnavailable."""
    try:
        with file.open("rb") as content:
            start = content.read(3)
            content.seek(3 if start == b"\xef\xbb\xbf" else 0)
            begin = content.tell()
            # A file that is one array may be a single line, so its first character is read without the line.
            while (character := content.read(1)).isspace():
                pass
            content.seek(begin)
            yield from (_elements if character == b"[" else _lines)(str(file), content)
    except OSError as error:
        raise DatasetUnavailable(f"{file}: cannot be read: {error.strerror or error}") from None


def _lines(name: str, content: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(content, 1):
        if line.strip():
            try:
                yield number, json.loads(line.decode())
            except (ValueError, RecursionError) as error:
                raise InvalidRecord(name, number, "", f"not JSON: {_why(error)}") from None


def _elements(name: str, content: IO[bytes], chunk: int = _CHUNK_CHARACTERS) -> Iterator[tuple[int, Any]]:
    """Yield the elements of one JSON array, holding about one chunk of text, or two elements, at a time."""
    text = io.TextIOWrapper(content, encoding="utf-8", newline="")
    number = 1
    try:
        buffer, at = text.read(chunk), 0
        at = _past_space(buffer, 0) + 1  # skip the opening bracket
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
                        raise InvalidRecord(name, number, "", "not JSON: expected ',' or ']' after it")
                    if not end:
                        raise json.JSONDecodeError("the array does not end", buffer, after)
                    yield number, element
                    number, at = number + 1, after + 1
            except json.JSONDecodeError as error:
                # An error at the end of the buffer may vanish with more text. The buffer doubles each time,
                # because the element is decoded again from its beginning.
                cut = error.pos > len(buffer) - _LITERAL or error.msg.startswith("Unterminated")
                more = text.read(max(chunk, len(buffer) - at)) if cut else ""
                if not more:
                    raise
                buffer, at = buffer[at:] + more, 0
                continue
            if end == "]":
                if (buffer[at:] + text.read(chunk)).strip():
                    raise InvalidRecord(name, number, "", "something follows the end of the array")
                return
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidRecord):
            raise
        raise InvalidRecord(name, number, "", f"not JSON: {_why(error)}") from None
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
