"""The questions that a policy is trained on, as OpenRLHF carries them: a prompt and a label.

The label says whose history may be searched and what the judge expects. Of a data set's columns, OpenRLHF
keeps these two.
"""

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.methods import METHODS, Method
from agent.trajectory import Limits
from index.documents import first_fault
from training.tasks.lampqa.data import Question

INPUT, LABEL = "input", "label"
DEFAULT_METHOD = "pr2"


class Row(BaseModel):
    """One question to train on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    """Whose profile in the store it is asked of."""
    question: Question
    """With narrative and rubric, and without its profile, which lies in the store."""
    without_profile: float | None = None
    """What the policy's own answer without the profile scored, from 0 to 1; None where it is not known."""

    def to_record(self, limits: Limits, method: Method = METHODS[DEFAULT_METHOD]) -> dict[str, str]:
        """A line of OpenRLHF's prompt file."""
        episode = method.begin(self.question.question, limits)
        return {INPUT: episode.prompt, LABEL: self.model_dump_json()}

    @classmethod
    def from_label(cls, label: str) -> "Row":
        """Raises ValueError, naming the field, when `label` was not made by `to_record`."""
        try:
            return cls.model_validate_json(label)
        except ValidationError as error:
            why = first_fault(error, "label")
            raise ValueError(f"no label of a question to train on ({why})") from None
