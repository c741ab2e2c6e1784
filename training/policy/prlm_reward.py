"""The reward `prlm` of a training: quality, form, and the score of a reward model behind a server."""

import asyncio
import logging
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.citations import without_marks
from agent.trajectory import Information, Trajectory
from index.numbers import Number
from training.judging.factory import JudgeConfiguration, open_judge
from training.policy.prlm import Rouge, Weights, is_placeholder, is_well_formed, parts, rouge_quality
from training.policy.reward import Costs, Quality, Reward, with_costs
from training.policy.rows import Needs, Row
from training.policy.rubric_reward import JudgedQuality
from training.reward_model.client import InvalidScore, PreferenceModel, RewardClient, RewardModelUnavailable
from training.reward_model.records import Response

_log = logging.getLogger(__name__)


class RougeQuality:
    """Compares answers with the reference of their question."""

    def __init__(self, kind: Rouge) -> None:
        self._kind = kind

    async def score(self, row: Row, answer: str) -> float:
        """See Quality and rouge_quality."""
        return rouge_quality(answer, row.reference, self._kind)

    async def check(self) -> None:
        """Raises TrainingUnavailable if the package is missing that computes ROUGE."""
        rouge_quality("", "")

    async def aclose(self) -> None:
        """Nothing is open."""


class PrlmReward:
    """See training.policy.reward.RewardFunction, and training.policy.prlm for the formula."""

    def __init__(self, quality: Quality, model: PreferenceModel, weights: Weights, costs: Costs) -> None:
        """`aclose` closes quality and model."""
        self._quality = quality
        self._model = model
        self._weights = weights
        self._costs = costs

    async def reward(self, row: Row, trajectory: Trajectory) -> Reward:
        """See RewardFunction. Only the answer is scored, without its marks: never a thought."""
        answer = "" if trajectory.answer is None else trajectory.answer.text
        quality, s = await asyncio.gather(
            self._quality.score(row, answer) if answer else _nothing(),
            self._preference(row, answer, trajectory),
        )
        found = parts(answer, quality, well_formed=is_well_formed(trajectory), s=s)
        return with_costs(trajectory, found.quality, self._costs, found.bonuses(self._weights))

    async def check(self) -> None:
        """See RewardFunction."""
        await self._quality.check()
        await self._model.check()

    async def aclose(self) -> None:
        """See RewardFunction."""
        await self._quality.aclose()
        await self._model.aclose()

    async def _preference(self, row: Row, answer: str, trajectory: Trajectory) -> float | None:
        if is_placeholder(answer):
            return None
        asked = Response(row.question.question, without_marks(answer), history_of(trajectory))
        try:
            return await self._model.score(asked)
        except (RewardModelUnavailable, InvalidScore) as error:
            _log.warning("an answer is left unjudged: %s", error)
            return None


class PrlmSettings(BaseModel):
    """The reward of PrLM: how quality is measured, the weights, and where the reward model is served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["prlm"] = "prlm"
    quality: Literal["rouge", "rouge-sum", "rubric"] = "rouge"
    """ROUGE against the reference (mean, or the paper's sum), or the judge's score by the rubric."""
    weights: Weights = Weights()
    url: str = Field(min_length=1)
    """Of `pr2 train reward-server`."""
    model: str = Field(min_length=1)
    """Fingerprint of the reward model; a server with another one is refused."""
    timeout_s: Number = Field(60.0, gt=0)
    """For one call."""
    patience_s: Number = Field(30.0, ge=0)
    """How long a call is repeated while the server is away."""

    @property
    def needs(self) -> Needs:
        """See RewardSettings."""
        return "rubric" if self.quality == "rubric" else "reference"

    async def open(self, judge: JudgeConfiguration, verdicts: Path, costs: Costs) -> PrlmReward:
        """See RewardSettings. Raises InvalidJudge, JudgeUnavailable, CacheUnavailable."""
        quality: Quality
        if self.quality == "rubric":
            quality = JudgedQuality(await open_judge(judge, verdicts), judge.url)
        else:
            quality = RougeQuality(self.quality)
        model = RewardClient(self.url, self.model, timeout_s=self.timeout_s, patience_s=self.patience_s)
        return PrlmReward(quality, model, self.weights, costs)


def history_of(trajectory: Trajectory) -> tuple[str, ...]:
    """The user's own passages that the episode read, oldest first; undated ones come before."""
    passages = [
        read.passage for step in trajectory.steps if isinstance(step, Information) for read in step.passages
    ]
    return tuple(passage.text for passage in sorted(passages, key=lambda one: one.created_at or ""))


async def _nothing() -> float:
    """The quality of no answer."""
    return 0.0
