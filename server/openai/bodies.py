"""Translates OpenAI's chat completions: requests to questions, and answers to completions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from agent.citations import MARK, PARTIAL_MARK, resolve
from agent.methods import METHODS, Method
from agent.trajectory import Information, Message, Plan, Read, Search, Thought
from index.documents import check_storable
from server.answers import AnswerRecord
from server.settings import QuestionLimits

CONVERSATION_CHARACTERS = 8_000
"""Characters of the earlier messages that the policy is shown, in total."""

MODELS: Mapping[str, Method] = {
    name if name.startswith("pr2") else f"pr2-{name}": method for name, method in METHODS.items()
}
"""Methods by their model names."""


class OpenAIProblem(HTTPException):
    """An HTTPException with OpenAI's `param` and `code`."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(status, message)
        self.param = param
        self.code = code


REFUSED: Mapping[str, Any] = {
    "n": 1,
    "tools": [],
    "tool_choice": "none",
    "functions": [],
    "function_call": "none",
    "response_format": {"type": "text"},
    "logprobs": False,
    "top_logprobs": 0,
    "modalities": ["text"],
    "stop": [],
} | dict.fromkeys(("audio", "moderation", "prediction", "web_search_options"))
"""Parameters that change the form of an answer and are not supported, with the value that is accepted,
like null, because it asks for nothing."""
IGNORED = frozenset(
    "temperature top_p seed presence_penalty frequency_penalty logit_bias metadata store service_tier "
    "parallel_tool_calls reasoning_effort verbosity prompt_cache_key prompt_cache_options "
    "prompt_cache_retention".split()
)
"""Parameters that tune sampling, billing or caching. Ignored, so that clients which always send them work."""

MaxTokens = Annotated[int, *QuestionLimits.model_fields["max_tokens"].metadata]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StreamOptions(_Body):
    include_usage: bool | None = None
    """Send the token usage in a last, separate chunk."""
    include_obfuscation: bool | None = None
    """Ignored."""


class ChatRequest(_Body, extra="allow"):
    """A request as OpenAI's clients send it; null means omitted."""

    model: str
    """`pr2`, or another method: see /v1/models."""
    messages: list[dict[str, Any]] = Field(min_length=1)
    """The last one is the question. Of the earlier ones the newest 8,000 characters are shown to the policy,
    system messages before others."""
    user: str | None = None
    """The person whose history is searched. Required, unless the server's identity settings name one."""
    safety_identifier: str | None = None
    """The newer name of `user`; so is `metadata.user_id`. All that are given must be the same."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    """The newer name of `max_tokens`; wins if both are given."""
    retriever: str | None = None
    """Not OpenAI's: as in /v1/users/{user}/answers."""
    limits: QuestionLimits | None = None
    """Not OpenAI's: as in /v1/users/{user}/answers. `max_tokens` wins over it."""

    def check(self) -> None:
        """Raise OpenAIProblem for an unsupported or unknown parameter."""
        for name, value in (self.model_extra or {}).items():
            if name in REFUSED:
                if value is not None and value != REFUSED[name]:
                    raise OpenAIProblem(400, f"{name} is not supported; leave it out", name)
            elif name not in IGNORED:
                raise OpenAIProblem(400, f"there is no parameter {name}", name)

    def given_limits(self) -> dict[str, int]:
        """The limits that this request sets."""
        given = self.limits.model_dump(exclude_unset=True) if self.limits else {}
        tokens = self.max_completion_tokens or self.max_tokens
        return given | ({"max_tokens": tokens} if tokens else {})

    def question(self) -> tuple[str, list[Message]]:
        """The question and the messages before it. Raises OpenAIProblem."""
        *earlier, last = (_message(f"messages[{index}]", one) for index, one in enumerate(self.messages))
        if last.role != "user":
            raise OpenAIProblem(400, "the last message must be the user's: it is the question", "messages")
        return last.text, _newest(earlier)


_ROLES: Mapping[str, Literal["user", "assistant", "system"]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}


def _message(place: str, message: Mapping[str, Any]) -> Message:
    role = _ROLES.get(str(message.get("role")))
    if role is None:
        raise OpenAIProblem(400, f"{place}: the role must be one of {', '.join(_ROLES)}", place)
    if message.get("tool_calls") or message.get("function_call"):
        raise OpenAIProblem(400, f"{place}: tools are not supported", place)
    place, content = f"{place}.content", message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise OpenAIProblem(400, f"{place} must be a text or a list of parts of type text", place)
    texts = []
    for index, part in enumerate(content):
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case _:
                part_place = f"{place}[{index}]"
                raise OpenAIProblem(400, f"{part_place}: only parts of type text are supported", part_place)
    try:
        return Message(role, check_storable("\n".join(texts)))
    except ValueError as error:
        raise OpenAIProblem(400, f"{place} {error}", place) from None


def _newest(messages: Sequence[Message]) -> list[Message]:
    """The messages that fit the limit, in order: system messages first, then from the newest backwards.

    The message that crosses the limit keeps its beginning: nothing is refused for its length, and the kept
    messages have no gap.
    """
    left = CONVERSATION_CHARACTERS
    kept: dict[int, Message] = {}
    newest_first = reversed(range(len(messages)))
    for index in sorted(newest_first, key=lambda index: messages[index].role != "system"):
        if text := messages[index].text[:left]:
            kept[index] = Message(messages[index].role, text)
            left -= len(text)
    return [kept[index] for index in sorted(kept)]


class Marks:
    """Removes the marks that cite nothing from a growing answer, as `citations.resolve` does at its end.

    The output so far is always a prefix of the final text. Only text that may still become a mark is held
    back, and white space that may turn out to be trailing.
    """

    def __init__(self) -> None:
        self._reads: dict[int, tuple[Read, int]] = {}
        self._undecided = ""
        self._space = ""
        self._begun = False

    def know(self, passages: Iterable[Read]) -> None:
        """Register passages that can be cited from now on."""
        self._reads |= {read.number: (read, 0) for read in passages}

    def feed(self, text: str) -> str:
        """Take the next piece of the raw answer. Returns the next piece of the final one."""
        self._undecided += text
        end = PARTIAL_MARK.search(self._undecided)
        cut = end.start() if end else 0
        # Between two bars, because resolve() trims both ends, and these are not the answer's.
        text = resolve(f"|{self._undecided[:cut]}|", self._reads)[0][1:-1]
        self._undecided = self._undecided[cut:]
        text = self._space + text if self._begun else text.lstrip()
        shown = text.rstrip()
        self._space = text[len(shown) :]
        self._begun = self._begun or bool(shown)
        return shown


def annotations(record: AnswerRecord, base_url: str) -> list[dict[str, Any]]:
    """One annotation for each number in each mark of the answer: the mark's position and the cited line."""
    answer, steps = record.trajectory.answer, record.trajectory.steps
    known = {read.number: read for step in steps if isinstance(step, Information) for read in step.passages}
    places: list[tuple[int, int]] = []
    reads: dict[int, tuple[Read, int]] = {}

    def renumber(mark: re.Match[str]) -> str:
        first = len(places)
        for number in map(int, mark[1].split(",")):
            if number in known:
                reads[len(places)] = (known[number], 0)
            places.append((mark.start(1) - 1, mark.end()))
        return f"{mark[0].partition('[')[0]}[{','.join(map(str, range(first, len(places))))}]"

    # The answer's own citations list a line once, however often it is cited. Resolving again with a unique
    # number for each mark gives every mark its line.
    cited = resolve(MARK.sub(renumber, answer.text), reads)[1] if answer else ()
    documents = f"{base_url.rstrip('/')}/v1/users/{quote(record.user, safe='')}/documents/"
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": places[citation.number][0],
                "end_index": places[citation.number][1],
                "title": reads[citation.number][0].passage.title or citation.document_id,
                "url": documents + quote(citation.document_id, safe=""),
                "document_id": citation.document_id,
                "quote": citation.quote,
            },
        }
        for citation in cited
    ]


def reasoning(step: object) -> str:
    """The part of the reasoning that `step` adds; empty for most steps."""
    match step:
        case Plan(text=text) | Thought(text=text):
            return text
        case Search(query=query):
            return f'Searched: "{query}"'
    return ""


def usage(record: AnswerRecord) -> dict[str, int]:
    """Token counts, summed over the policy's turns."""
    read, written = record.trajectory.prompt_tokens, record.trajectory.policy_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def extras(record: AnswerRecord) -> dict[str, Any]:
    """Fields for which OpenAI's shapes have no place."""
    answer = record.trajectory.answer
    return {
        "answer_id": record.id,
        "finish_reason": record.trajectory.finish_reason,
        "method": record.method,
        "citations": [vars(citation) for citation in answer.citations] if answer else [],
    }


def text_and_end(record: AnswerRecord) -> tuple[str, Literal["stop", "length"]]:
    """The answer and OpenAI's finish reason. Raises OpenAIProblem if there is no answer.

    A missing answer is never an empty success, which clients would show as the answer.
    """
    trajectory = record.trajectory
    if trajectory.answer and trajectory.answer.text:
        return trajectory.answer.text, "stop" if trajectory.finish_reason == "answered" else "length"
    reason, param = trajectory.finish_reason or "invalid", None
    match reason:
        case "policy_error":
            status, what = 504 if trajectory.fault == "timeout" else 502, trajectory.detail
        case "deadline":
            status, what = 504, f"no answer came within {trajectory.limits.deadline_ms} ms"
        case "max_tokens":
            # A 400, as OpenAI sends: a retry, as clients do after a 5xx, would end in the same way.
            status, param = 400, "max_tokens"
            what = f"no answer was begun within {trajectory.limits.max_tokens} tokens; allow more"
        case "max_searches":
            status, what = 502, "the policy kept searching with no searches left"
        case _:
            status, what = 502, f"the policy wrote no answer: {trajectory.detail or 'it has no text'}"
            reason = "invalid"
    raise OpenAIProblem(status, f"{what} (stored as answer {record.id})", param, reason)
