"""Questions to train a retriever on: which of them can be used, which are held out, and their tensors."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from training.errors import TrainingError
from training.feedback.records import Feedback
from training.folds import Fold

Method = Literal["ropg-rl", "ropg-kd"]


class TooLittleFeedback(TrainingError, ValueError):
    """No question is left to train on or to validate with."""


@dataclass(frozen=True)
class Questions:
    """Questions that a method can learn from."""

    used: Sequence[Feedback]
    left_out: Mapping[str, int]
    """Numbers of questions that cannot be used, by reason."""


def usable(
    records: Sequence[Feedback], method: Method, documents: int | None = None, fold: Fold | None = None
) -> Questions:
    """Cut the questions to their first `documents`, and leave out those that teach nothing.

    A question needs feedback for two documents; with ROPG-RL also for the first one, the baseline. It must
    not be asked by somebody in the `fold`.
    """
    used, left_out = [], Counter[str]()
    for record in records:
        cut = Feedback(record.id, record.query, record.documents[:documents], record.user)
        judged = [document.utility is not None for document in cut.documents]
        if fold is not None and fold.holds(record.id if record.user is None else record.user):
            left_out[f"in fold {fold}"] += 1
        elif sum(judged) < 2:
            left_out["fewer than two documents have feedback"] += 1
        elif method == "ropg-rl" and not judged[0]:
            left_out["the first document, the baseline, has no feedback"] += 1
        else:
            used.append(cut)
    return Questions(used, left_out)


def hold_out(questions: Sequence[Feedback], share: float, seed: int) -> tuple[list[Feedback], list[Feedback]]:
    """Split into questions to train on and to validate with: `share` of the people, at least one.

    All questions of a person are on the same side. Raises TooLittleFeedback for fewer than two people.
    """
    people = sorted({_person(question) for question in questions})
    if len(people) < 2:
        raise TooLittleFeedback(
            f"{len(people)} people have usable feedback; two are needed, one of them to validate with"
        )
    np.random.default_rng(seed).shuffle(people)
    held_out = set(people[: min(len(people) - 1, max(1, round(share * len(people))))])
    parts: tuple[list[Feedback], list[Feedback]] = ([], [])
    for question in questions:
        parts[_person(question) in held_out].append(question)
    return parts


def _person(question: Feedback) -> tuple[bool, str]:
    return question.user is None, question.id if question.user is None else question.user


@dataclass(frozen=True)
class Batch:
    """Questions as texts and tensors; documents that a question lacks are masked, like unjudged ones."""

    queries: Sequence[str]
    documents: Sequence[str]
    """All documents of all questions, one after the other."""
    places: Tensor
    """Shape (questions, longest): position of each document in `documents`; 0 where there is none."""
    utility: Tensor
    """Shape (questions, longest), float32; 0 where it is masked."""
    judged: Tensor
    """Shape (questions, longest), bool."""

    def to(self, device: Any) -> "Batch":
        tensors = (each.to(device) for each in (self.places, self.utility, self.judged))
        return Batch(self.queries, self.documents, *tensors)


def collate(questions: Sequence[Feedback]) -> Batch:
    """Pad the questions to the longest one."""
    shape = (len(questions), max(len(question.documents) for question in questions))
    places = torch.zeros(shape, dtype=torch.long)
    utility, judged = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    texts: list[str] = []
    for row, question in enumerate(questions):
        for column, document in enumerate(question.documents):
            places[row, column] = len(texts)
            texts.append(document.text)
            if document.utility is not None:
                utility[row, column], judged[row, column] = document.utility, True
    return Batch([question.query for question in questions], texts, places, utility, judged)


def gumbel(questions: Sequence[int], width: int, seed: tuple[int, ...]) -> Tensor:
    """Gumbel noise of shape (questions, width), a function of the seed and of each question's number.

    So neither the number of processes nor a restart changes which documents are drawn.
    """
    rows = [np.random.default_rng([*seed, question]).gumbel(size=width) for question in questions]
    return torch.tensor(np.array(rows), dtype=torch.float32)
