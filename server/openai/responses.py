"""OpenAI's responses: the request, the response, and its events."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter
from pydantic import BeforeValidator, TypeAdapter, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from server.http.state import Caller
from server.http.wire import JSONBody
from server.openai.asking import Asked, Finished, Reasoning, Written, ask, extras, in_openapi
from server.openai.conversation import Conversation, read_conversation
from server.openai.errors import OpenAIProblem, broken_off
from server.openai.output import Output
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


def _is_plain_text(text: Any) -> bool:
    return isinstance(text, Mapping) and text.get("format") in (None, {"type": "text"})


def _wants_no_logprobs(include: Any) -> bool:
    return isinstance(include, list) and "message.output_text.logprobs" not in include


def _as_items(value: Any) -> Any:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


Items = list[dict[str, Any]]
Input = Annotated[Items, BeforeValidator(_as_items), WithJsonSchema(TypeAdapter(str | Items).json_schema())]
"""Items; a text is one message of the user."""


class ResponsesRequest(AskBody):
    """A request as OpenAI's clients send it; null means omitted."""

    REFUSED: ClassVar[Mapping[str, AsksNothing]] = {
        **CONSTRAINING,
        "previous_response_id": never,
        "conversation": never,
        "background": only(False),
        "prompt": never,
        "tool_choice": leaves_tools_optional,
        "text": _is_plain_text,
        "top_logprobs": only(0),
        "include": _wants_no_logprobs,
        "moderation": never,
    }
    TOKENS = ("max_output_tokens",)

    input: Input
    """The question, or messages and finished tool calls; the last message of the user is the question. Of the
    others the newest 8,000 characters are shown to the policy, system messages before others."""
    instructions: str | None = None
    """A system message before the others."""
    max_output_tokens: Tokens | None = None
    """-1 for as many as allowed; more than allowed is clamped."""

    def ignored(self) -> list[str]:
        """See AskBody. Of the checked fields, `include` and the rest of `text` are ignored, too."""
        names, given = super().ignored(), self.model_extra or {}
        names += [f"text.{name}" for name in given.get("text") or () if name != "format"]
        return names + (["include"] if given.get("include") else [])

    def conversation(self) -> Conversation:
        """The question and the messages before it. Raises OpenAIProblem."""
        messages = [("instructions", {"role": "system", "content": self.instructions or ""})]
        for index, item in enumerate(self.input):
            place = f"input[{index}]"
            messages += [(place, message) for message in _messages(place, item)]
        return read_conversation(messages, "input")


def _messages(place: str, item: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """An item as a message of chat completions; none for a thought, which is not part of a conversation."""
    match item.get("type", "message"):
        case "message":
            return [dict(item)]
        case "function_call":
            call = {"function": {"name": item.get("name"), "arguments": item.get("arguments")}}
        case "custom_tool_call":
            call = {"custom": {"name": item.get("name"), "input": item.get("input")}}
        case "function_call_output" | "custom_tool_call_output":
            return [{"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}]
        case "reasoning":
            return []
        case kind:
            raise OpenAIProblem(400, f"{place}: items of type {str(kind)[:50]} are not supported", place)
    return [{"role": "assistant", "tool_calls": [{"id": item.get("call_id"), **call}]}]


DESCRIPTION = f"""\
The same as /v1/chat/completions in the shape of OpenAI's responses: the same users, headers, answers and \
errors. Thoughts and searches come as a `reasoning` item with one summary part for each step. A response is \
not kept under its own id: the answer is, under `pr2.answer_id`.

An answer that a limit cut off is `incomplete`, whichever limit it was: see `pr2.finish_reason`. A stream \
that fails ends with `response.failed`.

Refused, unless set to a value that asks for nothing: {", ".join(ResponsesRequest.REFUSED)}. All other \
fields are ignored; the response header PR2-Ignored names them, and PR2-Clamped gives the values that were \
reduced.
"""
_IN_OPENAPI = in_openapi("OpenAI's `response`, with the extra member `pr2`; with `stream`, its events.")


@router.post(
    "/responses",
    summary="Ask, as OpenAI's newer clients do",
    description=DESCRIPTION,
    responses={200: _IN_OPENAPI},
)
async def respond(request: Request, access: Caller, body: ResponsesRequest) -> Response:
    asked = await ask(request, access, body, body.conversation(), "input")
    if body.stream:
        return asked.stream(request, _events(asked, body))
    finished = await asked.finished(request)
    output = Output(asked.answering.id)
    for thought in finished.thoughts:
        output.think(thought)
    output.write(finished.text)
    output.finish(finished)
    return JSONBody(_response(asked, body, output, **_end(finished)), headers=asked.headers)


async def _events(asked: Asked, body: ResponsesRequest) -> AsyncGenerator[bytes, None]:
    output = Output(asked.answering.id)

    def tell(kind: str, **end: Any) -> None:
        output.add_event(f"response.{kind}", response=_response(asked, body, output, **end))

    try:
        tell("created")
        tell("in_progress")
        async with aclosing(asked.pieces()) as pieces:
            async for piece in pieces:
                match piece:
                    case Reasoning(text=text):
                        output.think(text)
                    case Written(text=text):
                        output.write(text)
                    case Finished():
                        output.finish(piece)
                        end = _end(piece)
                        tell(end["status"], **end)
                for event in output.take_events():
                    yield event
    except Exception as error:
        output.break_off()
        tell("failed", **_failure(error))
        for event in output.take_events():
            yield event


def _end(finished: Finished) -> dict[str, Any]:
    """The members of a response that an answer decides."""
    record = finished.record
    read, written = record.trajectory.tokens_read, record.trajectory.tokens_written
    cut_off = finished.end == "length"
    return {
        "status": "incomplete" if cut_off else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut_off else None,
        # The details are required by OpenAI's clients; engines do not report them.
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        },
        "pr2": extras(record),
    }


def _failure(error: Exception) -> dict[str, Any]:
    detail = broken_off(error)
    # Only OpenAI's own codes are known to its clients; ours is kept beside it.
    code = "server_error" if detail["type"] == "api_error" else "invalid_prompt"
    return {
        "status": "failed",
        "error": {
            "code": code,
            "message": detail["message"],
            "param": detail["param"],
            "type": detail["type"],
        },
        "pr2": {"code": detail["code"]},
    }


def _response(asked: Asked, body: ResponsesRequest, output: Output, **end: Any) -> dict[str, Any]:
    tokens = body.given_limits().get("max_tokens")
    return {
        "id": f"resp_{asked.answering.id}",
        "object": "response",
        "created_at": asked.created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": tokens,
        "metadata": body.metadata if isinstance(body.metadata, Mapping) else {},
        "model": body.model,
        "output": output.items,
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": body.safety_identifier,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
        "truncation": "auto",
        "usage": None,
        "user": body.user,
        **end,
    }
