"""The seam to whatever measures how useful documents are to an LLM.

A utility that could not be determined is raised with its reason: never a number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from training.errors import TrainingError
from training.evaluation.task import Q_contra


class NoUtility(Exception):
    """There is no utility: generation or judging failed. It is masked in training, and owed."""


class NoReference(TrainingError, ValueError):
    """A question has no reference output to compare with, as in LaMP's test split."""


class Utility(Protocol[Q_contra]):
    """Measures how useful documents are to an LLM that answers a question with them and no others."""

    @property
    def configuration(self) -> Mapping[str, Any]:
        """JSON values that the utility depends on besides question and documents. Raises EngineError."""
        ...

    async def __call__(self, question: Q_contra, documents: Sequence[Any]) -> float:
        """The utility of the documents (`Item`s of the question's profile); the higher, the better.

        Raises NoUtility and CacheUnavailable, and NoReference if the question can have none.
        """
        ...
