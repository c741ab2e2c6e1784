"""The content of a report before it becomes HTML or Markdown: both show the same words and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from agent.trajectory import Trajectory
from training.evaluation.records import Record


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Caution:
    """A paragraph that no reader of the numbers may miss."""

    text: str


@dataclass(frozen=True)
class Table:
    """Cells are text; a line feed in one begins a line of smaller print. The first column names the row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: Sequence[int] = ()
    """For each row, the series whose shape precedes its name on the page."""


@dataclass(frozen=True)
class Chart:
    """A drawing of numbers that a table beside it gives too: Markdown omits it."""

    drawing: Markup
    caption: str


@dataclass(frozen=True)
class Side:
    """One run's answer to a question."""

    run: str
    record: Record
    trajectory: Trajectory | None

    @property
    def ends_in_response(self) -> bool:
        """Whether the trajectory's answer is the response that was judged."""
        answer = self.trajectory.answer if self.trajectory else None
        return answer is not None and answer.text == self.record.response


@dataclass(frozen=True)
class Answers:
    """A question with the answer of one run, or the answers of two runs side by side."""

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


Block = Paragraph | Caution | Table | Chart | Answers | Collapsed
