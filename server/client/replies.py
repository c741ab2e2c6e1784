"""Replies of the server, read as typed values."""

from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any

from agent.engines.sse import EventDecoder
from agent.trajectory import AnswerDelta, Trajectory
from server.client.errors import understood

if TYPE_CHECKING:
    import httpx

    from agent.driver import Event
    from index.documents import Document


def document(data: Any) -> "Document":
    """A stored document. Raises InvalidDocument, a ValueError."""
    from index.documents import parse_document  # pydantic's models take longer to import than httpx

    return parse_document(data)


async def lines(response: "httpx.Response") -> AsyncGenerator[bytes, None]:
    """Lines that end in a line feed. httpx's own also breaks at Unicode's other line separators."""
    rest = b""
    async for chunk in response.aiter_bytes():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
    if rest:
        yield rest


async def events(response: "httpx.Response") -> AsyncGenerator[tuple[str, str], None]:
    """Server-sent events as (name, data). An event that the connection cut off is dropped."""
    # A record contains every passage that was read, so its length has no useful limit.
    decoder = EventDecoder(limit=None)
    async for piece in response.aiter_bytes():
        with understood():
            decoded = decoder.decode_named(piece)
        for event in decoded:
            yield event


def step(name: str, data: Mapping[str, Any]) -> "Event":
    if name == "answer.delta":
        return AnswerDelta(data["text"])
    one = {"question": "", "limits": {}, "segments": [], "steps": [{"kind": name, **data}]}
    return Trajectory.from_dict(one).steps[0]
