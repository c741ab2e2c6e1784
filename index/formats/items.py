"""Steps shared by several readers: byte order mark, JSON, validation."""

import json
from typing import Any

from index.documents import Document, parse_document
from index.errors import InvalidDocument


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
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else (str(error) or type(error).__name__)
        raise InvalidDocument(f"not JSON: {why}", number) from None
