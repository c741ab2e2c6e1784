"""A simulated OpenAI-compatible engine: continuous batching's latency, with a script as the model.

    python -m benchmarks.engine [--port 0] [--parameters FILE]

It prints its port. It runs in its own process, so that its work is not counted as the client's.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, Self

from benchmarks.batching import PARAMETERS, SHORTEST_TURN, Batch, Parameters, Stream

MODEL = "simulated"
CHARACTERS_PER_TOKEN = 4
"""For prompts only: the tokens that the engine writes are the pieces of its script."""

_THINK, _THOUGHT = ["<", "think", ">"], ["</", "think", ">"]
_WORDS = "they wrote about it before so the history should tell which one and when it was".split()


@dataclass(frozen=True)
class Turn:
    """The script's reply to a prompt. `pieces` are its tokens, `close` is its stop string.

    `prompt_tokens` counts only what prefix caching does not cover.
    """

    question: str
    number: int
    prompt_tokens: int
    pieces: list[str]
    close: str

    @classmethod
    def after(cls, prompt: str, parameters: Parameters) -> Self:
        """The turn after a prompt. Equal prompts give equal turns: the question seeds the lengths."""
        question = prompt.partition("\nQuestion: ")[2].partition("\n\n")[0]
        number = min(prompt.count("\n</information>\n"), len(parameters.turn_tokens) - 1)
        draw = random.Random(question)
        low, high = 1 - parameters.spread, 1 + parameters.spread
        lengths = [round(mean * draw.uniform(low, high)) for mean in parameters.turn_tokens]
        last = number == len(lengths) - 1
        # Prefix caching: everything before the newest block is cached.
        known = max(prompt.rfind("\n<information>\n"), prompt.rfind("\nQuestion: "), 0)
        return cls(
            question,
            number,
            _tokens(prompt[known:]),
            _script(max(lengths[number], SHORTEST_TURN), last),
            "</answer>" if last else "</search>",
        )


def _tokens(prompt: str) -> int:
    return -(-len(prompt) // CHARACTERS_PER_TOKEN)


def _script(tokens: int, last: bool) -> list[str]:
    name = "answer" if last else "search"
    opened, closed = ["<", name, ">"], [" [", "1", "]"] * last + ["</", name, ">"]
    words = tokens - len(_THINK + _THOUGHT + opened + closed)
    spoken = words // 2 if last else 6
    return [*_THINK, *_prose(words - spoken), *_THOUGHT, *opened, *_prose(spoken), *closed]


def _prose(words: int) -> list[str]:
    return [(" " if i else "") + _WORDS[i % len(_WORDS)] for i in range(words)]


class Reply(Stream):
    """A turn that is streamed to a client, in vLLM's format."""

    def __init__(self, client: "Client", request: dict[str, Any], parameters: Parameters, at: float) -> None:
        turn = Turn.after(request["prompt"], parameters)
        pieces = turn.pieces[: request.get("max_tokens", len(turn.pieces))]
        super().__init__(turn.prompt_tokens, len(pieces))
        self.client = client
        self.turn = turn
        self.log: dict[str, Any] = {"question": turn.question, "turn": turn.number, "arrived": at}
        self._prompt_tokens = _tokens(request["prompt"])
        self._interval = max(parameters.stream_interval, request.get("stream_interval") or 1)
        self._text = "".join(pieces)
        self._reached = list(accumulate(map(len, pieces)))
        self._sent = 0
        self._thought = self._text.find("</think>") + len("</think>")
        stops = request.get("stop") or []
        self._finish = "stop" if len(pieces) == len(turn.pieces) else "length"
        self._stop = turn.close if self._finish == "stop" and turn.close in stops else None
        keeps = request.get("include_stop_str_in_output", False)
        # Text that may become a stop string is held back, unless stop strings are included.
        self._held = 0 if keeps or not stops else max(map(len, stops)) - 1
        self._whole = len(self._text) - len(self._stop if self._stop and not keeps else "")

    def event(self) -> bytes | None:
        """The event for the newest token, if that token completes one."""
        if self.done:
            text = self._text[self._sent : self._whole]
            reason = f'"{self._stop}"' if self._stop else "null"
            usage = {
                "prompt_tokens": self._prompt_tokens,
                "completion_tokens": self.tokens,
                "total_tokens": self._prompt_tokens + self.tokens,
            }
            return _event(text, f'"{self._finish}"', reason, json.dumps(usage))
        if self.written > 1 and self.written % self._interval:
            return None
        reached = max(self._reached[self.written - 1] - self._held, self._sent)
        text, self._sent = self._text[self._sent : reached], reached
        return _event(text)

    def sent(self, at: float) -> None:
        """Log when the first text, the end of the thought and the end of the turn were sent."""
        if self._sent or self.done:
            self.log.setdefault("first", at)
        if self._sent >= self._thought or self.done:
            self.log.setdefault("thought", at)
        if self.done:
            self.log["finished"] = at


def _event(text: str, finish: str = "null", stop: str = "null", usage: str = "null") -> bytes:
    # Formatted by hand: 256 streams need more than ten thousand events a second.
    return _chunk(
        b'data: {"id":"cmpl-5d0b2f7c4e9a4c58","object":"text_completion","created":1700000000,"model":"'
        + f'{MODEL}","choices":[{{"index":0,"text":{encode_basestring_ascii(text)},"logprobs":null,'.encode()
        + f'"finish_reason":{finish},"stop_reason":{stop}}}],"usage":{usage}}}\n\n'.encode()
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
_END = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Client(asyncio.Protocol):
    """One keep-alive connection with sequential requests."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        self._received = bytearray()
        self._reply: Reply | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.write = transport.write
        self._simulator.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reply is not None:
            self._simulator.batch.cancel(self._reply)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(fields.get("content-length", 0))
        if len(rest) >= length:
            del self._received[: len(head) + 4 + length]
            self._answer(first.rpartition(" ")[0], rest[:length])

    def finished(self) -> None:
        self.write(_END)
        self._reply = None

    def _answer(self, target: str, body: bytes) -> None:
        match target:
            case "POST /v1/completions":
                try:
                    request = json.loads(body)
                    if not (request["stream"] and isinstance(request["prompt"], str)):
                        raise ValueError
                except (ValueError, KeyError):
                    self._send("400 Bad Request", {"error": {"message": "a prompt and stream are needed"}})
                else:
                    self.write(_STREAM)
                    self._reply = self._simulator.submit(self, request)
            case "GET /v1/models":
                model = {"id": MODEL, "object": "model", "max_model_len": 32_768}
                self._send("200 OK", {"object": "list", "data": [model]})
            case "GET /v1/schedule":
                self._send("200 OK", self._simulator.schedule())
            case _:
                self._send("404 Not Found", {"error": {"message": "there is no such path"}})

    def _send(self, status: str, content: Any) -> None:
        body = json.dumps(content).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.write(head.encode() + body)


@dataclass
class Simulator:
    """Runs the batch in real time. A late step does not delay the next one."""

    parameters: Parameters
    connections: int = 0
    _late: list[float] = field(default_factory=list)
    _log: list[dict[str, Any]] = field(default_factory=list)
    _timer: asyncio.TimerHandle | None = None
    _cpu: float = 0.0

    def __post_init__(self) -> None:
        self.batch: Batch[Reply] = Batch(self.parameters)

    def submit(self, client: Client, request: dict[str, Any]) -> Reply:
        now = time.monotonic()
        reply = Reply(client, request, self.parameters, now)
        self._log.append(reply.log)
        self.batch.submit(reply, now)
        if self._timer is None:
            self._wait()
        return reply

    def schedule(self) -> dict[str, Any]:
        """The log since the last call; times are of `time.monotonic`."""
        late = sorted(self._late)
        at = {f"p{share}": late[len(late) * share // 100] for share in (50, 99)} if late else {}
        cpu, self._cpu = time.process_time() - self._cpu, time.process_time()
        said = {"turns": self._log, "late_s": at, "cpu_s": cpu, "connections": self.connections}
        self._log, self._late, self.connections = [], [], 0
        return said

    def _wait(self) -> None:
        due = self.batch.due
        # The loop's clock is time.monotonic.
        self._timer = None if due is None else asyncio.get_running_loop().call_at(due, self._tick, due)

    def _tick(self, due: float) -> None:
        for reply in self.batch.advance():
            if (event := reply.event()) is not None:
                reply.client.write(event)
                now = time.monotonic()
                self._late.append(now - due)
                reply.sent(now)
                if reply.done:
                    reply.client.finished()
        self._wait()


async def serve(parameters: Parameters, port: int) -> None:
    """Serve on 127.0.0.1 until cancelled."""
    simulator = Simulator(parameters)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(simulator), "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


@contextmanager
def running(parameters: Path = PARAMETERS) -> Iterator[str]:
    """The engine in its own process. Yields its base URL."""
    command = [sys.executable, "-m", "benchmarks.engine", "--parameters", str(parameters)]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            assert process.stdout is not None
            if not (port := process.stdout.readline().strip()):
                raise RuntimeError("the simulated engine did not start")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description="A simulated OpenAI-compatible engine.")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free port")
    parser.add_argument("--parameters", type=Path, default=PARAMETERS, help="the latency model")
    arguments = parser.parse_args()
    try:
        parameters = Parameters.read(arguments.parameters)
    except ValueError as error:
        parser.error(str(error))
    asyncio.run(serve(parameters, arguments.port))


if __name__ == "__main__":
    main()
