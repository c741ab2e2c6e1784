"""The seam between an evaluation and whatever answers: a service, a server, or a policy alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from agent.trajectory import Trajectory
from training.errors import TrainingError
from training.evaluation.profiles import UNDATED, ProfileStore


class Unanswered(Exception):
    """There is no answer, for a reason that has nothing to do with the question."""


class UnfitMethod(TrainingError, ValueError):
    """The method cannot be used here; the message says what is missing."""


class UnfitQuestion(TrainingError, ValueError):
    """A question that will never be accepted; the message says why."""


@dataclass(frozen=True)
class AnswerOptions:
    """How a question is to be answered."""

    method: str
    """A name in agent.methods.METHODS."""
    retriever: str | None = None
    """None for the default."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Only those that differ from the defaults."""
    plan: str | None = None
    as_of: date = UNDATED
    """Day on which the question is asked: the prompt states it, and documents later than it are not seen."""


class Answers(ProfileStore, Protocol):
    """Answers questions from stored profiles."""

    @property
    def most_at_once(self) -> int | None:
        """Questions answered at the same time; more would only wait. None if unknown."""
        ...

    def check(self, method: str, *, has_plan: bool) -> None:
        """Raises UnfitMethod if the method cannot answer any question."""
        ...

    def check_question(self, question: str) -> None:
        """Raises UnfitQuestion if it is known already that the question will not be accepted."""
        ...

    def describe(self, retriever: str | None, limits: Mapping[str, int]) -> dict[str, Any]:
        """JSON values that the answers depend on, with these options, for the run's manifest."""
        ...

    async def answer(self, user: str, question: str, options: AnswerOptions) -> Trajectory:
        """The trajectory of the question, answered from the user's profile.

        Raises Unanswered, or UnfitQuestion if asking again would not help.
        """
        ...
