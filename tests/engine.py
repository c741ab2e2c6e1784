"""A small OpenAI-compatible engine on 127.0.0.1 that writes what it is told, or misbehaves as it is told.

It speaks HTTP/1.1 by hand, since most of the ways in which a server can fail are below what a web
framework lets through. It runs in a thread of its own, so that synchronous tests, asynchronous tests and
other processes can all use it.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Self

Part = bytes | float | Literal["cut", "hang"]
"""Bytes to send as one piece, seconds of silence, a reset connection, or silence until the client leaves."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def turn(self) -> int:
        """How many information blocks the prompt holds: which turn of its episode this is."""
        return str(self.json["prompt"]).count("\n</information>\n")


@dataclass(frozen=True)
class Reply:
    parts: tuple[Part, ...] = ()
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


Script = Callable[[Request], Reply]
HANG_BEFORE_HEADERS = Reply(("hang",), status=0)
DONE = b"data: [DONE]\n\n"


def event(text: str, finish: str | None = None, **more: Any) -> bytes:
    """One server-sent event of a completion. `more` goes into the choice; `usage` beside it."""
    usage = {"usage": more.pop("usage")} if "usage" in more else {}
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish, **more}
    chunk = {"id": "cmpl-1", "object": "text_completion", "model": "tiny", "choices": [choice], **usage}
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


def writes(text: str, *, pause: float = 0.0, size: int = 4) -> Reply:
    """Streams `text` as vLLM does: in small pieces, the stop string trimmed and named by `stop_reason`."""
    stop = next((stop for stop in ("</search>", "</answer>") if text.endswith(stop)), None)
    pieces = _pieces(text.removesuffix(stop or ""), size)
    parts = [event(piece, stop_reason=None) for piece in pieces[:-1]]
    last = event(pieces[-1], "stop", stop_reason=stop)
    return Reply((*((pause,) if pause else ()), *parts, last, DONE))


def trims(text: str, *, size: int = 4) -> Reply:
    """Streams `text` with its stop string trimmed and without a word about it."""
    pieces = _pieces(text.removesuffix("</search>").removesuffix("</answer>"), size)
    return Reply((*(event(piece) for piece in pieces), event("", "stop"), DONE))


def fails(status: int, message: str = "no", *, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """OpenAI's error shape."""
    body = json.dumps({"error": {"message": message, "type": "error", "param": None, "code": status}})
    return Reply((body.encode(),), status, "application/json", headers)


def turns(*replies: Reply) -> Script:
    """The n-th turn of every episode gets the n-th reply, however many episodes run at once."""
    return lambda request: replies[min(request.turn, len(replies) - 1)]


def in_order(*replies: Reply) -> Script:
    """The n-th request gets the n-th reply, and later ones the last."""
    left = list(replies)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


class Engine:
    """A context manager: `with Engine(turns(writes("…"))) as engine: … engine.base_url`."""

    def __init__(self, script: Script, models: Sequence[str] = ("tiny",)) -> None:
        self._script = script
        self._models = models
        self.requests: list[Request] = []
        self.connections = 0
        self.left_early = 0
        """How many clients went away before their reply was complete."""

    @property
    def completions(self) -> list[Request]:
        return [request for request in self.requests if request.path == "/v1/completions"]

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)), name="engine")
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        handlers: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            handler: Coroutine[Any, Any, None] = self._connection(reader, writer)
            task = asyncio.create_task(handler)
            handlers.add(task)
            task.add_done_callback(handlers.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ready.set()
        await self._stop.wait()
        server.close()
        for task in (running := list(handlers)):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                if not await self._answer(request, reader, writer):
                    break
        except ConnectionError:
            self.left_early += 1
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Send the reply. False when the connection is over."""
        if request.path == "/v1/models":
            listed = json.dumps({"object": "list", "data": [{"id": name} for name in self._models]})
            reply = Reply((listed.encode(),), content_type="application/json")
        else:
            reply = self._script(request)
        if reply.status:
            head = [f"HTTP/1.1 {reply.status} -", f"Content-Type: {reply.content_type}"]
            head += [f"{name}: {value}" for name, value in reply.headers]
            writer.write("\r\n".join([*head, "Transfer-Encoding: chunked", "", ""]).encode())
            await writer.drain()
        for part in reply.parts:
            if part == "cut":
                writer.transport.abort()
                return False
            if isinstance(part, bytes):
                writer.write(b"%x\r\n%b\r\n" % (len(part), part))
                await writer.drain()
            elif await _leaves(reader, None if part == "hang" else float(part)):
                raise ConnectionAbortedError
            if reader.at_eof():
                raise ConnectionAbortedError
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """The next request, or None when the client closes instead."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)


async def _leaves(reader: asyncio.StreamReader, seconds: float | None) -> bool:
    """Whether the client goes away within the time."""
    try:
        return await asyncio.wait_for(reader.read(1), seconds) == b""
    except TimeoutError:
        return False


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]
