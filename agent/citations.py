"""From `[n]` marks in an answer to the exact lines that they rest on."""

import re
from collections.abc import Mapping

from agent.trajectory import Citation, Read
from index.lexical import terms
from index.sentences import spans

_MARK = re.compile(r"[^\S\n]?\[(\d{1,6}(?:\s*,\s*\d{1,6})*)\]")


def resolve(text: str, reads: Mapping[int, tuple[Read, int]]) -> tuple[str, tuple[Citation, ...], int]:
    """Find the citations of an answer.

    `reads` maps a passage's number to the passage and the index of the step that brought it. Returns the
    text without the marks that point nowhere, one citation for each distinct line that is cited, in the
    order of the marks, and the number of marks dropped.
    """
    pieces: list[str] = []
    citations: dict[tuple[int, int], Citation] = {}
    dropped = 0
    claim_start = end = 0
    for mark in _MARK.finditer(text):
        between = text[end : mark.start()]
        pieces.append(between)
        # A run of marks, [1][2], belongs to one claim: what stands before the first of them.
        if between.strip():
            claim_start = end
        claim = text[claim_start : mark.start()].rsplit("\n", 1)[-1]
        if not terms(claim):
            # At the start of a line, a mark belongs to what follows.
            claim = text[mark.end() :].split("\n", 1)[0]
        numbers = [int(number) for number in mark.group(1).split(",")]
        known = [number for number in numbers if number in reads]
        dropped += len(numbers) - len(known)
        if known:
            lead = mark.group()[: mark.group().index("[")]
            pieces.append(
                f"{lead}[{', '.join(map(str, known))}]" if len(known) < len(numbers) else mark.group()
            )
        for number in known:
            citation = _cite(claim, number, *reads[number])
            citations.setdefault((number, citation.start), citation)
        end = mark.end()
    pieces.append(text[end:])
    return "".join(pieces).strip(), tuple(citations.values()), dropped


def _cite(claim: str, number: int, read: Read, step: int) -> Citation:
    """Quote the sentence of the passage that shares most words with the claim; the first one on a tie."""
    passage = read.passage
    words = set(terms(claim))
    sentences = spans(passage.text) or [(0, len(passage.text))]

    def overlap(span: tuple[int, int]) -> float:
        sentence = passage.text[span[0] : span[1]]
        own = set(terms(sentence))
        shared = len(words & own) / (len(words | own) or 1)
        return shared + (1.0 if sentence in claim else 0.0)

    start, end = max(sentences, key=overlap)
    return Citation(
        number=number,
        document_id=passage.document_id,
        quote=passage.text[start:end],
        start=passage.start + start,
        end=passage.start + end,
        step=step,
    )
