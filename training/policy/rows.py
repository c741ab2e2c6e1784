"""Training questions in the form that OpenRLHF passes through: a prompt and a label.

OpenRLHF keeps only these two columns of a data set. The label holds the user whose profile is searched and
the question, with the rubric or the reference that its answers are scored by.
"""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.episode import Episode
from agent.methods import METHODS, Method
from agent.trajectory import Limits, Today
from index.documents import Text, first_fault
from index.numbers import Number
from training.evaluation.profiles import UNDATED
from training.tasks.lamp.data import Question as LampQuestion
from training.tasks.lamp.inputs import query_of
from training.tasks.lamp.schemas import number_of
from training.tasks.lampqa.data import Question

INPUT, LABEL = "input", "label"
DEFAULT_METHOD = "pr2"
TRAINABLE = tuple(name for name, method in METHODS.items() if not method.plans)
"""Methods that a policy can be trained for: it writes every turn."""
Needs = Literal["rubric", "reference"]
"""The part of a row that a reward scores answers by."""


class Referenced(BaseModel):
    """A question whose answers are compared with a reference, as in LaMP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text
    question: Text
    category: Text
    reference: Text
    query: str = ""
    """Query of a method that opens with a search; the question, if it is empty."""


def bare(question: LampQuestion | Question) -> Question | Referenced:
    """The question without its profile, as a row holds it."""
    if isinstance(question, Question):
        return question.model_copy(update={"profile": ()})
    return Referenced(
        id=question.id,
        question=question.question,
        category=question.category,
        reference=question.output,
        query=query_of(number_of(question.category), question.input),
    )


class Row(BaseModel):
    """One question to train on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    """User whose profile is searched."""
    question: Question | Referenced
    """With narrative and rubric or with a reference, but without the profile, which is in the store."""
    day: date = UNDATED
    """Day on which the question is asked, see training.evaluation.profiles.day_of."""
    without_profile: Number | None = None
    """Score from 0 to 1 of the policy's own answer without the profile; None if unknown."""

    @property
    def with_rubric(self) -> Question:
        """The question with its rubric. Raises ValueError if it has a reference instead."""
        if not isinstance(self.question, Question):
            raise ValueError(f"question {self.question.id!r} has no rubric")
        return self.question

    @property
    def reference(self) -> str:
        """The reference answer. Raises ValueError if the question has a rubric instead."""
        if not isinstance(self.question, Referenced):
            raise ValueError(f"question {self.question.id!r} has no reference answer")
        return self.question.reference

    def to_record(self, limits: Limits, method: Method = METHODS[DEFAULT_METHOD]) -> dict[str, str]:
        """One line of OpenRLHF's prompt file, as JSON values."""
        return {INPUT: self.begin(limits, method).prompt, LABEL: self.model_dump_json()}

    def begin(self, limits: Limits, method: Method) -> Episode:
        """Begin the episode of the question, as an evaluation does."""
        query = self.question.query if isinstance(self.question, Referenced) else ""
        return method.begin(self.question.question, limits, query=query, today=Today(self.day))

    @classmethod
    def from_label(cls, label: str) -> "Row":
        """Raises ValueError, naming the field, if `label` was not made by `to_record`."""
        try:
            return cls.model_validate_json(label)
        except ValidationError as error:
            why = first_fault(error, "label")
            raise ValueError(f"not a label of a training question ({why})") from None
