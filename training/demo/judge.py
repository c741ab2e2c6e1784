"""A judge that knows the right words: it cannot be persuaded, and listing everything does not pay."""

from index.text.words import words
from training.judging.judge import SCALE, RubricAspect, RubricQuestion


class RubricJudge:
    """A training.judging.judge.Judge for questions whose aspects have one word each as evidence.

    An aspect gets 2 if the response contains its word and has no more words than the rubric has aspects, 1 if
    it has up to twice as many words, else 0.
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
