"""Server-sent events: their encoding, and comments that keep a silent stream open."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Protocol

from anyio import CancelScope
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from server.http.wire import encode as to_json

KEEP_ALIVE_S = 10.0
"""Longest silence, in seconds. Proxies commonly cut a stream that is silent for 30 to 60 seconds."""
KEEP_ALIVE = b": keep-alive\n\n"


def encode(event: str, data: Any) -> bytes:
    """One event. `data` is encoded as JSON, which contains no raw line breaks."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), to_json(data))


def in_openapi(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a response: a stream of these events, with the JSON Schema of each one's data.

    `itemSchema` is OpenAPI 3.2's; FastAPI writes it for its own streams, too.
    """
    events = [
        {
            "type": "object",
            "properties": {
                "event": {"const": event},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": schema,
                },
            },
            "required": ["event", "data"],
        }
        for event, schema in schemas.items()
    ]
    return {"text/event-stream": {"itemSchema": {"oneOf": events}}}


async def with_keep_alive(
    events: AsyncGenerator[bytes, None], interval_s: float
) -> AsyncGenerator[bytes, None]:
    """`events`, with a comment after every `interval_s` of silence. Closing this closes `events`.

    A separate task reads the events, because a timeout around the read would cancel it. That task has ended
    when this generator is closed or cancelled, so the source of the events can be closed next.
    """
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def read() -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    queue.put_nowait(event)
        finally:
            queue.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        while True:
            try:
                async with asyncio.timeout(interval_s):
                    event = await queue.get()
            except TimeoutError:
                yield KEEP_ALIVE
                continue
            if event is None:
                break
            yield event
        await reading  # raises the error that ended the events
    finally:
        reading.cancel()
        # A cancelled response is cancelled again at each await; the shield leaves time to close.
        with CancelScope(shield=True):
            await asyncio.gather(reading, return_exceptions=True)


class SupportsAclose(Protocol):
    async def aclose(self) -> None: ...


class EventStream(StreamingResponse):
    """A stream of events that is closed with the response, also if the client disconnects in the middle.

    `source` is the generator behind the events: it is closed, too, even if no event was ever read.
    """

    # FastAPI's fastapi.sse leaves a generator that was never started open (here: a ticket in the queue), and
    # a route that streams cannot answer with a problem or with plain JSON instead.

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[bytes, None], interval_s: float, source: SupportsAclose
    ) -> None:
        self._source = source
        self._events = with_keep_alive(events, interval_s)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(self._events, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._source), aclosing(self._events):
            await super().__call__(scope, receive, send)
