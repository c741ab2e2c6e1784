"""Reads the score from a judge's reply, and refuses a reply that does not give exactly one."""

import re
from collections.abc import Sequence

from agent.replies import without_thoughts
from training.judging.judge import Unjudged


class UnjudgedReply(Unjudged, ValueError):
    """A judge's reply contains no score, or more than one."""


_NUMBER = r"([+-]?[0-9]+(?:\.[0-9]+)?)(?!\.?[A-Za-z0-9_])"
_AROUND = r"[\s\"'*`]"
_WORD = r"(?!(?:of|out|to|or|and|from|by|vs)\b)[a-z_]{1,20}:?"
_BARE = re.compile(
    rf"(?:```(?:json)?|json(?=\s))?{_AROUND}*{_NUMBER}(?:[\s\"'*`.]+{_WORD}{_AROUND}+{_NUMBER})*[\s\"'*`.]*",
    re.IGNORECASE,
)
"""A number, perhaps in a fence, which may have lost its backticks. A word such as `json` may repeat it."""
_LABELLED = re.compile(
    rf"(?<![A-Za-z0-9_])match[\s_-]?score[\s\"'*`\\]*[:=：][\s\"'*`\\]*{_NUMBER}", re.IGNORECASE
)
_OR = re.compile(rf"[ \t\"'*`]*(?:[-–—/|,~]|(?:or|to|and)\b)[ \t\"'*`]*{_NUMBER}", re.IGNORECASE)
_SCORE = re.compile(r"\+?([012])(?:\.0*)?")


def parse_score(text: str) -> int:
    """The score in a judge's reply: the value labelled `match_score`, or the whole reply if it is a number.

    Numbers after `match_score:` or `=` count, in JSON or not, quoted or not; the same value may be repeated.
    Other numbers are prose and are ignored ("2 out of 2", "the scale from 0 to 2"), and so are a reasoning
    model's thoughts. Raises UnjudgedReply if there is no score (a label without a number is not one), if
    there are two (also "1 or 2" after one label), and if a labelled number is not 0, 1 or 2.
    """
    answer = without_thoughts(text)
    numbers = _numbers(answer)
    if not numbers and _BARE.fullmatch(answer.strip()):
        numbers = re.findall(_NUMBER, answer)
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
