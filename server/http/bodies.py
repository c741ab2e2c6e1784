"""The shapes of requests, which are checked, and of responses, which are only documented.

Responses are built from plain dicts, because checking again what we made ourselves costs time on every
request; the tests hold them against the shapes here.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from agent.trajectory import Citation, FinishReason, Trajectory
from index.documents import Document, Passage, Text, check_storable
from server.settings import QUESTION_CHARACTERS, QuestionLimits

MOST_QUERIES = 64
MOST_RESULTS = 1_000


QueryText = Annotated[
    str, StringConstraints(max_length=QUESTION_CHARACTERS, pattern=r"\S"), AfterValidator(check_storable)
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SearchRequest(_Body):
    """What to look for: either by `queries` or by the likeness to stored documents."""

    queries: Annotated[list[QueryText], Field(min_length=1, max_length=MOST_QUERIES)] | None = None
    like: Annotated[list[str], Field(min_length=1, max_length=MOST_QUERIES)] | None = None
    """Ids of documents: find what is nearest to each of them, by the vectors that are stored."""
    k: int = Field(10, ge=1, le=MOST_RESULTS)
    """How many passages for each query."""
    retriever: str | None = None
    """Only with `queries`; the default is the server's."""

    @model_validator(mode="after")
    def _one_way(self) -> "SearchRequest":
        if (self.queries is None) == (self.like is None):
            raise ValueError("give either queries or like")
        if self.like is not None and self.retriever is not None:
            raise ValueError("like takes no retriever")
        return self


class AnswerRequestBody(_Body):
    """A question of one person. What is not given is taken from the server's settings."""

    question: Text
    method: str | None = None
    retriever: str | None = None
    limits: QuestionLimits | None = None
    """Any of them; the defaults are the server's."""
    plan: Text | None = None
    """With the method `planpers`: what the answer is to cover. Without it, the planner writes one."""
    compare: bool = False
    """Also answer without the person's history; it comes as `without_profile`."""
    stream: bool = False
    """Send the steps as server-sent events while they happen."""


class Skipped(_Body):
    line: int | None
    error: str


class PutResult(_Body):
    put: int
    """Distinct documents that are now stored."""
    duplicates: list[str]
    """Ids that came more than once; the last one counts."""
    skipped: list[Skipped]
    """What was left out, with `on_error=skip`."""


class DocumentPage(_Body):
    documents: list[Document]
    next_cursor: str | None
    """For the next page; null on the last one."""


class SearchResults(_Body):
    results: list[list[Passage]]
    """One list for each query or document, in their order, best passage first."""


class Usage(_Body):
    searches: int
    documents_read: int
    prompt_tokens: int
    """Tokens that the policy read, all turns added up."""
    policy_tokens: int
    policy_ms: float
    search_ms: float
    total_ms: float


@dataclass(frozen=True)
class TrajectoryBody(Trajectory):
    transcript: str = ""
    """The exact text that the policy saw and wrote: all segments, joined."""


class Outcome(_Body):
    """What came of a question, and how."""

    answer: str | None
    citations: list[Citation]
    finish_reason: FinishReason
    usage: Usage
    trajectory: TrajectoryBody


class AnswerBody(Outcome):
    """An answer and how it came about."""

    id: str
    user: str
    created_at: str
    question: str
    method: str
    retriever: str
    policy: str
    without_profile: Outcome | None
    """With `compare`, the same without the person's history."""


class Health(_Body):
    status: str
    version: str


class Readiness(_Body):
    status: str
    policy: str
    engine: str
    """What was found out about the policy's engine."""
    encoder: str


def upload_in_openapi() -> dict[str, Any]:
    """The body that PUT takes; it is read as a stream, so FastAPI cannot know its shape."""
    document = {"$ref": "#/components/schemas/Document"}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/x-ndjson": {"schema": document},
                "application/json": {"schema": {"type": "array", "items": document}},
            },
        }
    }
