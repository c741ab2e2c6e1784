"""The reward `rubric`: the judge's score of the answer by the question's rubric, minus costs for its form."""

import logging
import uuid
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from agent.trajectory import Trajectory
from training.cachefile import CacheUnavailable
from training.evaluation.records import rubric_score
from training.judging.factory import JudgeConfiguration, JudgeUnavailable, open_judge
from training.judging.judge import Judge, Unjudged, judged
from training.policy.reward import Costs, Reward, with_costs
from training.policy.rows import Needs, Row
from training.tasks.lampqa.data import Aspect, Question

_log = logging.getLogger(__name__)


class JudgedQuality:
    """Scores an answer by the rubric of its question, as an evaluation does."""

    def __init__(self, judge: Judge, address: str | None = None) -> None:
        """`address` is the judge's, for messages. `aclose` closes the judge."""
        self._judge = judge
        self._address = address

    async def score(self, row: Row, answer: str) -> float | None:
        """From 0 to 1; None if the judge failed. Raises ValueError for a row without a rubric."""
        try:
            return rubric_score(await judged(self._judge, row.with_rubric, answer))
        except CacheUnavailable as error:
            _log.warning("an answer is left unjudged: %s", error)
            return None

    async def check(self) -> None:
        """Have the judge grade an answer that no cache can hold. Raises JudgeUnavailable."""
        aspect = Aspect(aspect="It greets", reason="", evidence="")
        question = Question(
            id="check",
            question="What do you say to me?",
            category="",
            narrative="",
            rubric_aspects=(aspect,),
            profile=(),
        )
        try:
            await self._judge.judge(question, aspect, f"Hello, {uuid.uuid4().hex}!")
        except Unjudged as error:
            raise JudgeUnavailable(
                f"the judge {self._judge.name} at {self._address} gave no verdict: {error}"
            ) from None

    async def aclose(self) -> None:
        """Close the judge."""
        await self._judge.aclose()


class RubricReward:
    """See training.policy.reward.RewardFunction."""

    def __init__(self, judge: Judge, costs: Costs, address: str | None = None) -> None:
        """See JudgedQuality for the judge and its address."""
        self._quality = JudgedQuality(judge, address)
        self._costs = costs

    async def reward(self, row: Row, trajectory: Trajectory) -> Reward:
        """See RewardFunction. A missing answer covers nothing: its score is 0."""
        answer = trajectory.answer
        score = 0.0 if answer is None else await self._quality.score(row, answer.text)
        return with_costs(trajectory, score, self._costs)

    async def check(self) -> None:
        """See RewardFunction. Raises JudgeUnavailable."""
        await self._quality.check()

    async def aclose(self) -> None:
        """See RewardFunction."""
        await self._quality.aclose()


class RubricSettings(BaseModel):
    """The default reward. Its judge and costs stand beside it in the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["rubric"] = "rubric"

    @property
    def needs(self) -> Needs:
        """See RewardSettings."""
        return "rubric"

    async def open(self, judge: JudgeConfiguration, verdicts: Path, costs: Costs) -> RubricReward:
        """See RewardSettings. Raises InvalidJudge, JudgeUnavailable, CacheUnavailable."""
        return RubricReward(await open_judge(judge, verdicts), costs, judge.url)
