"""Collects pairs: the same LLM answers each question with the retrieved profile, and without.

Each side is a run of `pr2 evaluate` in a folder of its own, and the sides are joined by the questions' ids.
So a killed collection repeats nothing and loses nothing, a changed configuration is refused, and whatever
answers an evaluation answers here.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from training.errors import TrainingError
from training.evaluation.answers import Answers
from training.evaluation.evaluate import Evaluation, EvaluationWatcher, evaluate
from training.evaluation.profiles import documents_of, person_of
from training.evaluation.records import MANIFEST, read_records
from training.evaluation.task import Question, Task
from training.folder import locked
from training.judging.lexical import LexicalJudge
from training.reward_model.records import Pair, write_pairs

Side = Literal["personalized", "plain", "other"]

METHODS: Mapping[Side, str] = {"personalized": "rag", "plain": "none", "other": "rag-random"}
"""The methods of `pr2 evaluate` that write the sides. The prompts of the first and the last differ in the
passages alone."""
RUNS = "runs"
HISTORY = 32


class NoPairs(TrainingError, ValueError):
    """No question has both answers."""


@dataclass(frozen=True)
class Asked:
    """The questions and options of a collection."""

    task: Task[Any]
    split: str = "train"
    most: int | None = None
    """Only the first so many questions; None for all."""
    retriever: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    """Only those that differ from the defaults."""
    others: bool = False
    """Whether each question is also answered with another person's profile."""
    history: int = HISTORY
    """The newest documents of each person that are kept with a pair."""
    concurrency: int = 32
    seed: int = 0
    """Decides whose profile the other person's is."""

    @property
    def sides(self) -> Sequence[Side]:
        """The answers to collect."""
        return tuple(side for side in METHODS if side != "other" or self.others)


@dataclass(frozen=True)
class CollectedPairs:
    """The size of a folder of pairs, and what is not in it."""

    pairs: int
    empty: int
    """Questions left out because a side is empty."""
    owed: int
    """Questions left out because an answer failed for an external reason; it is owed."""


async def collect(
    folder: Path, asked: Asked, answers: Answers, watcher: EvaluationWatcher | None = None
) -> CollectedPairs:
    """Answer what is owed, and write the folder's pairs and manifest.

    Raises NoPairs, and what `evaluate` raises.
    """
    for side in asked.sides:
        evaluation = Evaluation(
            out=folder / RUNS / side,
            task=asked.task,
            method=METHODS[side],
            split=asked.split,
            most=asked.most,
            retriever=asked.retriever,
            limits=asked.limits,
            seed=asked.seed,
            concurrency=asked.concurrency,
        )
        await evaluate(evaluation, answers, LexicalJudge(), watcher)
    questions = Evaluation(folder, asked.task, split=asked.split, most=asked.most).questions()
    with locked(folder):
        return _join(folder, list(questions), asked)


def _join(folder: Path, questions: Sequence[Question], asked: Asked) -> CollectedPairs:
    """Join the sides by id."""
    written = {
        side: {record.id: record.response for record in read_records(folder / RUNS / side)}
        for side in asked.sides
    }
    counts, pairs = Counter[str](), []
    for question in questions:
        sides = {side: answers.get(question.id) for side, answers in written.items()}
        if any(answer is None for answer in sides.values()):
            counts["owed"] += 1
        elif not all(answer and answer.strip() for answer in sides.values()):
            counts["empty"] += 1
        else:
            pairs.append(_pair(question, sides, asked.history))
    if not pairs:
        raise NoPairs(
            f"no question has all answers: {counts['empty']} with an empty one, {counts['owed']} owed"
        )
    write_pairs(folder, _manifest(folder, asked), pairs)
    return CollectedPairs(len(pairs), counts["empty"], counts["owed"])


def _pair(question: Question, sides: Mapping[Side, str | None], most: int) -> Pair:
    personalized, plain = sides["personalized"], sides["plain"]
    assert personalized is not None
    assert plain is not None
    return Pair(
        question.id,
        person_of(question),
        question.question,
        personalized,
        plain,
        history_of(question)[-most:],
        sides.get("other"),
    )


def history_of(question: Question) -> tuple[str, ...]:
    """The texts of a question's profile, oldest first; those without a date come before all others.

    Of an item with published fields, such as LaMP's titles, all fields are its text.
    """
    items = list(zip(question.profile, documents_of(question.profile), strict=True))
    items.sort(key=lambda both: both[1].created_at or datetime.min.replace(tzinfo=UTC))
    return tuple("\n".join(getattr(item, "fields", {}).values()) or document.text for item, document in items)


def _manifest(folder: Path, asked: Asked) -> dict[str, Any]:
    """How the pairs were made: the configuration of each side."""
    manifests = {
        side: json.loads((folder / RUNS / side / MANIFEST).read_text("utf-8")) for side in asked.sides
    }
    return {
        "history": asked.history,
        "sides": {
            side: {key: manifest[key] for key in manifest["configured"]}
            for side, manifest in manifests.items()
        },
    }
