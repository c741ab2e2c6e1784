"""Finds sentences as character spans, so that a quote is always a substring of its source."""

import re

_END = re.compile(r"(?<=[.!?…])[\"')\]»”’]*\s+(?=[^\sa-z])|\n+")
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|[A-Z][a-z]|Mrs|Prof|Dr|St|vs|etc|approx|e\.g|i\.e|a\.m|p\.m|No)\.)$"
)
_LONGEST = len(" approx.")
"""The longest abbreviation and the character before it. Looking further back for each period would make a
text of many abbreviations quadratic."""

SPEAKER = re.compile(r"^([^\W\d_a-z][\w'’.-]*(?: [^\W\d_a-z][\w'’.-]*){0,2}): ", re.MULTILINE)
"""The speaker of a line in a transcript: up to three capitalized words and a colon."""


def spans(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each sentence or line of `text`, in order, without surrounding white space."""
    found, start = [], 0
    for gap in _END.finditer(text):
        end = gap.start() + len(gap.group().rstrip())
        if "\n" not in gap.group() and _ABBREVIATION.search(text[max(start, end - _LONGEST) : end]):
            continue
        found.append((start, end))
        start = gap.end()
    found.append((start, len(text)))
    return [trimmed for span in found if (trimmed := _trim(text, *span))]


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    end = start + len(piece.strip())
    return (start, end) if end > start else None
