"""The plan before an answer (PlanPers, from LaMP-QA): the aspects that this person will expect.

A separate episode writes it, from the same passages as the answer. A trained planner sees the same text here
and in training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent import prompts
from agent.episode import Episode
from agent.trajectory import Limits, Message, PolicyProtocol, Today


def planning(
    question: str,
    limits: Limits,
    *,
    conversation: Sequence[Message] = (),
    today: Today | None = None,
    protocol: PolicyProtocol = "tags",
) -> Episode:
    """The episode whose answer is the plan. It starts with a pending search for the question."""
    instructions = prompts.PLAN_INSTRUCTIONS if protocol == "tags" else prompts.PLAIN_PLAN_INSTRUCTIONS
    return Episode(
        question,
        instructions,
        replace(limits, max_searches=0),
        conversation=conversation,
        today=today,
        first_query=question,
        protocol=protocol,
        now=prompts.PLAN_NOW,
    )


def as_plan(aspects: Iterable[str]) -> str:
    """A plan in the format that planners are trained to write: an introduction, then one line per aspect."""
    return "\n".join([prompts.PLAN_INTRODUCTION, *(f"- {' '.join(aspect.split())}" for aspect in aspects)])
