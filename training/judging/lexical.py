"""A judge that needs no model: it counts words."""

from index.text.words import content_terms, terms
from training.judging.judge import RubricAspect, RubricQuestion

SOMEWHAT, VERY_WELL = 0.25, 0.6
"""Shares of the expected words from which the lexical judge gives 1 and 2."""


class LexicalJudge:
    """Counts words: for tests, and for machines without a judge model.

    c is the share of the distinct content words (stemmed) of an aspect and its evidence that occur in the
    response. The score is 0 for c < SOMEWHAT, 1 for c < VERY_WELL, else 2. Meaning is ignored, so the scores
    are never comparable with LaMP-QA's.
    """

    name = "lexical"
    comparable = False

    async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        """See Judge. Never raises Unjudged."""
        expected = content_terms(f"{aspect.aspect}\n{aspect.evidence}")
        held = set(terms(response))
        covered = sum(term in held for term in expected) / max(len(expected), 1)
        return (covered >= SOMEWHAT) + (covered >= VERY_WELL)

    async def aclose(self) -> None:
        """See Judge."""
