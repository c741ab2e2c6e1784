"""Printable forms of stored text, which must not control the terminal that shows it."""

import json
import re
from typing import Any

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and line feed, bidirectional overrides, lone surrogates."""


def printable(text: str) -> str:
    """`text` without characters that a terminal interprets."""
    return _STEERING.sub("", text)


def one_line(text: str, length: int | None = None) -> str:
    """`text` on one line, cut at a word to at most `length` characters."""
    line = " ".join(printable(text).split())
    if length is None or len(line) <= length:
        return line
    return line[: length - 1].rsplit(" ", 1)[0] + "…"


def to_json(value: Any, indent: int | None = None) -> str:
    """Readable JSON in which characters that a terminal interprets are escaped, so nothing is lost."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _STEERING.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
