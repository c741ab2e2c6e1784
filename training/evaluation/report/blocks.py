"""What a report is made of, before it is a page or Markdown: both show the same words and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.trajectory import Trajectory
from training.evaluation.records import Record
from training.evaluation.report.elements import Html


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Warned:
    """A paragraph that no reader of the numbers may miss."""

    text: str


@dataclass(frozen=True)
class Table:
    """Cells are text; a line feed in one begins a line of smaller print. The first column names the row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: Sequence[int | None] = ()
    """For each row, the series whose shape stands before its name in the page."""


@dataclass(frozen=True)
class Chart:
    """A drawing of numbers that a table beside it gives too: Markdown does without it."""

    drawing: Html
    caption: str


@dataclass(frozen=True)
class Side:
    """One run's answer to a question."""

    run: str
    record: Record
    trajectory: Trajectory | None


@dataclass(frozen=True)
class Example:
    """A question with one answer, or with those of two runs beside each other."""

    sides: Sequence[Side]


@dataclass(frozen=True)
class Collapsed:
    """Blocks that are shown on request."""

    summary: str
    blocks: "Sequence[Block]"


@dataclass(frozen=True)
class Section:
    title: str
    blocks: "Sequence[Block]"


Block = Words | Warned | Table | Chart | Example | Collapsed
