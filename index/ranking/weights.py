"""Weights of the signals of the default ranking: those set by hand, and files of fitted ones."""

from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from index.errors import UnusableRanker
from index.numbers import Number

Weight = Annotated[Number, Field(ge=0, allow_inf_nan=False)]
_STRICT = ConfigDict(frozen=True, extra="forbid")


class Weights(BaseModel):
    """A weight for each signal of `hybrid.signals`, in the order of its rows."""

    model_config = _STRICT

    meaning: Weight
    near_meaning: Weight
    words: Weight
    near_words: Weight
    person: Weight
    time: Weight

    @cached_property
    def vector(self) -> NDArray[np.float64]:
        """The weights, shape (signals,)."""
        return np.array([getattr(self, name) for name in type(self).model_fields])


class Measured(BaseModel):
    """Evidence recall@10 on one data set, by weights that were fitted without it."""

    model_config = _STRICT

    dataset: str
    questions: int
    by_hand: float
    """Of the weights set by hand."""
    held_out: float
    """Of weights fitted to the other data sets."""
    fitted: float
    """Of the weights in this file, which saw this data set."""


class Ranker(BaseModel):
    """A ranker file: weights, and the data and figures that made them."""

    model_config = _STRICT

    weights: Weights
    encoder: str
    ridge: float
    measured: tuple[Measured, ...]


BY_HAND = Weights(meaning=0.7, near_meaning=0.21, words=1.0, near_words=0.75, person=0.2, time=0.5)
"""Set on LoCoMo, LifeBench, the demo people and dated sessions together."""


def load_ranker(file: Path) -> Ranker:
    """Read a ranker file. Raises UnusableRanker, which names the file and every field that does not fit."""
    try:
        return Ranker.model_validate_json(file.read_bytes())
    except OSError as error:
        raise UnusableRanker(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise UnusableRanker(f"{file} is not a ranker of this version: {wrong}") from None
