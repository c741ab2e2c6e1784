"""The service itself, without HTTP: the API and the local command line both call it.

Blocking work (database, encoder, FAISS) runs in threads, so that no request waits for another's.
"""

import asyncio
import functools
import logging
import sys
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar, Unpack

from agent.auto import NEEDS_SELECTOR, Chooser
from agent.driver import Event
from agent.methods import METHODS, Method
from agent.policy import Policy
from agent.selecting import Selector
from agent.trajectory import AUTO, Message, Trajectory
from index.batching import Batcher
from index.documents import Document, iso
from index.errors import StoreUnavailable, UnknownRetriever
from index.profiles import Profiles
from index.ranking.expanding import Expander, Expanding
from index.ranking.reranking import Reranker, Reranking
from index.ranking.retrievers import DEFAULT
from index.searching import AsyncSearch
from index.storage.answers import StoredAnswer
from index.values import ANY_TIME, Passage, Period, PutItems, PutOptions, PutReport, Receipt, check_name
from index.when.scope import scope_of
from server.answering import Answering
from server.answers import AnswerRecord, AskOptions, Feedback
from server.metrics import Metrics
from server.queue import Allowance, Busy, FairQueue, FairThreads, Ticket
from server.remembering import as_document, remembered
from server.running import AnswerRequest, Runner
from server.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)
_NOW = functools.partial(datetime.now, UTC)

THREADS = 8
"""For blocking work. More would only contend for the interpreter; waiting requests are batched instead."""
PAGE = 100
"""Documents read at a time when all of them are wanted."""
SHORT_SEARCH = 1_000
"""Characters of queries up to which only THREADS searches of clients are in progress, so that a crowd of them
leaves the interpreter time for answers. Longer ones spend theirs at the encoder, where users take turns."""
IMPORTS = 2
"""Threads that read, split and write documents. No import keeps one: encoding, which takes nearly all of the
time, does not need it."""


class InvalidQuestion(ValueError):
    """The question or one of its options is not acceptable; the message says why."""


class UnknownMethod(InvalidQuestion):
    """The requested method does not exist."""


class Service:
    """Profiles and a policy, joined. Close it with `aclose`.

    `planner` writes the plans of the method `planpers`; without one, the caller has to give the plan.
    `selector` chooses for the retriever `auto`. `reranker` reranks what searches find, and
    `expander` writes what they look for beside the question. `clock` tells which day it is.
    """

    def __init__(
        self,
        profiles: Profiles,
        policy: Policy,
        settings: Settings,
        planner: Policy | None = None,
        selector: Selector | None = None,
        reranker: Reranker | None = None,
        expander: Expander | None = None,
        clock: Callable[[], datetime] = _NOW,
    ) -> None:
        self.profiles = profiles
        self.policy = policy
        self.planner = planner
        self.settings = settings
        self._clock = clock
        limits = settings.limits
        self.queue = FairQueue(limits.concurrency, limits.queue, each=limits.queue_per_user)
        self.allowance = Allowance(settings.limits.requests)
        self.metrics = Metrics()
        self.metrics.gauge("pr2_running_answers", "Answers in progress.", lambda: self.queue.running)
        self.metrics.gauge("pr2_waiting_answers", "Questions in the queue.", lambda: self.queue.waiting)
        self._threads = ThreadPoolExecutor(THREADS, "pr2")
        # Separate from the others: deadlines bound the wait for a slow search, but nothing bounds storing.
        self._searches = FairThreads(THREADS, "pr2-search")
        # Separate as well, so that answers never wait for the searches of hundreds of clients.
        self._episodes = FairThreads(THREADS, "pr2-episode")
        self._imports = FairThreads(IMPORTS, "pr2-import")
        self._reranks = FairThreads(reranker.calls if reranker else 1, "pr2-rerank")
        self.reranking: Reranking | None = None
        if reranker:
            shape = (settings.rerank_candidates, settings.rerank_ms)
            self.reranking = Reranking(reranker, *shape, self._reranks.run)
            counts = self.reranking.counts
            self.metrics.counts(
                "pr2_reranked_queries", "Queries, by what the reranker did.", "outcome", lambda: vars(counts)
            )
        self.expanding = Expanding(expander, settings.expand_ms) if expander else None
        around = (self.reranking, self.expanding)
        self._search = AsyncSearch(profiles, self._searches.run, "searches", *around)
        self._short_searches = FairQueue(THREADS, sys.maxsize)
        search = AsyncSearch(profiles, self._episodes.run, "answers", *around)
        # One thread: the model's own threads use all cores. Users take turns at it.
        self._choices = FairThreads(1, "pr2-selector")
        chooser = Chooser(selector, search, self._choices.run) if selector else None
        self._runner = Runner(policy, planner, settings, search, chooser)
        self._save = Batcher(self._save_together)

    async def aclose(self) -> None:
        """Close the engines, the threads and the database."""
        try:
            await self.close_engines()
        finally:
            for threads in (self._searches, self._episodes, self._imports, self._choices, self._reranks):
                threads.shutdown()
            self._threads.shutdown(cancel_futures=True)
            self.profiles.store.close()

    async def close_engines(self) -> None:
        """Close what would outlive this process: the engines' connections and processes."""
        expander = self.expanding.expander if self.expanding else None
        await asyncio.gather(*(each.aclose() for each in {self.policy, self.planner, expander} if each))

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work in a thread of the service."""
        do = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, do)

    async def put(self, user: str, documents: PutItems, **options: Unpack[PutOptions]) -> PutReport:
        """See Profiles.put. Raises Busy.

        `documents` is read in threads, and not after this has returned. An import takes turns with those of
        other users, so a short one is done before a long one that began earlier. If it is cancelled, it ends
        within a batch and has stored nothing, unless it had stored everything.
        """
        with self.allowance.use(user), self.profiles.importing(user, documents, **options) as work:
            return await work.finish_in(self._imports.run)

    async def search(
        self,
        user: str,
        queries: Sequence[str],
        k: int,
        name: str | None = None,
        period: Period = ANY_TIME,
    ) -> list[list[Passage]]:
        """See Profiles.search. Raises Busy, and InvalidPeriod for a `period` that has no day.

        Users take turns, and concurrent queries are encoded together.

        Without a name, the settings' retriever is used. `auto` chooses for questions: it is refused here, and
        with it in the settings, the default retriever is used.
        """
        if name == AUTO:
            raise UnknownRetriever(
                f"{AUTO} chooses for a question that is answered; a search names a retriever"
            )
        name = name or (DEFAULT if self.settings.retriever == AUTO else self.settings.retriever)
        scope = scope_of(period, self.settings.time_zone, self._clock())
        with self.allowance.use(user):
            # Others wait neither for the expander nor for the reranker.
            sentences = await self._search.expand(queries, name)
            find = functools.partial(
                self._search.find, user, queries, k, name, scope=scope, sentences=sentences
            )
            if sum(map(len, queries)) > SHORT_SEARCH:
                found = await find()
            else:
                with self._short_searches.enter(user) as ticket:
                    await ticket.turn()
                    found = await find()
            return await self._search.rerank(user, queries, found, k, name)

    async def pages(self, user: str) -> AsyncGenerator[list[Document], None]:
        """All documents, in the order in which they were first put. Raises UnknownUser."""
        after = -1
        while page := await self.run(self.profiles.store.documents, user, after, PAGE):
            yield [document for _, document in page]
            after = page[-1][0]

    async def similar(self, user: str, document_ids: Sequence[str], k: int) -> list[list[Passage]]:
        """See Profiles.similar. Raises Busy."""
        with self.allowance.use(user):
            return await self._search.similar(user, document_ids, k)

    async def delete_document(self, user: str, document_id: str) -> None:
        """See Profiles.delete_document."""
        await self.run(self.profiles.delete_document, user, document_id)

    async def erase(self, user: str) -> Receipt:
        """See Profiles.erase."""
        return await self.run(self.profiles.erase, user)

    async def prepare(
        self,
        user: str,
        question: str,
        conversation: Sequence[Message] = (),
        **options: Unpack[AskOptions],
    ) -> AnswerRequest:
        """Validate a question, before a response begins.

        Raises InvalidName, InvalidQuestion, InvalidPeriod, UnknownMethod, UnknownRetriever, SpaceUnavailable,
        UnknownUser, and pydantic's ValidationError for a limit that is out of bounds.
        """
        check_name(user)
        self.check_question(question)
        method = options.get("method") or next(iter(METHODS))
        if method not in METHODS:
            raise UnknownMethod(f"there is no method {method!r}; there are {', '.join(METHODS)}")
        plan, compare = options.get("plan") or "", options.get("compare", False)
        self.check(METHODS[method], plan)
        name = options.get("retriever") or self.settings.retriever
        chooser = self.chooser(name)
        moment = self._clock()
        request = AnswerRequest(
            user=user,
            question=question.strip(),
            method=METHODS[method],
            retriever=name,
            limits=self.settings.limits.limits(options.get("limits")),
            conversation=tuple(conversation),
            plan=plan,
            compare=compare,
            message=as_document(question.strip(), conversation, moment.astimezone())
            if options.get("remember")
            else None,
            competing=chooser.competing if chooser and METHODS[method].reads else (),
            scope=scope_of(options.get("period") or ANY_TIME, self.settings.time_zone, moment),
        )
        admitted = self.settings.limits.concurrency + self.settings.limits.queue
        if request.trajectories > admitted:
            raise InvalidQuestion(
                f"this needs {request.trajectories} answers at a time, and the server admits {admitted}"
            )
        for retriever in chooser.selector.members if chooser else (name,):
            await self.run(self.profiles.check, user, retriever)
        return request

    def chooser(self, name: str) -> Chooser | None:
        """Chooses the retriever if `name` is `auto`; None for any other. Raises UnknownRetriever."""
        if name != AUTO:
            self.profiles.retrievers.get(name)
            return None
        if self._runner.chooser is None:
            raise UnknownRetriever(NEEDS_SELECTOR)
        return self._runner.chooser

    @property
    def most_trajectories(self) -> int:
        """The most trajectories of one question, each of which takes a turn in the queue."""
        chooser = self._runner.chooser
        return max(len(chooser.competing), 1) if chooser else 1

    def check_question(self, question: str) -> None:
        """Raise InvalidQuestion if the question is empty or too long."""
        if not question.strip():
            raise InvalidQuestion("the question is empty")
        self._check_length("question", question)

    def check(self, method: Method, plan: str = "") -> None:
        """Raise InvalidQuestion, with the reason, if this service cannot answer by the method."""
        if plan and not method.plans:
            raise InvalidQuestion(f"the method {method.name} takes no plan; planpers does")
        self._check_length("plan", plan)
        if method.plans and not plan and self.planner is None:
            raise InvalidQuestion(
                f"{method.name} needs a model that writes plans, or a plan; neither was given"
            )
        if method.searches and self.settings.policy.protocol == "json":
            raise InvalidQuestion(f"{method.name} searches, and a policy with the protocol json cannot")

    def _check_length(self, name: str, text: str) -> None:
        longest = self.settings.limits.question_characters
        if len(text) > longest:
            raise InvalidQuestion(
                f"the {name} has {len(text)} characters; the limit is {longest} (limits.question_characters)"
            )

    def answer(self, request: AnswerRequest) -> Answering:
        """Enter the question into the queue and answer it; its deadline counts from now. Raises Busy."""
        tickets: list[Ticket] = []
        try:
            for _ in range(request.trajectories):
                tickets.append(self.queue.enter(request.user))
        except Busy:
            for ticket in tickets:
                ticket.leave()
            raise
        answer_id = uuid.uuid4().hex
        return Answering(answer_id, self._answer(answer_id, request, tickets), tickets)

    async def _answer(
        self, answer_id: str, request: AnswerRequest, tickets: Sequence[Ticket]
    ) -> AsyncGenerator[Event | AnswerRecord, None]:
        trajectory: Trajectory | None = None

        def count_if_left() -> None:
            if trajectory is None:
                self.metrics.cancelled(request.method.name)

        async with AsyncExitStack() as stack:
            stack.callback(count_if_left)
            other = None
            if request.compare:
                other = asyncio.create_task(self._runner.without_profile(request, tickets[-1]))
                stack.push_async_callback(_stopped, other)
            events = await stack.enter_async_context(aclosing(self._runner.run(request, tickets)))
            async for event in events:
                if isinstance(event, Trajectory):
                    trajectory = event
                else:
                    yield event
            assert trajectory is not None
            record = AnswerRecord(
                id=answer_id,
                user=request.user,
                created_at=iso(self._clock()),
                method=request.method.name,
                retriever=request.retriever,
                trajectory=trajectory,
                without_profile=await other if other else None,
                named_by=request.named_by,
            )
        if request.message:
            record = await remembered(self.put, request.message, record)
        try:
            await self._save(StoredAnswer(request.user, record.id, record.to_dict()))
        except StoreUnavailable as error:
            # The answer is finished, and withholding it would help nobody.
            _log.error("an answer is delivered that cannot be stored: %s", error)
            record = replace(record, stored=False)
        self.metrics.answered(record.method, trajectory, stored=record.stored, compared=request.compare)
        yield record

    async def _save_together(self, answers: Sequence[StoredAnswer]) -> Sequence[Exception | None]:
        # One transaction for all: most of its time is the disk's, to make it durable.
        return await self.run(self.profiles.store.save_answers, answers)

    async def stored_answer(self, user: str, answer_id: str) -> Mapping[str, Any]:
        """Body of a stored answer. Raises UnknownUser, UnknownDocument."""
        body = await self.run(self.profiles.store.answer, user, answer_id)
        # Older answers do not say so.
        older = {
            "stored": True,
            "redacted": False,
            "named_by": None,
            "remembered": None,
            "not_remembered": None,
            "feedback": None,
        }
        return older | body

    async def rate(self, user: str, answer_id: str, feedback: Feedback) -> Feedback:
        """Store what a person says of an answer, in place of what they said before. Returns it with its time.

        Raises UnknownUser, UnknownDocument, and InvalidFeedback if the answer has no such citation.
        """
        given = replace(feedback, given_at=iso(self._clock()))
        await self.run(self.profiles.store.change_answer, user, answer_id, given.added_to)
        self.metrics.rated(given.rating)
        return given


async def _stopped(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
