"""The record of one question: plain values that survive JSON unchanged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from index.numbers import Integer
from index.values import Notice, Passage

FinishReason = Literal[
    "answered", "max_searches", "max_tokens", "deadline", "invalid", "policy_error", "cancelled"
]
PolicyProtocol = Literal["tags", "tools", "json"]
"""How the policy acts: it writes the tags, calls a tool of a chat API, or replies with JSON only."""
PolicyFault = Literal["unavailable", "timeout", "broken_stream", "bad_reply", "refused"]
"""How a policy failed: not reachable, timed out, stream cut off, invalid reply, or request refused."""


@dataclass(frozen=True)
class Limits:
    """The limits of one question: `top_k` documents per search, `max_documents` in total."""

    max_searches: Integer = 4
    top_k: Integer = 5
    max_documents: Integer = 20
    max_tokens: Integer = 2048
    deadline_ms: Integer = 60_000


@dataclass(frozen=True)
class Today:
    """The day on which a question is asked, where the person is."""

    day: date
    time_zone: str = "UTC"
    """IANA name of the person's time zone. Data sets do not tell any: theirs is UTC."""


@dataclass(frozen=True)
class Message:
    """An earlier message of the conversation that the question belongs to."""

    role: Literal["user", "assistant", "system"]
    text: str


@dataclass(frozen=True)
class Thought:
    text: str
    at_ms: float = 0.0
    """Milliseconds from the start of the episode to the end of the step."""
    kind: Literal["thought"] = "thought"


@dataclass(frozen=True)
class Plan:
    """The expected content of the answer, written by a planner or given by the caller."""

    text: str
    at_ms: float = 0.0
    kind: Literal["plan"] = "plan"


@dataclass(frozen=True)
class Search:
    query: str
    at_ms: float = 0.0
    kind: Literal["search"] = "search"
    after: date | None = None
    """The first day to which the policy limits it; None without such a limit."""
    before: date | None = None
    """The day behind the last one."""
    problem: str = ""
    """Why it was not made: the policy wrote days that do not exist, or none that can be read."""

    @property
    def described(self) -> str:
        """The query for people to read, with its days, or why it was not made."""
        if self.problem:
            return f"{self.query} (not made: {self.problem})"
        days = [f"{name} {day}" for name, day in (("from", self.after), ("before", self.before)) if day]
        return f"{self.query} ({' '.join(days)})" if days else self.query


@dataclass(frozen=True)
class Read:
    """A passage that the policy was shown, with the number by which the answer cites it."""

    number: int
    passage: Passage


@dataclass(frozen=True)
class Information:
    passages: tuple[Read, ...]
    at_ms: float = 0.0
    kind: Literal["information"] = "information"
    notices: tuple[Notice, ...] = ()
    """Said to the policy about the days of the search, before the passages."""


@dataclass(frozen=True)
class Citation:
    """The sentence that a mark `[number]` cites.

    `quote` is a verbatim substring of the document: its characters `start` to `end`. `step` is the
    index, in the trajectory, of the information step with the passage.
    """

    number: int
    document_id: str
    quote: str
    start: int
    end: int
    step: int


@dataclass(frozen=True)
class Answer:
    text: str
    citations: tuple[Citation, ...] = ()
    dropped_marks: int = 0
    """The number of marks without a passage, which are removed from `text`."""
    at_ms: float = 0.0
    kind: Literal["answer"] = "answer"


@dataclass(frozen=True)
class Invalid:
    """An invalid turn, and the reason."""

    reason: str
    at_ms: float = 0.0
    kind: Literal["invalid"] = "invalid"


Step = Plan | Thought | Search | Information | Answer | Invalid


@dataclass(frozen=True)
class AnswerDelta:
    """A piece of the answer while it is being written. Streamed, not stored: the answer step has it all."""

    text: str
    kind: Literal["answer.delta"] = "answer.delta"


@dataclass(frozen=True)
class Segment:
    """A part of the transcript and its author. Training masks the environment's text."""

    author: Literal["environment", "policy"]
    text: str
    token_ids: tuple[int, ...] | None = None
    """The tokens of the segment, if the policy works with tokens; else None.

    For the policy's text, these are the tokens that it sampled, never the text encoded again: the last one
    may extend past the end of `text`.
    """


@dataclass(frozen=True)
class Cost:
    """The cost of several trajectories together."""

    trajectories: int
    searches: int
    prompt_tokens: int
    policy_tokens: int
    policy_ms: float
    search_ms: float


AUTO = "auto"
"""In place of a retriever's name: a trained selector chooses one for the question."""


@dataclass(frozen=True)
class Selection:
    """The choice of a retriever for this question by a trained selector (RSPG, arXiv 2404.05970)."""

    mode: Literal["pre", "post"]
    """Whether the retriever was chosen before the answer was written, or its answer among those of all."""
    retriever: str
    scores: Mapping[str, float | None]
    """By retriever, in the pool's order. None for one whose answer was not finished, and did not compete."""
    ms: float
    """Milliseconds that choosing took, without the trajectories."""
    others: Cost | None = None
    """The trajectories that were not chosen; None if there are none."""


@dataclass(frozen=True)
class Trajectory:
    """The steps, the exact transcript, the costs and the finish reason of one question."""

    question: str
    limits: Limits
    policy: str = ""
    prompt_version: str = ""
    protocol: PolicyProtocol = "tags"
    conversation: tuple[Message, ...] = ()
    today: Today | None = None
    """The day that the prompt states; None if it states none, as before prompt version 2."""
    steps: tuple[Step, ...] = ()
    segments: tuple[Segment, ...] = ()
    finish_reason: FinishReason | None = None
    detail: str = ""
    fault: PolicyFault | None = None
    violations: Mapping[str, int] = field(default_factory=dict)
    passages_dropped: int = 0
    """The number of passages removed from the transcript to make room in the policy's context."""
    prompt_tokens: int = 0
    """Tokens that the policy read in all turns together: an engine reads the transcript again for each."""
    policy_tokens: int = 0
    policy_ms: float = 0.0
    search_ms: float = 0.0
    total_ms: float = 0.0
    selection: Selection | None = None
    """With the retriever `auto`: what was chosen."""

    @property
    def tokens_read(self) -> int:
        """Tokens that the policy read for this question, also in trajectories that were not chosen."""
        others = self.selection.others if self.selection else None
        return self.prompt_tokens + (others.prompt_tokens if others else 0)

    @property
    def tokens_written(self) -> int:
        """Tokens that the policy wrote for this question, also in trajectories that were not chosen."""
        others = self.selection.others if self.selection else None
        return self.policy_tokens + (others.policy_tokens if others else 0)

    @property
    def answer(self) -> Answer | None:
        last = self.steps[-1] if self.steps else None
        return last if isinstance(last, Answer) else None

    @property
    def transcript(self) -> str:
        return "".join(segment.text for segment in self.segments)

    @property
    def searches(self) -> int:
        return sum(isinstance(step, Search) for step in self.steps)

    @property
    def documents_read(self) -> tuple[str, ...]:
        """The ids of the documents that were read, in order of their first passage."""
        reads = (read for step in self.steps if isinstance(step, Information) for read in step.passages)
        return tuple(dict.fromkeys(read.passage.document_id for read in reads))

    def to_dict(self) -> dict[str, Any]:
        """The trajectory as JSON values; `Trajectory.from_dict` restores it."""
        values = {name: plain(value) for name, value in vars(self).items()}
        for name in ("today", "selection"):
            if values[name] is None:
                del values[name]
        return values | {"transcript": self.transcript}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Trajectory":
        """The inverse of `to_dict`. Raises KeyError or TypeError for other data."""
        values = {name: value for name, value in data.items() if name != "transcript"}
        values["limits"] = Limits(**data["limits"])
        values["conversation"] = tuple(Message(**message) for message in data.get("conversation", ()))
        if (today := data.get("today")) is not None:
            values["today"] = Today(date.fromisoformat(today["day"]), today["time_zone"])
        values["steps"] = tuple(_step(step) for step in data["steps"])
        values["segments"] = tuple(_segment(segment) for segment in data["segments"])
        if (selection := data.get("selection")) is not None:
            values["selection"] = _selection(selection)
        return cls(**values)


def plain(value: Any) -> Any:
    """Return a part of a trajectory as JSON has it."""
    # dataclasses.asdict would do the same, but copies every string of every passage.
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    fields = {name: plain(item) for name, item in vars(value).items()}
    # Only a passage that stands for others says so, or one whose order is not the reranker's.
    for name, usual in (("copies", 1), ("unreranked", False)):
        if fields.get(name) == usual:
            del fields[name]
    return fields


def _selection(data: Mapping[str, Any]) -> Selection:
    others = data["others"]
    return Selection(**{**data, "others": None if others is None else Cost(**others)})


def _segment(data: Mapping[str, Any]) -> Segment:
    ids = data.get("token_ids")
    return Segment(**{**data, "token_ids": None if ids is None else tuple(ids)})


def _with_days(data: Mapping[str, Any]) -> dict[str, Any]:
    days = {name: data[name] for name in ("after", "before") if data.get(name) is not None}
    return {**data, **{name: date.fromisoformat(day) for name, day in days.items()}}


def _step(data: Mapping[str, Any]) -> Step:
    values = dict(data)
    match values["kind"]:
        case "plan":
            return Plan(**values)
        case "thought":
            return Thought(**values)
        case "search":
            return Search(**_with_days(values))
        case "information":
            values["passages"] = tuple(
                Read(read["number"], Passage(**read["passage"])) for read in values["passages"]
            )
            values["notices"] = tuple(Notice(**_with_days(one)) for one in values.get("notices", ()))
            return Information(**values)
        case "answer":
            values["citations"] = tuple(Citation(**citation) for citation in values["citations"])
            return Answer(**values)
        case "invalid":
            return Invalid(**values)
    raise KeyError(f"no step of kind {values['kind']!r}")
