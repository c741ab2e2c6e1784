"""The reward of PrLM (arXiv 2508.07342): r = quality + w_format · format + w_preference · σ(s).

All of it concerns the answer alone: thoughts, searches and marks of citations are never scored.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agent.citations import without_marks
from agent.trajectory import Information, Thought, Trajectory
from index.numbers import Number
from training.policy.reward import added
from training.tasks.lamp.metrics import RougeKind, rouge

Rouge = Literal["rouge", "rouge-sum"]
"""The mean of ROUGE-1, ROUGE-2 and ROUGE-L, or their sum, as the paper's reward has it."""

_KINDS: tuple[RougeKind, ...] = ("rouge1", "rouge2", "rougeL")
_BRACKETED = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")
_NOUNS = ("answer", "title", "tweet")
_PLACEHOLDERS = frozenset(
    ["n a", "none", "null", "todo", "final answer", "your answer here", *_NOUNS]
    + [f"your {noun}" for noun in _NOUNS]
)


@dataclass(frozen=True)
class Weights:
    """The weights of form and preference; quality has the weight 1. The defaults are the paper's."""

    format: Number = 0.1
    preference: Number = 0.1

    def __post_init__(self) -> None:
        if not all(0 <= weight < math.inf for weight in (self.format, self.preference)):
            raise ValueError("weights are finite numbers from 0")


@dataclass(frozen=True)
class Parts:
    """The parts of one reward, without weights."""

    quality: float | None
    """None if it could not be scored."""
    format: float
    """1 for a transcript that is well-formed, else 0."""
    preference: float | None
    """σ(s), from 0 to 1; None if the reward model failed."""

    def bonuses(self, weights: Weights) -> Mapping[str, float | None]:
        """The weighted parts beyond quality, by name."""
        preference = None if self.preference is None else weights.preference * self.preference
        return {"format": weights.format * self.format, "preference": preference}

    def total(self, weights: Weights) -> float | None:
        """r; None if a part is missing. Whatever the reward model says, it adds from 0 to w_preference."""
        return added(self.quality, *self.bonuses(weights).values())


def parts(answer: str, quality: float | None, *, well_formed: bool, s: float | None) -> Parts:
    """The parts for the text of an answer, '' without one.

    `s` is the reward model's score, None if it failed. An empty answer or a placeholder has the preference
    0, whatever `s` is. Raises ValueError for an `s` that is not finite.
    """
    if s is not None and not math.isfinite(s):
        raise ValueError(f"a reward model's score is a finite number, not {s}")
    preference = None if s is None else sigmoid(s)
    return Parts(quality, float(well_formed), 0.0 if is_placeholder(answer) else preference)


def rouge_quality(answer: str, reference: str, kind: Rouge = "rouge") -> float:
    """F1 of ROUGE-1, -2 and -L together, without marks of citations: from 0 to 1, summed from 0 to 3."""
    text = without_marks(answer)
    total = sum(rouge(one, reference, text) for one in _KINDS)
    return total if kind == "rouge-sum" else total / len(_KINDS)


def is_well_formed(trajectory: Trajectory) -> bool:
    """Whether the policy ended with a thought and then an answer, and never violated the tags."""
    written = [step for step in trajectory.steps if not isinstance(step, Information)]
    thought = written[-2] if len(written) > 1 else None
    return (
        trajectory.finish_reason == "answered"
        and not trajectory.violations
        and isinstance(thought, Thought)
        and bool(thought.text)
    )


def is_placeholder(answer: str) -> bool:
    """Whether an answer says nothing: no letter or digit, only <your title>, or a word like "answer"."""
    text = _BRACKETED.sub(" ", without_marks(answer))
    words = "".join(character if character.isalnum() else " " for character in text).lower().split()
    return not words or " ".join(words) in _PLACEHOLDERS


def sigmoid(s: float) -> float:
    """1 / (1 + e^-s), without overflow."""
    return 1 / (1 + math.exp(-s)) if s >= 0 else math.exp(s) / (1 + math.exp(s))
