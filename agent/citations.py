"""Resolves `[n]` marks in an answer to the exact sentences that they cite."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from agent.trajectory import Citation, Read
from index.text.sentences import spans
from index.text.words import terms

MARK = re.compile(r"[^\S\n]?[\[【]\^?(\d{1,6}(?:\s*,\s*\d{1,6})*)(?:†[^\]】\n]{0,40})?[\]】]")
"""A mark as models write it: [1], [1, 2], [^1], 【1】, [1†L3]. Its one group holds the numbers."""
PARTIAL_MARK = re.compile(r"[^\S\n]?(?:[\[【]\^?[\d\s,]*(?:†[^\]】\n]{0,40})?)?\Z")
"""The end of an incomplete text that may become a mark."""


def resolve(text: str, reads: Mapping[int, tuple[Read, int]]) -> tuple[str, tuple[Citation, ...], int]:
    """Find the citations of an answer.

    `reads` maps a passage's number to the passage and the index of its information step. Returns the text
    without invalid marks, one citation for each distinct sentence in the order of the marks, and the number
    of marks dropped.
    """
    pieces: list[str] = []
    citations: dict[tuple[int, int], Citation] = {}
    dropped = end = 0
    marks = list(MARK.finditer(text))

    # A model that repeats itself cites the same claims over and over.
    @cache
    def sentences(number: int) -> list[_Sentence]:
        return _sentences(reads[number][0].passage.text)

    @cache
    def cite(claim: str, number: int) -> Citation:
        return _cite(claim, number, *reads[number], sentences(number))

    bounds = [0, *(position for mark in marks for position in mark.span()), len(text)]
    gaps = [text[start:end] for start, end in zip(bounds[::2], bounds[1::2], strict=True)]
    for mark, claim in zip(marks, _claims(gaps), strict=True):
        pieces.append(text[end : mark.start()])
        numbers = [int(number) for number in mark.group(1).split(",")]
        known = [number for number in numbers if number in reads]
        dropped += len(numbers) - len(known)
        if known:
            lead = mark.group()[:1].strip("[【")
            is_plain = mark.group() == f"{lead}[{mark.group(1)}]"
            pieces.append(
                mark.group()
                if is_plain and len(known) == len(numbers)
                else f"{lead}[{', '.join(map(str, known))}]"
            )
        for number in known:
            citation = cite(claim, number)
            citations.setdefault((number, citation.start), citation)
        end = mark.end()
    pieces.append(text[end:])
    return "".join(pieces).strip(), tuple(citations.values()), dropped


def without_marks(text: str) -> str:
    """Remove all marks: how an answer cites its passages is no part of what it says."""
    return MARK.sub("", text).strip()


def _claims(gaps: Sequence[str]) -> list[str]:
    """The claim of each mark: the words before it on its line or, if there are none, those after it.

    `gaps` are the texts before, between and behind the marks. Adjacent marks, as in [1][2], share one claim.
    """
    # The text that follows each mark and those that are adjacent to it, found from the last to the first.
    following = [gaps[-1]] * (len(gaps) - 1)
    for index in reversed(range(len(following) - 1)):
        gap = gaps[index + 1]
        following[index] = following[index + 1] if _joins(gap) else gap
    claims: list[str] = []
    for index, after in enumerate(following):
        if index and _joins(gaps[index]):
            claims.append(claims[-1])
            continue
        claim = gaps[index].rsplit("\n", 1)[-1]
        if not terms(claim):
            # At the start of a line, a mark belongs to the text that follows.
            claim = after.split("\n", 1)[0]
        claims.append(claim)
    return claims


def _joins(gap: str) -> bool:
    """Whether the marks on both sides of the gap are adjacent."""
    return not gap.strip() and "\n" not in gap


class _Sentence(NamedTuple):
    start: int
    end: int
    text: str
    words: frozenset[str]


def _sentences(text: str) -> list[_Sentence]:
    found = spans(text) or [(0, len(text))]
    return [_Sentence(start, end, text[start:end], frozenset(terms(text[start:end]))) for start, end in found]


def _cite(claim: str, number: int, read: Read, step: int, sentences: Sequence[_Sentence]) -> Citation:
    """Cite the sentence of the passage that shares most words with the claim; the first one in a tie."""
    passage = read.passage
    words = set(terms(claim))

    def overlap(sentence: _Sentence) -> float:
        own = sentence.words
        shared = len(words & own) / (len(words | own) or 1)
        return shared + (1.0 if own and sentence.text in claim else 0.0)

    best = max(sentences, key=overlap)
    return Citation(
        number=number,
        document_id=passage.document_id,
        quote=best.text,
        start=passage.start + best.start,
        end=passage.start + best.end,
        step=step,
    )
