"""Reads the records of a JSONL file, or of a file that holds one JSON array, without holding all of it."""

import codecs
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from index.errors import InvalidDocument
from index.formats.json import elements
from training.tasks.errors import DatasetUnavailable, InvalidRecord

_PIECE_BYTES = 2**20


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


def _elements(name: str, content: IO[bytes], piece: int = _PIECE_BYTES) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        for number, element in elements(codecs.iterdecode(iter(partial(content.read, piece), b""), "utf-8")):
            yield number, json.loads(element)
    except InvalidDocument as error:
        raise InvalidRecord(name, error.line or 1, "", str(error)) from None
    except UnicodeDecodeError as error:
        raise InvalidRecord(name, number + 1, "", f"not JSON: {_why(error)}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidRecord(name, number, "", f"not JSON: {_why(error)}") from None


def _why(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return error.msg[:1].lower() + error.msg[1:]
        case UnicodeDecodeError():
            return "not UTF-8"
        case RecursionError():
            return "nested too deeply"
    return str(error)
