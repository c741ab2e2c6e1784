"""The utility of documents for a question with a rubric: the judge's score of the answer with them alone."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from agent.driver import drive
from agent.methods import METHODS
from agent.policy import Policy
from agent.prompts import PROMPT_VERSION
from agent.trajectory import Limits, PolicyProtocol, Search, Today
from index.documents import Passage
from training.evaluation.profiles import day_of
from training.evaluation.records import rubric_score
from training.evaluation.runs import unanswered
from training.evaluation.task import Item
from training.feedback.outputs import Output, Outputs
from training.feedback.utility import NoUtility
from training.judging.judge import Judge, judged
from training.tasks.lampqa.data import Question


@dataclass(frozen=True)
class RubricUtility:
    """The judge's score of the answer that a policy gives with exactly these documents (method `rag`)."""

    policy: Policy
    settings: Mapping[str, Any]
    """JSON values that identify the policy's model and decoding."""
    judge: Judge
    outputs: Outputs
    limits: Limits
    protocol: PolicyProtocol = "tags"

    @property
    def configuration(self) -> Mapping[str, Any]:
        """See Utility."""
        return {
            **self._generation,
            "metric": {"judge": self.judge.name, "comparable": self.judge.comparable},
        }

    @property
    def _generation(self) -> dict[str, Any]:
        return {
            "model": dict(self.settings),
            "prompt_version": PROMPT_VERSION,
            "protocol": self.protocol,
            "limits": asdict(self.limits),
        }

    async def __call__(self, question: Question, documents: Sequence[Item]) -> float:
        """See Utility. Answers are kept here, and verdicts on them by the judge."""
        passages = [
            Passage(document.id, document.text, rank=rank) for rank, document in enumerate(documents, 1)
        ]
        day = day_of(question.profile)
        content = {
            **self._generation,
            "question": question.question,
            "day": str(day),
            "passages": [[passage.document_id, passage.text] for passage in passages],
        }
        output = await self.outputs.output(content, lambda: self._answer(question.question, day, passages))
        score = rubric_score(await judged(self.judge, question, output.text))
        if score is None:
            raise NoUtility("the judge gave no verdict on an aspect")
        return score

    async def _answer(self, question: str, day: date, passages: Sequence[Passage]) -> Output:
        async def search(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
            return passages

        episode = METHODS["rag"].begin(question, self.limits, today=Today(day), protocol=self.protocol)
        async with aclosing(drive(episode, self.policy, search)) as events:
            async for _ in events:
                pass
        trajectory = episode.trajectory
        if why := unanswered(trajectory):
            raise NoUtility(why)
        text = trajectory.answer.text if trajectory.answer else ""
        return Output(text, None, trajectory.prompt_tokens, trajectory.policy_tokens)
