"""How numbers, names and text are written, the same in every table of the report."""

import re

from training.evaluation.records import Record
from training.evaluation.statistics import Interval

NONE = "–"
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
"""Control characters, except tab and line feed, and those that change the direction of text."""


def printable(text: str) -> str:
    """Replace each character that a page cannot show with U+FFFD, and end lines with a line feed alone."""
    whole = text.replace("\r\n", "\n").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _UNPRINTABLE.sub("\ufffd", whole)


def spaced(category: str) -> str:
    """Replace underscores, with which LaMP-QA joins the words of a category's name."""
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
