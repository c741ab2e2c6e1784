"""Two answers to one question, one of them better: reward models learn from such contrasts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from training.reward_model.measures import Judged
from training.reward_model.model import RewardModel
from training.reward_model.records import Pair, Response

Loser = Literal["plain", "other"]
"""The answer without a profile, or that with another person's."""


@dataclass(frozen=True)
class Contrast:
    """A better and a worse answer to a user's question."""

    user: str
    better: Response
    worse: Response


def contrasts(pairs: Iterable[Pair], *losers: Loser) -> list[Contrast]:
    """Compare each personalized answer with the other answers of its pair that are there."""
    found = []
    for pair in pairs:
        better = Response(pair.question, pair.personalized, pair.history)
        worse = (pair.plain if loser == "plain" else pair.other for loser in losers)
        found += [
            Contrast(pair.user, better, Response(pair.question, answer, pair.history))
            for answer in worse
            if answer is not None
        ]
    return found


def judged(model: RewardModel, found: Sequence[Contrast]) -> list[Judged]:
    """Score both answers of each contrast. Raises ValueError if a score is not a number."""
    scores = model.scores([side for one in found for side in (one.better, one.worse)])
    return [
        Judged(one.user, better - worse, model.length(one.better.answer) - model.length(one.worse.answer))
        for one, better, worse in zip(found, scores[::2], scores[1::2], strict=True)
    ]
