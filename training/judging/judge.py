"""The seam to whatever judges a response, the one way to read a score out of a reply, and a judge without a
model.

A judgement that was not got is no score: it is raised, counted, and never taken as 0.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Protocol

from index.text.words import content_terms, terms
from training.evaluation.records import AspectScore
from training.tasks.lampqa.data import Aspect, Question

SCALE = (0, 1, 2)
"""Not covered, somewhat covered, very well covered (LaMP-QA, section 3)."""
PROMPT_VERSION = "1"
"""Counts the wordings of what judges are asked, and of how the lexical one counts. Verdicts of another
version are not taken from a cache."""

SOMEWHAT, VERY_WELL = 0.25, 0.6
"""From these shares of the expected words on, the lexical judge gives 1 and 2."""


class Unjudged(Exception):
    """No score was got for an aspect. The message says why, and nothing of the person's."""


class UnjudgedReply(Unjudged, ValueError):
    """A judge's reply holds no score, or more than one."""


class Judge(Protocol):
    """Says how far a response covers an aspect."""

    @property
    def name(self) -> str:
        """Which judge it is, as reports and cache keys name it; it does not change while the judge lives."""
        ...

    @property
    def comparable(self) -> bool:
        """Whether its scores may stand beside those that LaMP-QA's authors published."""
        ...

    async def judge(self, question: Question, aspect: Aspect, response: str) -> int:
        """A score of SCALE. Raises Unjudged."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and files."""
        ...


class LexicalJudge:
    """Counts words: for tests, and for machines without a judge model.

    c is the share of the different content words (as stems) of an aspect and its evidence that the response
    holds. The score is 0 for c < SOMEWHAT, 1 for c < VERY_WELL, else 2. It knows nothing of meaning, so its
    scores are never comparable with LaMP-QA's.
    """

    name = "lexical"
    comparable = False

    async def judge(self, question: Question, aspect: Aspect, response: str) -> int:
        """See Judge. Never raises Unjudged."""
        expected = content_terms(f"{aspect.aspect}\n{aspect.evidence}")
        held = set(terms(response))
        covered = sum(term in held for term in expected) / max(len(expected), 1)
        return (covered >= SOMEWHAT) + (covered >= VERY_WELL)

    async def aclose(self) -> None:
        """See Judge."""


async def judged(judge: Judge, question: Question, response: str) -> tuple[AspectScore, ...]:
    """The aspects of the question's rubric, in its order, each with its score, or None if it got none.

    All are asked at once; the judge bounds how many it works on. What a judge returns that is no score of
    SCALE (a string, a 3) is no score here either.
    """

    async def one(aspect: Aspect) -> AspectScore:
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
    """Whether it is one of SCALE: True, 1.0 and "1" are not."""
    return type(value) is int and value in SCALE


_THOUGHT = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_NUMBER = r"([+-]?[0-9]+(?:\.[0-9]+)?)(?!\.?[A-Za-z0-9_])"
_BARE = re.compile(rf"(?:```(?:json)?)?[\s\"'*`]*{_NUMBER}[\s\"'*`.]*", re.IGNORECASE)
_LABELLED = re.compile(
    rf"(?<![A-Za-z0-9_])match[\s_-]?score[\s\"'*`\\]*[:=：][\s\"'*`\\]*{_NUMBER}", re.IGNORECASE
)
_OR = re.compile(rf"[ \t\"'*`]*(?:[-–—/|,~]|(?:or|to|and)\b)[ \t\"'*`]*{_NUMBER}", re.IGNORECASE)
_SCORE = re.compile(r"\+?([012])(?:\.0*)?")


def parse_score(text: str) -> int:
    """The score that a judge's reply gives: the one value labelled `match_score`, or all that it says.

    Counted are numbers behind `match_score:` or `=`, in JSON or not, quoted or not, as often as they stand
    there with the same value. Other numbers are prose and count for nothing ("2 out of 2", "the scale from
    0 to 2"), unless the whole reply is one. What a reasoning model thinks before it answers is left out.
    Raises UnjudgedReply when there is no score (a label without a number is none), when there are two ("1
    or 2" behind one label as well), and when a labelled number is not 0, 1 or 2.
    """
    answer = _without_thoughts(text)
    numbers = _numbers(answer)
    if not numbers and (bare := _BARE.fullmatch(answer.strip())):
        numbers = [bare.group(1)]
    if not numbers:
        raise UnjudgedReply("the reply holds no score")
    scores = {found.group(1) if (found := _SCORE.fullmatch(number)) else None for number in numbers}
    if None in scores:
        raise UnjudgedReply("the reply gives a number that is no score")
    if len(scores) > 1:
        raise UnjudgedReply(f"the reply gives {len(scores)} different scores")
    return int(scores.pop() or 0)


def _numbers(text: str) -> Sequence[str]:
    numbers = []
    for found in _LABELLED.finditer(text):
        numbers.append(found.group(1))
        if also := _OR.match(text, found.end()):
            numbers.append(also.group(1))
    return numbers


def _without_thoughts(text: str) -> str:
    """What is outside of think tags; a thought may have been opened by the prompt, or be cut off."""
    kept: list[str] = []
    start, inside = 0, False
    for tag in _THOUGHT.finditer(text):
        if not tag.group(1):
            if not inside:
                kept.append(text[start : tag.start()])
            inside = True
        else:
            if not inside:
                kept.clear()
            start, inside = tag.end(), False
    return "\n".join(kept if inside else [*kept, text[start:]])
