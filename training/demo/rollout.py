"""Runs episodes of the tiny world, driven and rewarded as in the service and its training."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal

from agent.driver import drive
from agent.episode import Episode
from agent.policy import Policy
from agent.trajectory import Information, Trajectory
from training.demo.judge import RubricJudge
from training.demo.vocabulary import INSTRUCTIONS, LIMITS
from training.demo.world import Task
from training.judging.judge import judged
from training.policy.reward import Costs, Reward, reward

COSTS = Costs(search=0.05, invalid=0.2)
Mode = Literal["search", "rag", "none"]
"""agent.methods.METHODS, with the instructions of the tiny model."""

_JUDGE = RubricJudge()


@dataclass(frozen=True)
class Rollout:
    """The trajectory of one task, with its reward."""

    task: Task
    trajectory: Trajectory
    reward: Reward

    @property
    def searches(self) -> int:
        """Number of searches, including the one made for the question itself."""
        return sum(isinstance(step, Information) for step in self.trajectory.steps)

    @property
    def total(self) -> float:
        """The reward, less the cost of a search made for the policy, which is charged like its own."""
        return (self.reward.total or 0.0) - COSTS.search * (self.searches - self.trajectory.searches)


def begin(task: Task, mode: Mode) -> Episode:
    """Begin the task's episode in one of the three modes."""
    question = task.question.question
    return Episode(
        question,
        INSTRUCTIONS,
        LIMITS if mode == "search" else replace(LIMITS, max_searches=0),
        first_query=question if mode == "rag" else None,
    )


async def roll_out(tasks: Sequence[Task], policies: Sequence[Policy], mode: Mode = "search") -> list[Rollout]:
    """Run all tasks concurrently, each with its policy."""

    async def one(task: Task, policy: Policy) -> Rollout:
        episode = begin(task, mode)
        async with aclosing(drive(episode, policy, task.user.search)) as events:
            async for _ in events:
                pass
        trajectory = episode.trajectory
        answer = trajectory.answer
        aspects = await judged(_JUDGE, task.question, answer.text) if answer else None
        return Rollout(task, trajectory, reward(trajectory, aspects, COSTS))

    return await asyncio.gather(*map(one, tasks, policies))
