"""A small OpenAI-compatible engine on 127.0.0.1 that writes, or misbehaves, as scripted.

It implements HTTP/1.1 itself, since web frameworks do not allow most of the failures that a server can
have. It runs in its own thread, so that synchronous tests, asynchronous tests and other processes can use
it. Its dialect decides which server it imitates, with which features.
"""

import asyncio
import json
import math
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

from agent.engines.capabilities import OPTIONS
from agent.engines.completions import Json
from agent.tags import STOP


class Tokenizer(Protocol):
    def encode(self, text: str, opening: bool) -> list[int]: ...

    def encode_plain(self, text: str, opening: bool) -> list[int]:
        """Without special tokens in the text, as llama.cpp encodes without `parse_special`."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text, without special tokens and without an incomplete character at the end."""
        ...


class Bytes:
    """One token for each byte of UTF-8, and BOS at the opening."""

    bos = 256

    def encode(self, text: str, opening: bool) -> list[int]:
        return [self.bos] * opening + list(text.encode())

    def encode_plain(self, text: str, opening: bool) -> list[int]:
        return self.encode(text, opening)

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(number for number in ids if number < self.bos).decode(errors="ignore")


BYTES = Bytes()
CONTINUING = frozenset({"continue_final_message", "add_generation_prompt"})
"""Options that ask a chat endpoint to continue the assistant's message."""


@dataclass(frozen=True)
class Dialect:
    """The server that the engine imitates. Options that it neither refuses nor supports are ignored."""

    refuses: frozenset[str] = frozenset()
    """Options that are answered with 400."""
    keeps_stop: bool = False
    """Whether it supports `include_stop_str_in_output`."""
    names_stop: bool = False
    """Whether its events have a `stop_reason`."""
    tells_usage: bool = False
    """Whether it supports `stream_options`."""
    takes_ids: bool = False
    """Whether a prompt may be token ids."""
    tells_ids: bool = False
    """Whether it supports `return_token_ids`."""
    tokenize: Literal["vllm", "llama.cpp"] | None = None
    completions: bool = True
    chat: bool = False
    template_tokens: int = 0
    """The number of tokens of the chat template that it puts around the prompt of a completion."""
    context: int | None = None
    """The context length in tokens; larger requests are refused."""
    tells_context: tuple[str, ...] = ()
    """Where it reports the context length: `props`, `ps`, `tokenize`, or a field in the list of models."""
    lists: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of every model in its list."""
    tokenizer: Tokenizer = BYTES


PLAIN = Dialect(refuses=frozenset({*OPTIONS, *CONTINUING}), names_stop=True)
"""Strict: it accepts only the options in OpenAI's documentation of completions."""
VLLM = Dialect(
    keeps_stop=True,
    names_stop=True,
    tells_usage=True,
    takes_ids=True,
    tells_ids=True,
    tokenize="vllm",
    chat=True,
    context=8192,
    tells_context=("max_model_len", "tokenize"),
)
LLAMA_CPP = Dialect(
    tells_usage=True,
    takes_ids=True,
    tokenize="llama.cpp",
    chat=True,
    context=4096,
    tells_context=("props",),
    lists={"meta": {"n_ctx_train": 131072, "n_vocab": 257}},
)
OLLAMA = Dialect(tells_usage=True, chat=True, template_tokens=24, context=4096, tells_context=("ps",))
CHAT_ONLY = Dialect(tells_usage=True, completions=False, chat=True)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    tokenizer: Tokenizer = BYTES

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def writes(self) -> bool:
        """Whether it asks the model to write."""
        return self.path in ("/v1/completions", "/v1/chat/completions")

    @property
    def text(self) -> str:
        """The text of the prompt."""
        match self.json:
            case {"messages": messages}:
                return "".join(message["content"] for message in messages)
            case {"prompt": str(prompt)}:
                return prompt
            case {"prompt": ids}:
                return self.tokenizer.decode(ids)
        raise AssertionError(f"{self.path} holds no prompt")

    @property
    def probes(self) -> bool:
        """Whether it only probes the engine's features."""
        return self.writes and self.json["max_tokens"] == 1 and self.text.startswith("<think>")

    @property
    def turn(self) -> int:
        """The number of information blocks in the prompt: the index of this turn in its episode."""
        return self.text.count("\n</information>\n")


@dataclass(frozen=True)
class Piece:
    """A piece of sampled text. How it is sent depends on the dialect and the request."""

    text: str
    token_ids: tuple[int, ...] | None = None
    """The sampled tokens, if they differ from the encoded text and its stop string."""
    finish: Literal["stop", "length"] | None = None
    stop: str = ""
    """The stop string after `text`."""


Sent = bytes | float | Literal["cut", "hang"]
"""Bytes to send as one piece, seconds of silence, a reset connection, or silence until the client leaves."""
Part = Sent | Piece


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
    return _data(chunk)


def writes(text: str, *, pause: float = 0.0, size: int = 4) -> Reply:
    """Streams `text` in small pieces, and stops for the stop string at its end."""
    stop = next((stop for stop in STOP if text.endswith(stop)), "")
    *pieces, last = _pieces(text.removesuffix(stop), size)
    samples = (*map(Piece, pieces), Piece(last, finish="stop", stop=stop))
    return Reply((*((pause,) if pause else ()), *samples, DONE))


def samples(*pieces: tuple[str, Sequence[int]]) -> Reply:
    """Streams texts with the tokens that were sampled for them.

    If the last text ends with a stop string, the engine stopped for it.
    """
    *first, (text, ids) = pieces
    stop = next((stop for stop in STOP if text.endswith(stop)), "")
    last = Piece(text.removesuffix(stop), tuple(ids), "stop", stop)
    return Reply((*(Piece(text, tuple(ids)) for text, ids in first), last, DONE))


def trims(text: str, *, size: int = 4) -> Reply:
    """Streams `text` without its stop string, and without reporting that."""
    pieces = _pieces(text.removesuffix("</search>").removesuffix("</answer>"), size)
    return Reply((*(event(piece) for piece in pieces), event("", "stop"), DONE))


def fails(status: int, message: str = "no", *, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """An error in OpenAI's format."""
    return _says(
        {"error": {"message": message, "type": "error", "param": None, "code": status}}, status, headers
    )


def turns(*replies: Reply) -> Script:
    """The n-th turn of every episode gets the n-th reply, however many episodes run at once."""
    return lambda request: replies[min(request.turn, len(replies) - 1)]


def in_order(*replies: Reply) -> Script:
    """The n-th request gets the n-th reply, and later ones the last."""
    left = list(replies)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def body_of(reply: Reply) -> bytes:
    """The bytes that the plain dialect sends for the reply."""
    request = Request("POST", "/v1/completions", {}, b'{"prompt": ""}')
    return b"".join(part for part in _as_sent(reply.parts, request, PLAIN) if isinstance(part, bytes))


class Engine:
    """A context manager: `with Engine(turns(writes("…"))) as engine: … engine.base_url`.

    The dialect answers requests that probe the engine's features, unless `probes` passes all of them to the
    script.
    """

    def __init__(
        self,
        script: Script,
        models: Sequence[str] = ("tiny",),
        dialect: Dialect = PLAIN,
        *,
        probes: bool = False,
    ) -> None:
        self._script = script
        self._models = models
        self.dialect = dialect
        self._probes = probes
        self.requests: list[Request] = []
        self.instead: dict[str, Reply] = {}
        """Replies by path, which replace all others from now on."""
        self.connections = 0
        self.left_early = 0
        """The number of clients that disconnected before their reply was complete."""
        self._happened = threading.Condition()

    @property
    def completions(self) -> list[Request]:
        """The requests for text, on either endpoint, without probes that the dialect answered."""
        return [
            request for request in self.requests if request.writes and (self._probes or not request.probes)
        ]

    def asked(self, path: str) -> int:
        """The number of requests for a path."""
        return sum(request.path == path for request in self.requests)

    async def until(self, condition: Callable[[], bool]) -> bool:
        """Wait until requests or disconnects fulfil the condition. False after a minute."""

        def wait() -> bool:
            with self._happened:
                return self._happened.wait_for(condition, 60)

        return await asyncio.to_thread(wait)

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
            while (request := await _read(reader, self.dialect.tokenizer)) is not None:
                with self._happened:
                    self.requests.append(request)
                    self._happened.notify_all()
                if not await self._answer(request, reader, writer):
                    break
        except ConnectionError:
            with self._happened:
                self.left_early += 1
                self._happened.notify_all()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Send the reply. Returns False if the connection is over."""
        reply = self._reply(request)
        if reply.status:
            head = [f"HTTP/1.1 {reply.status} -", f"Content-Type: {reply.content_type}"]
            head += [f"{name}: {value}" for name, value in reply.headers]
            writer.write("\r\n".join([*head, "Transfer-Encoding: chunked", "", ""]).encode())
            await writer.drain()
        for part in _as_sent(reply.parts, request, self.dialect):
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

    def _reply(self, request: Request) -> Reply:
        if (instead := self.instead.get(request.path)) is not None:
            return instead
        if request.writes:
            if request.probes and self._probes:
                return self._script(request)
            if (refusal := _refusal(request, self.dialect)) is not None:
                return refusal
            return _probed(request) if request.probes else self._script(request)
        return _tells(request, self._models, self.dialect) or fails(404, "Not Found")


def _tells(request: Request, models: Sequence[str], dialect: Dialect) -> Reply | None:
    """The server's descriptions of itself."""
    context, places = dialect.context, dialect.tells_context
    match request.path:
        case "/v1/models":
            more: Json = {name: context for name in places if name not in ("props", "ps", "tokenize")}
            data = [{"id": name, "object": "model", **dialect.lists, **more} for name in models]
            return _says({"object": "list", "data": data})
        case "/props" if "props" in places:
            return _says({"default_generation_settings": {"n_ctx": context}, "total_slots": 1})
        case "/api/ps" if "ps" in places:
            return _says({"models": [{"model": name, "context_length": context} for name in models]})
        case "/tokenize" if dialect.tokenize == "vllm":
            if "prompt" not in request.json:
                return fails(400, "prompt: Field required")
            tokens = dialect.tokenizer.encode(request.json["prompt"], request.json["add_special_tokens"])
            more = {"max_model_len": context} if "tokenize" in places else {}
            return _says({"tokens": tokens, "count": len(tokens), **more})
        case "/tokenize" if dialect.tokenize == "llama.cpp":
            text, special = request.json.get("content", ""), request.json.get("add_special", False)
            tokenizer = dialect.tokenizer
            encode = tokenizer.encode if request.json.get("parse_special", True) else tokenizer.encode_plain
            return _says({"tokens": encode(text, special)})
    return None


def _refusal(request: Request, dialect: Dialect) -> Reply | None:
    """The refusal of this request; None if the server accepts it."""
    chat, body = request.path.endswith("/chat/completions"), request.json
    if not (dialect.chat if chat else dialect.completions):
        return fails(404, "Not Found")
    if unknown := [name for name in body if name in dialect.refuses]:
        return fails(400, f"Unrecognized request argument supplied: {unknown[0]}")
    if not chat and not isinstance(body["prompt"], str) and not dialect.takes_ids:
        return fails(400, "prompt: Input should be a valid string")
    if dialect.context is not None and _read_by(request, dialect) + body["max_tokens"] > dialect.context:
        return fails(400, f"This model's maximum context length is {dialect.context} tokens.")
    return None


def _prompt_ids(request: Request, dialect: Dialect) -> list[int]:
    match request.json:
        case {"prompt": [*ids]}:
            return ids
    return dialect.tokenizer.encode(request.text, opening=True)


def _read_by(request: Request, dialect: Dialect) -> int:
    """The number of prompt tokens of the request."""
    return len(_prompt_ids(request, dialect)) + (dialect.template_tokens if "prompt" in request.json else 0)


def _probed(request: Request) -> Reply:
    """The reply to a probe: the model always writes `So`."""
    if "So" in request.json.get("stop", ()):
        return Reply((Piece("", (0,), "stop", "So"), DONE))
    return Reply((Piece("So", (0,), "length"), DONE))


def _as_sent(parts: Sequence[Part], request: Request, dialect: Dialect) -> list[Sent]:
    """The parts, with pieces as events in the format that the request asks for."""
    pieces = any(isinstance(part, Piece) for part in parts)
    stream = _Stream(request, dialect) if pieces else None
    sent: list[Sent] = []
    for part in parts:
        if isinstance(part, Piece):
            assert stream is not None
            sent += stream.events(part)
        else:
            sent.append(part)
    return sent


class _Stream:
    """The events of one reply."""

    def __init__(self, request: Request, dialect: Dialect) -> None:
        asked = request.json
        self._chat = "messages" in asked
        self._tokenizer = dialect.tokenizer
        self._keeps_stop = dialect.keeps_stop and asked.get("include_stop_str_in_output", False)
        self._names_stop = dialect.names_stop
        self._tells_ids = dialect.tells_ids and asked.get("return_token_ids", False)
        self._tells_usage = dialect.tells_usage and asked.get("stream_options", {}).get("include_usage")
        # Without a tokenizer endpoint, clients cannot check the server's count.
        self._left = asked["max_tokens"] if self._tells_ids else math.inf
        self._prompt = _prompt_ids(request, dialect)
        self._read = _read_by(request, dialect)
        self._written = 0
        self._over = False

    def events(self, piece: Piece) -> list[bytes]:
        if self._over:
            return []
        ids = piece.token_ids
        if ids is None:
            ids = tuple(self._tokenizer.encode(piece.text + piece.stop, opening=False))
        if len(ids) > self._left:
            ids = ids[: int(self._left)]
            piece = Piece(self._tokenizer.decode(ids), ids, "length")
        more: dict[str, Any] = {"stop_reason": piece.stop or None} if self._names_stop else {}
        if self._tells_ids:
            more |= {"token_ids": ids} | ({} if self._written else {"prompt_token_ids": self._prompt})
        self._written += len(ids)
        self._left -= len(ids)
        self._over = piece.finish is not None
        text = piece.text + (piece.stop if self._keeps_stop else "")
        events = [(_chat_event if self._chat else event)(text, piece.finish, **more)]
        if self._over and self._tells_usage:
            events.append(_usage(self._read, self._written))
        return events


def _chat_event(text: str, finish: str | None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish, **more}
    return _data({"id": "chat-1", "object": "chat.completion.chunk", "model": "tiny", "choices": [choice]})


def _usage(read: int, written: int) -> bytes:
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return _data(
        {"id": "cmpl-1", "object": "text_completion", "model": "tiny", "choices": [], "usage": usage}
    )


def _data(chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


def _says(content: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply((json.dumps(content).encode(),), status, "application/json", headers)


async def _read(reader: asyncio.StreamReader, tokenizer: Tokenizer) -> Request | None:
    """The next request; None if the client disconnects."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body, tokenizer)


async def _leaves(reader: asyncio.StreamReader, seconds: float | None) -> bool:
    """Whether the client disconnects in time."""
    try:
        return await asyncio.wait_for(reader.read(1), seconds) == b""
    except TimeoutError:
        return False


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]
