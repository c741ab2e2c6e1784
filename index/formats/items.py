"""Steps shared by several readers: byte order mark, JSON, validation."""

import json
from typing import Any

from index.documents import Document, parse_document
from index.errors import InvalidDocument
from index.formats.structure import is_large

ITEM_CHARACTERS = 16 * 2**20
"""Longest text of one document in JSON."""
MOST_STRUCTURE = 100_000
"""Most brackets, braces and commas in one document: that many values are parsed in a fraction of a second."""
TOO_LARGE = f"holds more than {MOST_STRUCTURE:,} brackets, braces and commas"


def without_bom(text: str) -> str:
    """Remove a byte order mark from the beginning of `text`."""
    return text.removeprefix("\ufeff")


def parsed(data: Any, number: int) -> Document | InvalidDocument:
    """Return the document in `data` or, if it is invalid, the error with its `number`."""
    try:
        return parse_document(data, number)
    except InvalidDocument as error:
        return error


def loaded(text: str | bytes, number: int | None = None) -> Any:
    """Parse `text` as JSON. Raises InvalidDocument."""
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        if len(text) > MOST_STRUCTURE and is_large(text, MOST_STRUCTURE):
            raise InvalidDocument(TOO_LARGE, number)
        return json.loads(text)
    except UnicodeDecodeError:
        raise InvalidDocument("not JSON: not UTF-8", number) from None
    except InvalidDocument:
        raise
    except (ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else (str(error) or type(error).__name__)
        raise InvalidDocument(f"not JSON: {why}", number) from None
