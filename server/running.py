"""Runs the episodes of a question, each in a turn of the queue: one, or one with each retriever of a pool."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from agent.auto import Chooser
from agent.driver import Event, Searcher, drive
from agent.history import History
from agent.methods import METHODS, Method
from agent.policy import Policy
from agent.trajectory import AUTO, Limits, Message, Search, Today, Trajectory
from index.documents import Document
from index.searching import AsyncSearch
from index.values import Passage
from index.when.scope import Scope
from server.queue import Ticket
from server.settings import Settings


@dataclass(frozen=True)
class AnswerRequest:
    """One question of one user, validated, with the settings' defaults filled in."""

    user: str
    question: str
    method: Method
    retriever: str
    limits: Limits
    scope: Scope
    """The day on which it is asked, and the limits of its searches in time."""
    conversation: tuple[Message, ...] = ()
    plan: str = ""
    """The points that the answer is to cover, if the caller gave them."""
    compare: bool = False
    """Whether to answer the question also without the person's history."""
    message: Document | None = None
    """The question as a document of the person, to be stored once it is answered."""
    competing: tuple[str, ...] = ()
    """Retrievers with each of which the question is answered, so that the best answer can be chosen."""
    named_by: str | None = None
    """Source of the user. See AnswerRecord."""

    @property
    def trajectories(self) -> int:
        """The number of trajectories, each of which takes a turn in the queue."""
        return max(len(self.competing), 1) + self.compare


class Runner:
    """Runs episodes with the service's policy, planner and search. They stay the caller's."""

    def __init__(
        self,
        policy: Policy,
        planner: Policy | None,
        settings: Settings,
        search: AsyncSearch,
        chooser: Chooser | None,
    ) -> None:
        self._policy = policy
        self._planner = planner
        self._settings = settings
        self._search = search
        self.chooser = chooser

    def run(
        self, request: AnswerRequest, tickets: Sequence[Ticket]
    ) -> AsyncGenerator[Event | Trajectory, None]:
        """The steps of the answer as they happen and, last, its trajectory. Takes one ticket a trajectory."""
        if request.competing:
            return self._best(request, tickets[: len(request.competing)])
        return self._one(request, request.method, request.retriever, request.limits, tickets[0])

    async def without_profile(self, request: AnswerRequest, ticket: Ticket) -> Trajectory:
        """Answer the question without the person's history."""
        trajectory, _ = await _read(
            self._one(request, METHODS["none"], request.retriever, request.limits, ticket)
        )
        return trajectory

    async def _best(
        self, request: AnswerRequest, tickets: Sequence[Ticket]
    ) -> AsyncGenerator[Event | Trajectory, None]:
        """Answer with all competing retrievers at once; only the steps of the chosen answer are yielded."""
        assert self.chooser is not None
        turns = dict(zip(request.competing, tickets, strict=True))
        events: dict[str, list[Event]] = {}

        async def answer(member: str, limits: Limits) -> Trajectory:
            run = self._one(request, request.method, member, limits, turns[member])
            trajectory, events[member] = await _read(run)
            return trajectory

        trajectory = await self.chooser.compete(request.user, request.limits, answer)
        if trajectory.selection:
            for event in events[trajectory.selection.retriever]:
                yield event
        yield trajectory

    async def _one(
        self, request: AnswerRequest, method: Method, retriever: str, limits: Limits, ticket: Ticket
    ) -> AsyncGenerator[Event | Trajectory, None]:
        """Wait in the queue, then run one episode to its end. The wait counts against the deadline."""
        scope = request.scope
        episode = method.begin(
            request.question,
            limits,
            conversation=request.conversation,
            today=Today(scope.today, scope.time_zone),
            protocol=self._settings.policy.protocol,
            plan=request.plan if method.plans else "",
            planner_protocol=self._settings.planning.protocol,
        )
        selection = None
        with ticket:
            awaited = "this question's turn in the queue"
            try:
                async with asyncio.timeout(episode.seconds_left) as limit:
                    await ticket.turn()
                    if retriever == AUTO and method.reads and self.chooser:
                        awaited = "a retriever was chosen"
                        selection = await self.chooser.before(request.user, request.question, limits, scope)
            except TimeoutError:
                if not limit.expired():
                    raise
                episode.finish("deadline", f"the deadline passed before {awaited}")
            chosen = selection.retriever if selection else retriever
            history = History(self._search, request.user, chosen, scope)
            search = _without(request.message.id, history.search) if request.message else history.search
            driven = drive(episode, self._policy, search, self._planner, history.notice)
            async with aclosing(driven) as events:
                async for event in events:
                    yield event
        # Read late: a policy that is not configured with a model's name learns it from its server.
        yield replace(episode.trajectory, policy=self._policy.name, selection=selection)


def _without(document_id: str, search: Searcher) -> Searcher:
    """Searches that leave out a document.

    If a request is repeated, its question is stored already, and would be its own evidence.
    """

    async def others(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
        found = await search(one, k + 1, exclude)
        return [passage for passage in found if passage.document_id != document_id][:k]

    return others


async def _read(run: AsyncGenerator[Event | Trajectory, None]) -> tuple[Trajectory, list[Event]]:
    """The trajectory, and the steps before it."""
    events: list[Event] = []
    async with aclosing(run):
        async for event in run:
            if isinstance(event, Trajectory):
                return event, events
            events.append(event)
    raise RuntimeError("the answer ended without a trajectory")
