"""Formats numbers, names and text alike throughout the report."""

import re

from training.evaluation.records import Record
from training.evaluation.statistics import Interval

NONE = "–"
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
"""Control characters, except tab and line feed, and those that change the direction of text."""


def printable(text: str) -> str:
    """Replace unprintable characters and half surrogate pairs with U+FFFD, and CR LF with LF."""
    whole = text.replace("\r\n", "\n").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _UNPRINTABLE.sub("\ufffd", whole)


def spaced(category: str) -> str:
    """Replace the underscores in LaMP-QA's category names."""
    return category.replace("_", " ")


def number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def signed(value: float) -> str:
    return f"{round(value, 4) + 0.0:+.4f}"


def interval(ends: Interval) -> str:
    return f"[{ends[0]:.4f}, {ends[1]:.4f}]"


def p_value(value: float | None) -> str:
    if value is None:
        return NONE
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def plural(count: int, one: str) -> str:
    return f"{count} {one}{'' if count == 1 else 's'}"


def score_text(record: Record) -> str:
    return "unjudged" if record.score is None else number(record.score)
