"""The state machine of one question, without I/O.

It knows the tags, the limits and the transcript; it never sleeps, fetches or calls a model. The HTTP server,
the batch client and training all use this class, so training and serving give the same transcripts.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from agent import citations, prompts, tags
from agent.days import read_search
from agent.information import InformationBlock, information_block, unread
from agent.policy import Chunk
from agent.trajectory import (
    Answer,
    AnswerDelta,
    FinishReason,
    Information,
    Invalid,
    Limits,
    Message,
    Plan,
    PolicyFault,
    PolicyProtocol,
    Read,
    Search,
    Segment,
    Step,
    Thought,
    Today,
    Trajectory,
)
from index.documents import Passage
from index.values import Notice

Action = Search | Answer | Invalid


class Episode:
    """One question from the first prompt to the finish reason.

    A driver gives `prompt` to the policy and passes its text to `take` (or `feed` and `end_turn`) until a
    search is `pending` or there is a `finish_reason`. It answers a pending search with `provide`.

    The prompt states `today`, if it is given. `first_query` starts the episode with a pending search, before
    the policy has written anything.
    `planning` is an episode whose answer is the plan: the driver runs it first, then calls `take_plan`.
    `now` asks the policy to answer when no searches are left. With `protocol` "tools" or "json", a chat
    model's output arrives as the same tags, and a missing thought is no violation.
    """

    def __init__(
        self,
        question: str,
        instructions: str | None = None,
        limits: Limits | None = None,
        *,
        conversation: Sequence[Message] = (),
        today: Today | None = None,
        first_query: str | None = None,
        protocol: PolicyProtocol = "tags",
        plan: str = "",
        planning: "Episode | None" = None,
        now: str = prompts.ANSWER_NOW,
        policy: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.question = question
        self.limits = limits or Limits()
        self.steps: list[Step] = []
        self.finish_reason: FinishReason | None = None
        self.prompt_tokens = 0
        self.policy_tokens = 0
        self.policy_ms = 0.0
        self.search_ms = 0.0
        self.passages_dropped = 0
        self._policy = policy
        self._clock = clock
        self._began = clock()
        self._ended = self._began
        self.protocol = protocol
        self.conversation = tuple(conversation)
        self.today = today
        self.instructions = prompts.BY_PROTOCOL[protocol] if instructions is None else instructions
        self._version = prompts.version_of(self.instructions, protocol)
        self.planning = planning
        """The episode that writes the plan; None once that is done."""
        self.now = now
        self._segments = [Segment("environment", self._opening())]
        self._blocks: list[InformationBlock] = []
        self._turn = tags.TagParser()
        self._turn_ids: list[int] = []
        self.first_query = first_query
        self.pending = None if first_query is None else Search(first_query)
        """The search that is waiting for its passages."""
        self._last_turn = self.limits.max_searches == 0
        self._events: deque[Step | AnswerDelta] = deque()
        self._violations: Counter[str] = Counter()
        self._detail = ""
        self._fault: PolicyFault | None = None
        self._reads: dict[int, tuple[Read, int]] = {}
        if plan:
            self._plan(plan)

    @property
    def prompt(self) -> str:
        """The text for the policy to continue: the whole transcript so far."""
        return "".join(segment.text for segment in self._segments) + self._turn.text

    @property
    def plan(self) -> str:
        """The plan of the answer; '' without one."""
        return next((step.text for step in self.steps if isinstance(step, Plan)), "")

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The transcript, without the turn that is being written."""
        return tuple(self._segments)

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.limits.deadline_ms / 1000 - (self._clock() - self._began)

    @property
    def must_answer(self) -> bool:
        """Whether the policy has been asked to answer; another search would end the episode."""
        return self._last_turn

    @property
    def searches_left(self) -> int:
        made = sum(isinstance(step, Search) for step in self.steps)
        return 0 if self._last_turn else self.limits.max_searches - made

    @property
    def documents_left(self) -> int:
        """Documents that may still be read. Further passages of a document already read are free."""
        return max(self.limits.max_documents - len(self._documents_read), 0)

    @property
    def passages_wanted(self) -> int:
        """The number of passages to search for next."""
        return min(self.limits.top_k, self.documents_left)

    @property
    def tokens_left(self) -> int:
        """Tokens that the policy may still write; negative if it has exceeded the limit."""
        return self.limits.max_tokens - self.policy_tokens

    @property
    def information(self) -> tuple[str, ...]:
        """The contents of the information blocks, without their tags."""
        return tuple(block.body for block in self._blocks)

    @property
    def passages_read(self) -> frozenset[tuple[str, int]]:
        """Keys of the passages shown so far, which searches skip."""
        return frozenset(read.passage.key for read, _ in self._reads.values())

    @property
    def reads(self) -> tuple[Read, ...]:
        return tuple(read for read, _ in self._reads.values())

    def take_plan(self) -> None:
        """Continue with the plan that `planning` wrote; without one, end with its finish reason."""
        planning, self.planning = self.planning, None
        if planning is None:
            raise RuntimeError("no plan is being written")
        self.prompt_tokens += planning.prompt_tokens
        self.policy_tokens += planning.policy_tokens
        self.policy_ms += planning.policy_ms
        self.search_ms += planning.search_ms
        planned = planning.trajectory
        if planned.finish_reason == "answered" and planned.answer is not None:
            self._plan(planned.answer.text)
        else:
            why = f"no plan was written ({planned.detail or planned.finish_reason})"
            self.finish(planned.finish_reason or "cancelled", why, fault=planned.fault)

    def take(self, chunk: Chunk) -> None:
        """Count and read a chunk of the policy's turn, and end the turn if the chunk does."""
        self.policy_tokens += chunk.tokens
        self.prompt_tokens += chunk.prompt_tokens
        self.feed(chunk.text, chunk.token_ids)
        if chunk.invalid:
            self.reject(chunk.invalid)
        elif chunk.finish == "length":
            self.cut_off("max_tokens")
        elif chunk.finish == "stop":
            self.end_turn()

    def feed(self, text: str, token_ids: Sequence[int] = ()) -> Action | None:
        """Read the next piece of the policy's text. Returns the action that ends the turn, once.

        `token_ids` are the sampled tokens, from policies that work with tokens. Text after an action is
        ignored until `provide` is called, so an old query cannot fire again.
        """
        if self.pending or self.finish_reason is not None:
            return None
        self._turn_ids.extend(token_ids)
        return self._apply(self._turn.feed(text))

    def end_turn(self) -> Action | None:
        """End the turn: the policy has stopped. A turn without an action is invalid."""
        if self.pending or self.finish_reason is not None:
            return None
        return self._apply(self._turn.close())

    def reject(self, reason: str) -> Invalid | None:
        """Declare the turn invalid, for a reason that its text does not show."""
        if self.pending or self.finish_reason is not None:
            return None
        return self._invalid(reason)

    def cut_off(self, reason: Literal["max_tokens", "deadline"]) -> Answer | None:
        """End the episode at a limit. A partial answer is kept."""
        if self.finish_reason is not None:
            return None
        # Read before the turn is closed: an incomplete closing tag is not part of the answer.
        partial = self._turn.partial_answer
        answer = self._answer(partial) if partial else None
        self.finish(reason)
        return answer

    @property
    def notices(self) -> tuple[Notice, ...]:
        """The notices about the days of all searches so far."""
        return tuple(one for step in self.steps if isinstance(step, Information) for one in step.notices)

    def preview(
        self, passages: Iterable[Passage], *, last: bool = False, notices: Iterable[Notice] = ()
    ) -> str:
        """The information block that `provide` would append, without changing the episode."""
        return self._block(*self._found(passages, last), tuple(notices)).text

    def provide(
        self, passages: Iterable[Passage], *, last: bool = False, notices: Iterable[Notice] = ()
    ) -> str:
        """Answer the pending search. Returns the information block that was appended to the transcript.

        `notices` come before the passages. `last=True` asks the policy to answer now, even if searches are
        left (the deadline is near). Raises RuntimeError if no search is pending, which is an error of the
        driver, not of the policy.
        """
        new, self._last_turn = self._found(passages, last)
        told = tuple(notices)
        block = self._block(new, self._last_turn, told)
        step = len(self.steps)
        self._reads |= {read.number: (read, step) for read in new}
        self._add(Information(tuple(new), self._now(), notices=told))
        self._blocks.append(block)
        self._segments.append(Segment("environment", block.text))
        self._turn = tags.TagParser()
        self.pending = None
        return block.text

    def drop_oldest_passage(self) -> bool:
        """Remove the oldest passage from the transcript, when the context is full. False if none is left.

        A removed passage counts as read and can still be cited.
        """
        block = next((block for block in self._blocks if block.lines), None)
        if block is None:
            return False
        block.lines.pop(0)
        block.empty = prompts.LEFT_OUT
        self._segments[block.segment] = Segment("environment", block.text)
        self.passages_dropped += 1
        return True

    def encode(self, index: int, token_ids: Sequence[int]) -> None:
        """Set the tokens of segment `index`. Raises ValueError unless the environment wrote it."""
        segment = self._segments[index]
        if segment.author != "environment":
            raise ValueError("text written by the policy is never encoded again")
        self._segments[index] = replace(segment, token_ids=tuple(token_ids))

    def finish(self, reason: FinishReason, detail: str = "", *, fault: PolicyFault | None = None) -> None:
        """End the episode. Later calls have no effect."""
        if self.finish_reason is None:
            self.finish_reason = reason
            self._detail = detail
            self._fault = fault
            self._ended = self._clock()
            self.pending = None
            self._turn.close()
            self._close_segment()

    def take_events(self) -> list[Step | AnswerDelta]:
        """The steps and pieces of the answer since the last call, in order."""
        taken = list(self._events)
        self._events.clear()
        return taken

    @property
    def trajectory(self) -> Trajectory:
        """The episode so far, as plain values."""
        segments = list(self._segments)
        if self.finish_reason is None and (self._turn.text or self._turn_ids):
            segments.append(self._written)
        ended = self._clock() if self.finish_reason is None else self._ended
        return Trajectory(
            question=self.question,
            limits=self.limits,
            policy=self._policy,
            prompt_version=self._version,
            protocol=self.protocol,
            conversation=self.conversation,
            today=self.today,
            steps=tuple(self.steps),
            segments=tuple(segments),
            finish_reason=self.finish_reason,
            detail=self._detail,
            fault=self._fault,
            violations=dict(self._violations),
            passages_dropped=self.passages_dropped,
            prompt_tokens=self.prompt_tokens,
            policy_tokens=self.policy_tokens,
            policy_ms=round(self.policy_ms, 3),
            search_ms=round(self.search_ms, 3),
            total_ms=round((ended - self._began) * 1000, 3),
        )

    def _found(self, passages: Iterable[Passage], last: bool) -> tuple[list[Read], bool]:
        """The passages to show, and whether the policy then has to answer."""
        if self.pending is None:
            raise RuntimeError("no search is waiting for passages")
        new = unread(passages, self.reads, self.limits.max_documents)
        documents = self._documents_read | {read.passage.document_id for read in new}
        return new, last or self.searches_left == 0 or len(documents) >= self.limits.max_documents

    def _block(self, new: list[Read], must_answer: bool, notices: Sequence[Notice]) -> InformationBlock:
        asks, problem = self.now if must_answer else "", self.pending.problem if self.pending else ""
        return information_block(len(self._segments), new, notices, problem, asks)

    def _opening(self, plan: str = "") -> str:
        searches, said = self.limits.max_searches, (self.conversation, self.today)
        return prompts.opening(self.question, self.instructions, searches, *said, plan=plan, now=self.now)

    def _plan(self, text: str) -> None:
        self._add(Plan(text, self._now()))
        self._segments[0] = Segment("environment", self._opening(text))

    def _apply(self, events: list[tags.TagEvent]) -> Action | None:
        for event in events:
            match event:
                case tags.Deviation(kind):
                    if self.protocol == "tags":
                        self._violations[kind] += 1
                case tags.ThoughtClosed(text):
                    self._add(Thought(text, self._now()))
                case tags.AnswerText(text):
                    self._events.append(AnswerDelta(text))
                case tags.SearchClosed(query, days):
                    return self._search(query, days)
                case tags.AnswerClosed(text):
                    answer = self._answer(text)
                    if answer is None:
                        return self._invalid("empty_answer")
                    self.finish("answered")
                    return answer
                case tags.Broken(reason):
                    return self._invalid(reason)
        return None

    def _search(self, query: str, days: str) -> Action:
        if self._last_turn:
            return self._invalid("max_searches")
        search = read_search(query, days, self.today.day if self.today else None, self._now())
        if search.problem:
            self._violations["invalid_days"] += 1
        self._add(search)
        self._close_segment()
        self.pending = search
        return search

    def _answer(self, text: str) -> Answer | None:
        """Add the answer; None if only invalid citation marks were written."""
        resolved, found, dropped = citations.resolve(text, self._reads)
        if not resolved:
            return None
        answer = Answer(resolved, found, dropped, self._now())
        self._add(answer)
        return answer

    def _invalid(self, reason: str) -> Invalid:
        invalid = Invalid(reason, self._now())
        self._add(invalid)
        self.finish("max_searches" if reason == "max_searches" else "invalid", reason)
        return invalid

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        self._events.append(step)

    def _close_segment(self) -> None:
        if self._turn.text or self._turn_ids:
            self._segments.append(self._written)
            self._turn = tags.TagParser()
            self._turn_ids = []

    @property
    def _written(self) -> Segment:
        return Segment("policy", self._turn.text, tuple(self._turn_ids) or None)

    @property
    def _documents_read(self) -> set[str]:
        return {read.passage.document_id for read, _ in self._reads.values()}

    def _now(self) -> float:
        return round((self._clock() - self._began) * 1000, 3)
