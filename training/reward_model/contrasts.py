"""What a reward model is trained and measured on: two answers to one question, one of them better."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.reward_model.measures import Judged
from training.reward_model.model import Negatives, RewardModel
from training.reward_model.records import Pair, Response


@dataclass(frozen=True)
class Contrast:
    """A better and a worse answer to a user's question."""

    user: str
    better: Response
    worse: Response


def contrasts(pairs: Iterable[Pair], negatives: Negatives) -> list[Contrast]:
    """Compare each personalized answer with the plain one and, for `others`, with that of another profile."""
    found = []
    for pair in pairs:
        losers = [pair.plain]
        if negatives == "others" and pair.other is not None:
            losers.append(pair.other)
        better = Response(pair.question, pair.personalized, pair.history)
        found += [Contrast(pair.user, better, Response(pair.question, text, pair.history)) for text in losers]
    return found


def judged(model: RewardModel, found: Sequence[Contrast]) -> list[Judged]:
    """Score both answers of each contrast. Raises ValueError if a score is not a number."""
    scores = model.scores([side for one in found for side in (one.better, one.worse)])
    return [
        Judged(one.user, better - worse, model.length(one.better.answer) - model.length(one.worse.answer))
        for one, better, worse in zip(found, scores[::2], scores[1::2], strict=True)
    ]
