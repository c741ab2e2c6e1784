"""The state machine of one question, without any I/O.

It knows the tags, the limits and the transcript; it never sleeps, fetches or calls a model. The HTTP
server, the batch client and training all drive this class, so what is trained is what is served.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from agent import citations, prompts, tags
from agent.information import InformationBlock, passage_line, unread
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
    Trajectory,
)
from index.documents import Passage

Action = Search | Answer | Invalid

_INSTRUCTIONS: Mapping[PolicyProtocol, str] = {
    "tags": prompts.INSTRUCTIONS,
    "tools": prompts.TOOL_INSTRUCTIONS,
    "json": prompts.JSON_INSTRUCTIONS,
}


class Episode:
    """One question from the first prompt to the finish reason.

    The driver's loop: give `prompt` to the policy and `feed` what it writes until an action comes back;
    on `Search`, look it up and `provide` the passages; on `Answer` or `Invalid` the episode is over.
    When the policy stops without an action, say so with `end_turn`.

    With `first_query` the episode begins with that search pending, before the policy has written anything.
    With `planning`, another episode whose answer is the plan, this one waits: the driver runs that one to
    its end and calls `take_plan`. `now` is what the policy is told when no searches are left.
    With `protocol="tools"` or "json" a chat model's calls and words arrive as the same tags; that it thinks
    in silence is no deviation then.
    """

    def __init__(
        self,
        question: str,
        instructions: str | None = None,
        limits: Limits | None = None,
        *,
        conversation: Sequence[Message] = (),
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
        usual = _INSTRUCTIONS[protocol]
        self.instructions = usual if instructions is None else instructions
        self._version = prompts.PROMPT_VERSION if self.instructions == usual else "custom"
        self.planning = planning
        """The episode that writes the plan, until it has."""
        self.now = now
        self._segments = [Segment("environment", self._opening())]
        self._blocks: list[InformationBlock] = []
        self._turn = tags.TagParser()
        self._turn_ids: list[int] = []
        self.pending = None if first_query is None else Search(first_query)
        """The search that waits for its passages."""
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
        """What the answer is to cover, where that is known; else ''."""
        return next((step.text for step in self.steps if isinstance(step, Plan)), "")

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The transcript before the turn that is being written."""
        return tuple(self._segments)

    @property
    def seconds_left(self) -> float:
        """Until the deadline; negative when it has passed."""
        return self.limits.deadline_ms / 1000 - (self._clock() - self._began)

    @property
    def must_answer(self) -> bool:
        """Whether the policy has been asked to answer now; a search would end the episode."""
        return self._last_turn

    @property
    def searches_left(self) -> int:
        made = sum(isinstance(step, Search) for step in self.steps)
        return 0 if self._last_turn else self.limits.max_searches - made

    @property
    def documents_left(self) -> int:
        """How many more documents may be read; another part of one that was read is free."""
        return max(self.limits.max_documents - len(self._documents_read), 0)

    @property
    def passages_wanted(self) -> int:
        """How many passages to look for in the next search."""
        return min(self.limits.top_k, self.documents_left)

    @property
    def tokens_left(self) -> int:
        """How many more tokens the policy may write; negative if it has written too many."""
        return self.limits.max_tokens - self.policy_tokens

    @property
    def information(self) -> tuple[str, ...]:
        """What each information block says, without its tags."""
        return tuple(block.body for block in self._blocks)

    @property
    def passages_read(self) -> frozenset[tuple[str, int]]:
        """Keys of the passages that were shown; searching skips them, so that every search brings news."""
        return frozenset(read.passage.key for read, _ in self._reads.values())

    @property
    def reads(self) -> tuple[Read, ...]:
        return tuple(read for read, _ in self._reads.values())

    def take_plan(self) -> None:
        """Go on with what planning came to; without a plan, end for the reason that it ended for."""
        planning, self.planning = self.planning, None
        if planning is None:
            raise RuntimeError("nothing was being planned")
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
        """Count and read a piece of the policy's turn; where the chunk ends the turn, end it."""
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
        """Take the next piece of what the policy writes. Returns the action that ends the turn, once.

        `token_ids` are the tokens that were sampled for it, from policies that work with tokens. Text
        after the action, and text while passages are owed, is not read: an old query cannot fire again.
        """
        if self.pending or self.finish_reason is not None:
            return None
        self._turn_ids.extend(token_ids)
        return self._apply(self._turn.feed(text))

    def end_turn(self) -> Action | None:
        """The policy stopped writing. Without an action, that makes the turn invalid."""
        if self.pending or self.finish_reason is not None:
            return None
        return self._apply(self._turn.close())

    def reject(self, reason: str) -> Invalid | None:
        """The turn cannot be used, for a reason that its text does not show."""
        if self.pending or self.finish_reason is not None:
            return None
        return self._invalid(reason)

    def cut_off(self, reason: Literal["max_tokens", "deadline"]) -> Answer | None:
        """A limit ended the episode. An answer that was being written is kept as far as it got."""
        if self.finish_reason is not None:
            return None
        # Asked before the turn is closed: half a closing tag is no part of the answer.
        partial = self._turn.partial_answer
        answer = self._answer(partial) if partial else None
        self.finish(reason)
        return answer

    def preview(self, passages: Iterable[Passage], *, last: bool = False) -> str:
        """The information block that `provide` would append; nothing changes."""
        return self._block(*self._found(passages, last)).text

    def provide(self, passages: Iterable[Passage], *, last: bool = False) -> str:
        """Answer the pending search. Returns the information block that was appended to the transcript.

        `last=True` asks the policy to answer now, whatever searches are left (the deadline is near).
        Raises RuntimeError when no search is pending: that is an error of the driver, not of the policy.
        """
        new, self._last_turn = self._found(passages, last)
        block = self._block(new, self._last_turn)
        step = len(self.steps)
        self._reads |= {read.number: (read, step) for read in new}
        self._add(Information(tuple(new), self._now()))
        self._blocks.append(block)
        self._segments.append(Segment("environment", block.text))
        self._turn = tags.TagParser()
        self.pending = None
        return block.text

    def drop_oldest_passage(self) -> bool:
        """Take the passage that was shown first out of the transcript. False when none is left.

        For a policy whose context is full. The passage was read and can still be cited.
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
        """Say which tokens stand for segment `index`, which the environment wrote."""
        segment = self._segments[index]
        if segment.author != "environment":
            raise ValueError("what the policy wrote is never encoded again")
        self._segments[index] = replace(segment, token_ids=tuple(token_ids))

    def finish(self, reason: FinishReason, detail: str = "", *, fault: PolicyFault | None = None) -> None:
        """End the episode. The first reason stays."""
        if self.finish_reason is None:
            self.finish_reason = reason
            self._detail = detail
            self._fault = fault
            self._ended = self._clock()
            self.pending = None
            self._turn.close()
            self._close_segment()

    def take_events(self) -> list[Step | AnswerDelta]:
        """The steps and answer pieces since the last call, in order."""
        taken = list(self._events)
        self._events.clear()
        return taken

    @property
    def trajectory(self) -> Trajectory:
        """Everything so far, as plain values."""
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
        """What is shown of the passages, and whether the policy then has to answer."""
        if self.pending is None:
            raise RuntimeError("no search is waiting for passages")
        new = unread(passages, self.reads, self.limits.max_documents)
        documents = self._documents_read | {read.passage.document_id for read in new}
        return new, last or self.searches_left == 0 or len(documents) >= self.limits.max_documents

    def _block(self, new: list[Read], must_answer: bool) -> InformationBlock:
        asks = self.now if must_answer else ""
        return InformationBlock(
            len(self._segments), [passage_line(read) for read in new], prompts.NOTHING_FOUND, asks
        )

    def _opening(self, plan: str = "") -> str:
        searches = self.limits.max_searches
        return prompts.opening(
            self.question, self.instructions, searches, self.conversation, plan=plan, now=self.now
        )

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
                case tags.SearchClosed(query):
                    return self._search(query)
                case tags.AnswerClosed(text):
                    answer = self._answer(text)
                    if answer is None:
                        return self._invalid("empty_answer")
                    self.finish("answered")
                    return answer
                case tags.Broken(reason):
                    return self._invalid(reason)
        return None

    def _search(self, query: str) -> Action:
        if self._last_turn:
            return self._invalid("max_searches")
        search = Search(query, self._now())
        self._add(search)
        self._close_segment()
        self.pending = search
        return search

    def _answer(self, text: str) -> Answer | None:
        """None when nothing is left of it: it was only marks that point nowhere."""
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
