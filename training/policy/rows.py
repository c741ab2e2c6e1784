"""Training questions in the form that OpenRLHF passes through: a prompt and a label.

OpenRLHF keeps only these two columns of a data set. The label holds the user whose profile is searched and
the question, with the rubric or the reference that its answers are scored by.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.methods import METHODS, Method
from agent.trajectory import Limits
from index.documents import Text, first_fault
from index.numbers import Number
from training.tasks.lampqa.data import Question

INPUT, LABEL = "input", "label"
DEFAULT_METHOD = "pr2"
Needs = Literal["rubric", "reference"]
"""What a reward scores answers by."""


class Referenced(BaseModel):
    """A question whose answers are compared with a reference, as in LaMP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text
    question: Text
    category: Text
    reference: Text


class Row(BaseModel):
    """One question to train on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    """User whose profile is searched."""
    question: Question | Referenced
    """With narrative and rubric or with a reference, but without the profile, which is in the store."""
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
        episode = method.begin(self.question.question, limits)
        return {INPUT: episode.prompt, LABEL: self.model_dump_json()}

    @classmethod
    def from_label(cls, label: str) -> "Row":
        """Raises ValueError, naming the field, if `label` was not made by `to_record`."""
        try:
            return cls.model_validate_json(label)
        except ValidationError as error:
            why = first_fault(error, "label")
            raise ValueError(f"not a label of a training question ({why})") from None
