"""The seam to whatever judges a response by the aspects of a rubric.

A judgement that could not be made is not a score: it is raised, counted, and never taken as 0.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from training.evaluation.records import AspectScore

SCALE = (0, 1, 2)
"""Not covered, somewhat covered, very well covered (LaMP-QA, section 3)."""
JUDGE_PROMPT_VERSION = "1"
"""Version of the judges' prompt and of the lexical judge's counting. Cached verdicts of other versions are
not used."""


class Unjudged(Exception):
    """An aspect could not be scored. The message says why, and quotes nothing of the person's."""


class RubricAspect(Protocol):
    """One thing that the person expects of an answer."""

    @property
    def aspect(self) -> str: ...

    @property
    def reason(self) -> str:
        """Why they expect it."""
        ...

    @property
    def evidence(self) -> str:
        """The part of the narrative that shows it."""
        ...


class RubricQuestion(Protocol):
    """A question with the rubric that its answers are judged by."""

    @property
    def id(self) -> str: ...

    @property
    def question(self) -> str: ...

    @property
    def narrative(self) -> str:
        """The person's situation in their own words, beyond the question."""
        ...

    @property
    def rubric_aspects(self) -> Sequence[RubricAspect]: ...


class Judge(Protocol):
    """Scores how far a response covers an aspect."""

    @property
    def name(self) -> str:
        """Identifies the judge in reports and cache keys; it never changes."""
        ...

    @property
    def comparable(self) -> bool:
        """Whether its scores can be compared with those that LaMP-QA's authors published."""
        ...

    async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        """Return a score of SCALE. Raises Unjudged."""
        ...

    async def aclose(self) -> None:
        """Close connections and files."""
        ...


async def judged(judge: Judge, question: RubricQuestion, response: str) -> tuple[AspectScore, ...]:
    """Score every aspect of the question's rubric, in its order; None for an aspect that is unjudged.

    All aspects are submitted at once; the judge limits how many it works on. A value outside SCALE (a
    string, a 3) counts as unjudged.
    """

    async def one(aspect: RubricAspect) -> AspectScore:
        try:
            score = await judge.judge(question, aspect, response)
        except Unjudged:
            return AspectScore(aspect.aspect, None)
        return AspectScore(aspect.aspect, score if is_score(score) else None)

    tasks = [asyncio.ensure_future(one(aspect)) for aspect in question.rubric_aspects]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def is_score(value: object) -> bool:
    """Whether the value is one of SCALE: True, 1.0 and "1" are not."""
    return type(value) is int and value in SCALE
