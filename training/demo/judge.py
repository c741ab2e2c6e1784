"""A judge that knows the right words: it cannot be talked round, and saying everything does not pay."""

from index.text.words import words
from training.judging.judge import SCALE, RubricAspect, RubricQuestion


class RubricJudge:
    """training.judging.judge.Judge over questions whose aspects have one word each as their evidence.

    An aspect gets 2 if its word stands in the response and the response has no more words than the rubric; 1
    with up to twice as many; else 0.
    """

    name = "rubric"
    comparable = False

    async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        """See Judge. Never raises Unjudged."""
        said = words(response)
        expected = len(question.rubric_aspects)
        if aspect.evidence not in said or len(said) > 2 * expected:
            return SCALE[0]
        return SCALE[1] if len(said) > expected else SCALE[2]

    async def aclose(self) -> None:
        """See Judge."""
