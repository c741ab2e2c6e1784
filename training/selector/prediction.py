"""Predicts the quality of a ranking from its scores alone: the baselines that a selector is compared with.

Query performance prediction without training: WIG (Zhou and Croft 2007), NQC (Shtok et al. 2012), σ_max
(Pérez-Iglesias and Araujo 2010) and σ_x% (Cummins et al. 2011). The retriever with the highest value is
chosen. None of them is defined for a ranking that found nothing, which gets 0.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Retrieved:
    """The ranking of one person's whole profile for one question."""

    scores: tuple[float, ...]
    """Best first, of the documents that were found."""
    documents: int
    """Documents in the profile; those that were not found count as 0 in the mean."""
    terms: int
    """Words of the question."""

    @property
    def collection(self) -> float:
        """The score of the collection, S_C: the mean over the profile. It is not published for profiles."""
        return sum(self.scores) / self.documents if self.documents else 0.0


def wig(found: Retrieved, k: int = 5) -> float:
    """Weighted information gain: mean of s_i - S_C of the best k, over the root of the terms."""
    best = found.scores[:k]
    if not best or not found.terms:
        return 0.0
    return (sum(best) / len(best) - found.collection) / math.sqrt(found.terms)


def nqc(found: Retrieved, k: int = 100) -> float:
    """Normalized query commitment: the standard deviation of the best k, over |S_C|; 0 if S_C is 0."""
    collection = abs(found.collection)
    return _deviation(found.scores[:k]) / collection if collection else 0.0


def sigma_max(found: Retrieved) -> float:
    """The highest standard deviation of the best k, over all k."""
    scores = np.asarray(found.scores, dtype=np.float64)
    if not scores.size:
        return 0.0
    # Less the first score, so that the squares do not cancel.
    moved, counts = scores - scores[0], np.arange(1, scores.size + 1)
    variance = np.cumsum(moved**2) / counts - (np.cumsum(moved) / counts) ** 2
    return float(np.sqrt(np.maximum(variance, 0.0)).max())


def sigma_share(found: Retrieved, share: float = 0.5) -> float:
    """The standard deviation of the scores that are at least `share` of the best (σ_x%, x = 50)."""
    return _deviation([score for score in found.scores if score >= share * found.scores[0]])


def _deviation(scores: Sequence[float]) -> float:
    return float(np.std(np.asarray(scores, dtype=np.float64))) if len(scores) else 0.0


Predictor = Callable[[Retrieved], float]
PREDICTORS: Mapping[str, Predictor] = {"WIG": wig, "NQC": nqc, "σ max": sigma_max, "σ 50%": sigma_share}


def predicted(predictor: Predictor, found: Sequence[Sequence[Retrieved]]) -> Values:
    """Predictions of shape (questions, members)."""
    return np.array([[predictor(one) for one in members] for members in found], dtype=np.float64)


def standardized(values: Values) -> Values:
    """Subtract each member's mean over the questions, and divide by its standard deviation.

    The scales of retrievers differ, so raw values may always choose the same one. A member whose values do
    not vary gets 0.
    """
    deviation = values.std(axis=0)
    # Equal values still differ by rounding errors.
    constant = deviation <= 1e-12 * np.maximum(1.0, np.abs(values).max(axis=0, initial=0.0))
    centred = values - values.mean(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))
