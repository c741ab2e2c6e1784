"""Steps shared by several readers: byte order mark, JSON, validation."""

import json
import re
from typing import Any

from index.documents import Document, parse_document
from index.errors import InvalidDocument

ITEM_CHARACTERS = 16 * 2**20
"""Longest text of one document in JSON."""
VALUES = 50_000
"""Most values in one document. Parsing and validating one is a single call, which holds up all threads."""
_FEW = 2 * VALUES
"""Characters that cannot hold more values."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


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
        if len(text) > _FEW and _STRING.sub("", text).count(",") >= VALUES:
            raise InvalidDocument(f"holds more than {VALUES:,} values", number)
        return json.loads(text)
    except UnicodeDecodeError:
        raise InvalidDocument("not JSON: not UTF-8", number) from None
    except InvalidDocument:
        raise
    except (ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else (str(error) or type(error).__name__)
        raise InvalidDocument(f"not JSON: {why}", number) from None
