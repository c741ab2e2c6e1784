"""The options of a question and the record of its answer.

Light, so that the HTTP client imports quickly.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypedDict

from agent.trajectory import FinishReason, Trajectory
from index.values import Period

if TYPE_CHECKING:
    from agent.driver import Event


class AskOptions(TypedDict, total=False):
    """Options of a question. The server has a default for each that is omitted or None."""

    method: str | None
    retriever: str | None
    limits: Mapping[str, int] | None
    plan: str | None
    """With the method `planpers`: the points that the answer is to cover."""
    compare: bool
    """Also answer without the person's history."""
    remember: bool | None
    """Add the question, as the person's own message, to their history once it is answered."""
    period: Period | None
    """Limits of its searches in time."""


Rating = Literal["up", "down"]


@dataclass(frozen=True)
class Feedback:
    """A person's word on an answer."""

    rating: Rating
    comment: str = ""
    helped: tuple[int, ...] = ()
    """Numbers of the citations that helped."""
    given_at: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` restores them."""
        return vars(self) | {"helped": [*self.helped]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` wrote. Raises KeyError or TypeError for any other shape."""
        return cls(data["rating"], data["comment"], tuple(data["helped"]), data["given_at"])

    def added_to(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of an answer with this. Raises InvalidFeedback if the answer has no such citation."""
        cited = {citation["number"] for citation in body["citations"]}
        if unknown := sorted(set(self.helped) - cited):
            raise InvalidFeedback(f"the answer has no citation {unknown[0]}")
        return {**body, "feedback": self.to_dict()}


class InvalidFeedback(ValueError):
    """The feedback does not fit the answer; the message says why."""


@dataclass(frozen=True)
class AnswerRecord:
    """An answer: its trajectory, and the request that led to it."""

    id: str
    user: str
    created_at: str
    method: str
    retriever: str
    trajectory: Trajectory
    without_profile: Trajectory | None = None
    """The same question answered without the person's history, if the request asked to compare."""
    stored: bool = True
    """False if the database could not take the answer: it was delivered once and cannot be fetched again."""
    redacted: bool = False
    """Whether text of documents that were deleted since was removed from it."""
    named_by: str | None = None
    """Source of the user: `token`, `header`, `default`, `path`, or a field of the request.

    None on the command line and in answers stored before this field existed.
    """

    remembered: str | None = None
    """Id of the document that the question became in the person's history."""
    not_remembered: str | None = None
    """Why it did not become one, although that was asked for."""
    feedback: Feedback | None = None
    """The newest, which replaces what was said before."""

    def to_dict(self) -> dict[str, Any]:
        """The body of the API's answer: JSON values."""
        other = self.without_profile
        return {
            "id": self.id,
            "user": self.user,
            "named_by": self.named_by,
            "created_at": self.created_at,
            "question": self.trajectory.question,
            "method": self.method,
            "retriever": self.retriever,
            "policy": self.trajectory.policy,
            **_outcome(self.trajectory),
            "without_profile": _outcome(other) if other else None,
            "stored": self.stored,
            "redacted": self.redacted,
            "remembered": self.remembered,
            "not_remembered": self.not_remembered,
            "feedback": self.feedback.to_dict() if self.feedback else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` wrote. Raises KeyError, TypeError or ValueError for any other shape."""
        other, said = data.get("without_profile"), data.get("feedback")
        return cls(
            id=data["id"],
            user=data["user"],
            created_at=data["created_at"],
            method=data["method"],
            retriever=data["retriever"],
            trajectory=Trajectory.from_dict(data["trajectory"]),
            without_profile=Trajectory.from_dict(other["trajectory"]) if other else None,
            stored=data.get("stored", True),
            redacted=data.get("redacted", False),
            named_by=data.get("named_by"),
            remembered=data.get("remembered"),
            not_remembered=data.get("not_remembered"),
            feedback=Feedback.from_dict(said) if said else None,
        )


@dataclass(frozen=True)
class AnswerSummary:
    """A past question, as a list of them shows it."""

    id: str
    created_at: str
    question: str
    method: str
    finish_reason: FinishReason
    answer: str | None
    redacted: bool = False
    """Whether text of documents that were deleted since was removed from it."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Reads the body of an answer, and ignores the rest. Raises KeyError."""
        return cls(
            **{name: body[name] for name in ("id", "created_at", "question", "method", "finish_reason")},
            answer=body["answer"],
            redacted=body.get("redacted", False),
        )


def _outcome(trajectory: Trajectory) -> dict[str, Any]:
    answer = trajectory.answer
    others = trajectory.selection.others if trajectory.selection else None
    return {
        "answer": answer.text if answer else None,
        "citations": [vars(citation) for citation in answer.citations] if answer else [],
        "finish_reason": trajectory.finish_reason,
        "usage": {
            "searches": trajectory.searches,
            "documents_read": len(trajectory.documents_read),
            "prompt_tokens": trajectory.prompt_tokens,
            "policy_tokens": trajectory.policy_tokens,
            "policy_ms": trajectory.policy_ms,
            "search_ms": trajectory.search_ms,
            "total_ms": trajectory.total_ms,
            **({"others": vars(others)} if others else {}),
        },
        "trajectory": trajectory.to_dict(),
    }


class AnswerStream(Protocol):
    """The steps of an answer as they happen and, last, its record."""

    def __aiter__(self) -> "AsyncIterator[Event | AnswerRecord]": ...

    async def aclose(self) -> None: ...


async def record_of(
    answer: AnswerStream, show: "Callable[[Event], Awaitable[None]] | None" = None
) -> AnswerRecord:
    """Read an answer to its end, close it and return its record. `show` gets every step on the way.

    Raises RuntimeError if the answer ends without a record.
    """
    async with aclosing(answer):
        async for event in answer:
            if isinstance(event, AnswerRecord):
                return event
            if show:
                await show(event)
    raise RuntimeError("the answer ended without a record")
