"""Finds sentences as character spans, so that a quote is always a substring of its source."""

import re
from collections.abc import Iterator

_CLOSERS = r"[\"')\]»”’」』）】》〉]*"
_MARKS = "。！？｡।॥۔؟։።။។៕"
"""Marks that end a sentence with or without white space behind them, in scripts other than Latin."""
_MONTHS = "Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
_END = re.compile(
    rf"(?<=[.!?…])[\"')\]»”’]*\s+(?=[^\sa-z])(?!(?<=\d\. )(?:{_MONTHS})\b)"
    rf"|[{_MARKS}]+{_CLOSERS}\s*"
    r"|(?<=[!?])(?=[\u3040-\u9fff])"
    r"|\n+"
)
"""The gap between two sentences, with the marks that need no white space. German writes a day as 3. Mai."""
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|[A-Z][a-z]|Mrs|Prof|Dr|St|vs|etc|approx|e\.g|i\.e|a\.m|p\.m|No"
    r"|Sra|Str|bzw|ca|evtl|ggf|inkl|np|ul|z)\.)$"
)
_LONGEST = len(" approx.")
"""The longest abbreviation and the character before it. Looking further back for each period would make a
text of many abbreviations quadratic."""
CHARACTERS = 1_000
"""The longest sentence. A longer one, such as a text without marks, is cut at a comma or between words."""
_PAUSES = " ,;，；、،"

SPEAKER = re.compile(r"^([^\W\d_a-z][\w'’.-]*(?: [^\W\d_a-z][\w'’.-]*){0,2}): ", re.MULTILINE)
"""The speaker of a line in a transcript: up to three capitalized words and a colon."""


def spans(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each sentence or line of `text`, in order, without surrounding white space.

    None has more than CHARACTERS characters.
    """
    found, start = [], 0
    for gap in _END.finditer(text):
        end = gap.start() + len(gap.group().rstrip())
        if "\n" not in gap.group() and _ABBREVIATION.search(text[max(start, end - _LONGEST) : end]):
            continue
        found.append((start, end))
        start = gap.end()
    found.append((start, len(text)))
    return [part for span in found if (trimmed := _trim(text, *span)) for part in _bounded(text, *trimmed)]


def _bounded(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a sentence into parts of at most CHARACTERS."""
    while end - start > CHARACTERS:
        longest = start + CHARACTERS
        pause = max(text.rfind(pause, start + CHARACTERS // 2, longest) for pause in _PAUSES)
        cut = pause + 1 if pause >= 0 else longest
        if part := _trim(text, start, cut):
            yield part
        start = cut
    if part := _trim(text, start, end):
        yield part


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    end = start + len(piece.strip())
    return (start, end) if end > start else None
