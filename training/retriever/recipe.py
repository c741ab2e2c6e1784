"""Settings of a retriever's training, and the protocols of those who watch it."""

import math
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from index.numbers import Integer, Number
from training.retriever.questions import Method


class Recipe(BaseModel):
    """Hyperparameters. The defaults are those published with ROPG, except for what validation needs.

    The published batch of 64 questions is split among processes and encoded `at_once` at a time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    documents: Integer | None = Field(None, ge=2)
    """Use only the first ones of a question. None for all in the feedback, whose number (l, 16 as published)
    is a limit of cost: the whole profile may teach more."""
    temperature: Number = Field(1.0, gt=0)
    """T, which divides the scores and, for ropg-kd, the utility. With a utility from 0 to 1, T = 1 makes all
    targets nearly equal, and so does it with the scores of an encoder whose vectors are normalized."""
    draws: Integer = Field(1, ge=1)
    """Documents drawn per question, without replacement (ropg-rl)."""
    learning_rate: Number = Field(1e-5, gt=0)
    """Peak; it rises during the warm-up, and then falls linearly to 0."""
    warmup: Number = Field(0.05, ge=0, lt=1)
    """Fraction of the steps."""
    clip: Number = Field(1.0, gt=0)
    """Maximum norm of the gradient."""
    epochs: Integer = Field(10, ge=1)
    batch_size: Integer = Field(64, ge=1)
    """Questions per step, of all processes together."""
    at_once: Integer = Field(8, ge=1)
    """Questions whose gradients a process computes at a time, which memory limits."""
    validate_every: Integer | None = Field(None, ge=1)
    """Steps between validations, each of which saves the state; None for the end of every epoch."""
    held_out: Number = Field(0.1, gt=0, lt=1)
    """Share of the people to validate with, if no feedback is given for that."""
    confidence: Number = Field(0.95, ge=0, lt=1)
    """With which a step must be better than the encoder as it was, on the held-out questions, to be kept in
    its place. 0 keeps the best step, whatever its gain, as published."""
    seed: Integer = 0

    def steps_per_epoch(self, questions: int) -> int:
        return math.ceil(questions / self.batch_size)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step, which counts from 1 to `steps`."""
        warm = math.ceil(self.warmup * steps)
        if step <= warm:
            return self.learning_rate * step / warm
        return self.learning_rate * (steps - step + 1) / (steps - warm + 1)


class Watcher(Protocol):
    """Is notified of the progress of training, in the main process."""

    def begun(self, step: int, steps: int) -> None:
        """`step` of `steps` was the last to be saved; 0 if training is new."""
        ...

    def trained(self, step: int, loss: float, learning_rate: float) -> None: ...

    def validated(self, step: int, utility: float, unchanged: float) -> None:
        """See `training.retriever.trainer.Validation`."""
        ...
