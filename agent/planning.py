"""The plan before an answer (PlanPers, of LaMP-QA): what this person will expect of it.

It is written by an episode of its own, from the passages that the answer will be written from; a model that
is trained for it sees the same text here and in training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent import prompts
from agent.episode import Episode
from agent.trajectory import Limits, Message, PolicyProtocol


def planning(
    question: str,
    limits: Limits,
    *,
    conversation: Sequence[Message] = (),
    protocol: PolicyProtocol = "tags",
) -> Episode:
    """The episode whose answer is the plan. It begins with a search for the question pending."""
    told = prompts.PLAN_INSTRUCTIONS if protocol == "tags" else prompts.PLAIN_PLAN_INSTRUCTIONS
    return Episode(
        question,
        told,
        replace(limits, max_searches=0),
        conversation=conversation,
        first_query=question,
        protocol=protocol,
        now=prompts.PLAN_NOW,
    )


def as_plan(aspects: Iterable[str]) -> str:
    """A plan in the form that planners are trained to write: a line that introduces it, a line for each."""
    return "\n".join([prompts.PLAN_INTRODUCTION, *(f"- {' '.join(aspect.split())}" for aspect in aspects)])
