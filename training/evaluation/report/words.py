"""How numbers and names are written, the same in every table of the report."""

from training.evaluation.records import Record
from training.evaluation.statistics import Interval

NONE = "–"


def spaced(category: str) -> str:
    """A category's name for people: LaMP-QA joins its words with underscores."""
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
