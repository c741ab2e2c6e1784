"""Shapes of requests, which are validated, and of responses, which are only documented.

Responses are built from plain dicts, because validating them would cost time on every request; the tests
check them against these shapes.
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from agent.trajectory import Citation, Cost, FinishReason, Trajectory
from index.documents import Document, Name, Passage, Text, check_storable
from index.numbers import Integer
from index.values import ANY_TIME, Period
from server.answers import AnswerSummary, Feedback, Rating
from server.settings import QuestionLimits

MOST_QUERIES = 64
MOST_RESULTS = 1_000
QUERY_CHARACTERS = 8_000


QueryText = Annotated[
    str, StringConstraints(max_length=QUERY_CHARACTERS, pattern=r"\S"), AfterValidator(check_storable)
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class _Timed(_Body):
    """The day and the time zone of a request."""

    as_of: date | None = None
    """Day to ask on instead of today: documents later than it are not seen."""
    time_zone: str | None = None
    """IANA name of the person's time zone, like Europe/Berlin. Defaults to the server's."""

    @property
    def period(self) -> Period:
        return Period(as_of=self.as_of, time_zone=self.time_zone)


class SearchRequest(_Timed):
    """A search, either by `queries` or by similarity to stored documents.

    Days are local ones, as they are shown: the day of a document is the one where it was written.
    """

    queries: Annotated[list[QueryText], Field(min_length=1, max_length=MOST_QUERIES)] | None = None
    like: Annotated[list[Name], Field(min_length=1, max_length=MOST_QUERIES)] | None = None
    """Ids of documents: find the nearest neighbours of each, by the stored vectors."""
    k: Integer = Field(10, ge=1, le=MOST_RESULTS)
    """Passages for each query."""
    retriever: str | None = None
    """Only with `queries`; defaults to the server's. Not `auto`, which is for questions."""

    after: date | None = None
    """First day of what is found. Only with `queries`, like the other limits in time. Documents without a
    date are left out."""
    before: date | None = None
    """The day behind the last one."""
    last: str | None = None
    """Length of the period up to today, instead of `after`: a number and d, w, m or y, like 30d."""

    @property
    def period(self) -> Period:
        return Period(self.after, self.before, self.last, self.as_of, self.time_zone)

    @model_validator(mode="after")
    def _one_way(self) -> "SearchRequest":
        if (self.queries is None) == (self.like is None):
            raise ValueError("give either queries or like")
        if self.like is not None and self.retriever is not None:
            raise ValueError("like takes no retriever")
        if self.like is not None and self.period != ANY_TIME:
            raise ValueError("like takes no limits in time")
        return self


class AnswerRequestBody(_Timed):
    """A question of one person. Omitted fields default to the server's settings."""

    question: Text
    method: str | None = None
    retriever: str | None = None
    """`auto` lets the server's trained selector choose; `trajectory.selection` tells what it chose."""
    limits: QuestionLimits | None = None
    """Limits that differ from the server's."""
    plan: Text | None = None
    """With the method `planpers`: the points that the answer is to cover. If omitted, the planner writes
    a plan."""
    compare: bool = False
    """Also answer without the person's history, in `without_profile`."""
    remember: bool | None = None
    """Add the question to the person's history once it is answered; see `remembered`. Defaults to the
    server's setting."""
    stream: bool = False
    """Send the steps as server-sent events as they happen."""


class Skipped(_Body):
    line: int | None
    error: str


class Ids(_Body):
    count: int
    first: list[str]
    """Ids of the first 100."""


class PutResult(_Body):
    put: int
    """Distinct documents that are now stored."""
    added: Ids
    unchanged: Ids
    replaced: Ids
    """Documents whose earlier contents are gone."""
    duplicates: list[str]
    """Ids that came more than once, the first 100 of them; the last document counts."""
    duplicate_count: int
    skipped: list[Skipped]
    """Invalid documents that were left out, with `on_error=skip`: the first 100."""
    skipped_count: int


class DocumentPage(_Body):
    documents: list[Document]
    next_cursor: str | None
    """Cursor of the next page; null on the last one."""


class SearchResults(_Body):
    results: list[list[Passage]]
    """One list for each query or document, in the order of the request, best passage first."""


class Usage(_Body):
    searches: int
    documents_read: int
    prompt_tokens: int
    """Tokens that the policy read, summed over its turns."""
    policy_tokens: int
    policy_ms: float
    search_ms: float
    total_ms: float
    others: Cost | None = None
    """With the retriever `auto`: what the answers took that were not chosen, in addition to the numbers
    before. Omitted if there are none."""


@dataclass(frozen=True)
class TrajectoryBody(Trajectory):
    transcript: str = ""
    """Exact text that the policy read and wrote: all segments, joined."""


class Outcome(_Body):
    """Outcome of a question."""

    answer: str | None
    citations: list[Citation]
    finish_reason: FinishReason
    usage: Usage
    trajectory: TrajectoryBody


class AnswerBody(Outcome):
    """An answer with its trajectory."""

    id: str
    user: str
    named_by: str | None
    """Where the request named the user: `token`, `header`, `default`, `path`, or a field of it."""
    created_at: str
    question: str
    method: str
    retriever: str
    policy: str
    without_profile: Outcome | None
    """With `compare`: the outcome without the person's history."""
    stored: bool
    """False if the database could not take the answer, which then cannot be fetched again."""
    redacted: bool
    """Whether `[deleted]` stands for text of documents that were deleted since."""
    remembered: str | None
    """With `remember`: id of the document that the question became."""
    not_remembered: str | None
    """With `remember`: why it did not become one."""
    feedback: Feedback | None
    """The newest feedback of the person, if there is any."""


COMMENT = 4_000
"""Longest comment, in characters."""


class FeedbackRequestBody(_Body):
    """Feedback of the person on the answer."""

    rating: Rating
    comment: str = Field("", max_length=COMMENT)
    helped: list[Annotated[int, Field(ge=1)]] = Field([], max_length=400)
    """Numbers of the citations that helped."""


class AnswerPage(_Body):
    answers: list[AnswerSummary]
    """Newest first."""
    next_cursor: str | None
    """Cursor of the next page, with older answers; null on the last one."""


class RetrieverNames(_Body):
    retrievers: list[str]
    default: str
    """The one of a search that names none."""


class Health(_Body):
    status: str
    version: str


class RerankingCounts(_Body):
    """Queries since the start: reranked, or left in the retriever's order."""

    reranked: int
    late: int
    failed: int


class ExpandingCounts(_Body):
    """Queries since the start: expanded, or searched as they are."""

    expanded: int
    late: int
    failed: int


class Readiness(_Body):
    status: str
    policy: str
    engine: str
    """Description of the policy's engine."""
    encoder: str
    reranker: str | None = None
    reranking: RerankingCounts | None = None
    """Only with a reranker."""
    expander: str | None = None
    expanding: ExpandingCounts | None = None
    """Only with an expander."""


DOCUMENT = {"$ref": "#/components/schemas/Document"}


def upload_in_openapi() -> dict[str, Any]:
    """Body of PUT. It is read as a stream, so FastAPI cannot derive its shape."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/x-ndjson": {"itemSchema": DOCUMENT},
                "application/json": {"schema": {"type": "array", "items": DOCUMENT}},
            },
        }
    }
