"""Training questions in the form that OpenRLHF passes through: a prompt and a label.

OpenRLHF keeps only these two columns of a data set. The label holds the user whose profile is searched and
the question that the judge scores.
"""

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.methods import METHODS, Method
from agent.trajectory import Limits
from index.documents import first_fault
from index.numbers import Number
from training.tasks.lampqa.data import Question

INPUT, LABEL = "input", "label"
DEFAULT_METHOD = "pr2"


class Row(BaseModel):
    """One question to train on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    """User whose profile is searched."""
    question: Question
    """With narrative and rubric, but without the profile, which is in the store."""
    without_profile: Number | None = None
    """Score from 0 to 1 of the policy's own answer without the profile; None if unknown."""

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
