"""The methods of answering: how much of the user's history they read, and who decides what to look for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent import prompts
from agent.episode import Episode
from agent.planning import planning
from agent.trajectory import Limits, Message, PolicyProtocol, Today


@dataclass(frozen=True)
class Method:
    """A way to answer: the same episode, started differently."""

    name: str
    title: str
    opens: bool
    """Whether the history is searched once for the question itself, before the policy writes."""
    searches: bool
    """Whether the policy may search."""
    plans: bool = False
    """Whether a plan precedes the answer, written from the passages of the first search."""
    instructions: Mapping[PolicyProtocol, str] = field(
        default_factory=lambda: prompts.BY_PROTOCOL, hash=False
    )

    @property
    def reads(self) -> bool:
        """Whether the method reads the user's history at all."""
        return self.opens or self.searches

    def begin(
        self,
        question: str,
        limits: Limits,
        *,
        query: str = "",
        conversation: Sequence[Message] = (),
        today: Today | None = None,
        protocol: PolicyProtocol = "tags",
        plan: str = "",
        planner_protocol: PolicyProtocol = "tags",
    ) -> Episode:
        """Start the episode of one question.

        A method that opens with a search searches for `query`, or for the question if it is empty. A given
        `plan` is used instead of writing one. Raises ValueError if the method uses no plan.
        """
        if plan and not self.plans:
            raise ValueError(f"the method {self.name} takes no plan")
        to_plan = self.plans and not plan
        return Episode(
            question,
            self.instructions[protocol],
            limits=limits if self.searches else replace(limits, max_searches=0),
            conversation=conversation,
            today=today,
            first_query=(query or question) if self.opens else None,
            protocol=protocol,
            plan=plan,
            planning=planning(
                question, limits, conversation=conversation, today=today, protocol=planner_protocol
            )
            if to_plan
            else None,
        )


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("pr2", "The policy thinks, searches, reads, and answers", opens=False, searches=True),
        Method("rag", "Passages for the question, then one answer", opens=True, searches=False),
        Method("planpers", "Passages, a plan from them, then one answer", True, searches=False, plans=True),
        Method(
            "prlm",
            "Passages for the question, reasoning about the person from them, then one answer",
            opens=True,
            searches=False,
            instructions=prompts.REASONING,
        ),
        Method("none", "One answer, without the person's history", opens=False, searches=False),
    )
}
"""The methods by name; the first is the default."""
