import random

import pytest

from training.demo import world
from training.demo.judge import RubricJudge
from training.judging.judge import judged

USER = world.User(random.Random(0), "train")
TASK = world.sample_task(random.Random(0), USER, 1)
STYLE, VALUE = TASK.answer.split()


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        (f"{STYLE} {VALUE}", [2, 2]),
        (f"{VALUE.upper()}, {STYLE}!", [2, 2]),
        (f"nothing {VALUE}", [0, 2]),
        (f"perhaps {STYLE} {VALUE}", [1, 1]),
        ("", [0, 0]),
        (" ".join(world.STYLES + world.VALUES[TASK.topic]), [0, 0]),
    ],
)
async def test_the_right_words_count_and_saying_everything_does_not_pay(
    answer: str, scores: list[int]
) -> None:
    for _ in range(2):
        aspects = await judged(RubricJudge(), TASK.question, answer)
        assert [aspect.score for aspect in aspects] == scores
