"""OpenAI's chat completions: the request, the completion, and its chunks."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from server.answers import AnswerRecord
from server.http.state import Caller
from server.http.wire import JSONBody, encode
from server.openai.asking import Asked, Finished, Reasoning, Written, ask, extras, in_openapi
from server.openai.conversation import Conversation, read_conversation
from server.openai.errors import broken_off
from server.openai.requests import (
    CONSTRAINING,
    AskBody,
    AsksNothing,
    Tokens,
    leaves_tools_optional,
    never,
    only,
)

router = APIRouter()


class StreamOptions(BaseModel, extra="allow"):
    include_usage: bool | None = None
    """Send the token usage in a last, separate chunk."""


class ChatRequest(AskBody):
    """A request as OpenAI's clients send it; null means omitted."""

    REFUSED: ClassVar[Mapping[str, AsksNothing]] = {
        **CONSTRAINING,
        "n": only(1),
        "tool_choice": leaves_tools_optional,
        "function_call": only("auto", "none"),
        "response_format": only({"type": "text"}),
        "logprobs": only(False),
        "top_logprobs": only(0),
        "modalities": only([], ["text"]),
        "audio": never,
        "moderation": never,
        "web_search_options": never,
    }
    TOKENS = ("max_completion_tokens", "max_tokens")

    messages: list[dict[str, Any]] = Field(min_length=1)
    """The last one of the user is the question. Of the others the newest 8,000 characters are shown to the
    policy, system messages before others; finished tool exchanges are part of them."""
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    """-1 for as many as allowed; more than allowed is clamped."""
    max_completion_tokens: Tokens | None = None
    """The newer name of `max_tokens`; wins if both are given."""

    def conversation(self) -> Conversation:
        """The question and the messages before it. Raises OpenAIProblem."""
        places = [(f"messages[{index}]", message) for index, message in enumerate(self.messages)]
        return read_conversation(places, "messages")


DESCRIPTION = f"""\
Answer the last message from the history of one person: named by `user`, `safety_identifier`, \
`metadata.user_id` or the model `pr2:USER`, else by the server's identity settings. The response headers \
PR2-User and PR2-User-From say who it was, and what named them.

Thoughts and searches come as `reasoning_content`, citations as `annotations`, and the answer is stored like \
any other, under `pr2.answer_id`. The key is the server's token; without one, any key is accepted.

Refused, unless set to a value that asks for nothing: {", ".join(ChatRequest.REFUSED)}. All other fields are \
ignored; the response header PR2-Ignored names them, and PR2-Clamped gives the values that were reduced.
"""
_IN_OPENAPI = in_openapi(
    "OpenAI's `chat.completion`, with the extra member `pr2`; with `stream`, its chunks."
)


@router.post(
    "/chat/completions",
    summary="Ask, as OpenAI's clients do",
    description=DESCRIPTION,
    responses={200: _IN_OPENAPI},
)
async def complete(request: Request, access: Caller, body: ChatRequest) -> Response:
    asked = await ask(request, access, body, body.conversation(), "messages")
    head = {"model": body.model, "created": asked.created}
    if body.stream:
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        return asked.stream(request, _chunks(asked, head, with_usage))
    finished = await asked.finished(request)
    record = finished.record
    message = {
        "role": "assistant",
        "content": finished.text,
        "refusal": None,
        "annotations": _annotations(finished),
        "reasoning_content": "\n\n".join(finished.thoughts) or None,
    }
    return JSONBody(
        {
            "id": f"chatcmpl-{record.id}",
            "object": "chat.completion",
            **head,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finished.end}],
            "usage": _usage(record),
            "pr2": extras(record),
        },
        headers=asked.headers,
    )


async def _chunks(asked: Asked, head: dict[str, Any], with_usage: bool) -> AsyncGenerator[bytes, None]:
    head = {"id": f"chatcmpl-{asked.answering.id}", "object": "chat.completion.chunk", **head}
    no_usage = {"usage": None} if with_usage else {}

    def chunk(delta: dict[str, Any], end: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}
        return _data({**head, "choices": [choice], **no_usage, **more})

    separator = ""
    try:
        yield chunk({"role": "assistant", "content": ""})
        async with aclosing(asked.pieces()) as pieces:
            async for piece in pieces:
                match piece:
                    case Written(text=text):
                        yield chunk({"content": text})
                    case Reasoning(text=text):
                        yield chunk({"reasoning_content": separator + text})
                        separator = "\n\n"
                    case Finished(record=record, end=end):
                        if annotations := _annotations(piece):
                            yield chunk({"annotations": annotations})
                        yield chunk({}, end, pr2=extras(record))
                        if with_usage:
                            yield _data({**head, "choices": [], "usage": _usage(record)})
    except Exception as error:
        yield _data({"error": broken_off(error)})
    yield b"data: [DONE]\n\n"


def _annotations(finished: Finished) -> list[dict[str, Any]]:
    return [{"type": "url_citation", "url_citation": citation} for citation in finished.citations]


def _usage(record: AnswerRecord) -> dict[str, int]:
    """Token counts, summed over the policy's turns and, with `auto`, over all answers written."""
    read, written = record.trajectory.tokens_read, record.trajectory.tokens_written
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _data(value: Any) -> bytes:
    return b"data: %s\n\n" % encode(value)
