"""Simulates an OpenAI-compatible server that answers and grades at a fixed pace.

    python -m benchmarks.judge [--policy 32 0.3] [--judge 64 0.12] [--port 0]

With fixed times, the shortest possible evaluation is known exactly. The server prints its port, and runs in
its own process, so that its work is not counted as the client's.
"""

import argparse
import asyncio
import heapq
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MODEL = "simulated"
THOUGHT = "They asked for something that fits their own situation. "
ANSWER = "What you wrote before speaks for the first way, and for taking the time that it needs. "
TURN = f"<think>{THOUGHT * 4}</think><answer>{ANSWER * 14}</answer>"
"""About as long as the answers in LaMP-QA's paper."""
PIECES = 4
"""Events per turn."""
GRADE = 1


@dataclass(frozen=True)
class Pace:
    """A server's capacity: `at_once` requests at a time, each taking `seconds`."""

    at_once: int
    seconds: float


class Station:
    """Serves requests at a pace and queues the others in order of arrival.

    Time is an argument, so that the same class works in real time and in a computation.
    """

    def __init__(self, pace: Pace) -> None:
        self._seconds = pace.seconds
        self._free_at = [0.0] * pace.at_once

    def take(self, at: float) -> tuple[float, float]:
        """The start and end of a request that arrives at `at`. Call it in order of arrival."""
        begun = max(at, self._free_at[0])
        finished = begun + self._seconds
        heapq.heapreplace(self._free_at, finished)
        return begun, finished


@dataclass
class Simulator:
    """Runs the two stations in real time. A late reply does not delay the next one."""

    policy: Station
    judge: Station
    connections: int = 0
    _late: list[float] = field(default_factory=list)
    _cpu: float = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; requests come one after another."""
        self.connections += 1
        # The client may leave at any time.
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in lines if line)
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                await self._answer(first.rpartition(" ")[0], body, writer)
                await writer.drain()
        writer.close()

    async def _answer(self, target: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        arrived = time.monotonic()
        match target:
            case "POST /v1/completions":
                writer.write(_STREAM)
                if json.loads(body)["max_tokens"] == 1:
                    # A client that probes the server.
                    writer.write(_event("They", "length") + _END)
                    return
                begun, finished = self.policy.take(arrived)
                for number, text in enumerate(_pieces(TURN), 1):
                    await self._until(begun + (finished - begun) * number / PIECES)
                    writer.write(_event(text, "stop" if number == PIECES else None))
                writer.write(_END)
            case "POST /v1/chat/completions":
                await self._until(self.judge.take(arrived)[1])
                message = {"role": "assistant", "content": json.dumps({"match_score": GRADE})}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                writer.write(_whole("200 OK", {"object": "chat.completion", "choices": [choice]}))
            case "GET /v1/models":
                model = {"id": MODEL, "object": "model", "max_model_len": 32_768}
                writer.write(_whole("200 OK", {"object": "list", "data": [model]}))
            case "GET /v1/cost":
                writer.write(_whole("200 OK", self._cost()))
            case _:
                writer.write(_whole("404 Not Found", {"error": {"message": "there is no such path"}}))

    async def _until(self, due: float) -> None:
        await asyncio.sleep(due - time.monotonic())
        self._late.append(time.monotonic() - due)

    def _cost(self) -> dict[str, Any]:
        """CPU seconds since the last call, and how late replies were."""
        late = sorted(self._late)
        at = {f"p{share}": late[len(late) * share // 100] for share in (50, 99)} if late else {}
        spent, self._cpu = time.process_time() - self._cpu, time.process_time()
        said = {"cpu_s": spent, "late_s": at, "connections": self.connections}
        self._late, self.connections = [], 0
        return said


def _pieces(text: str) -> Iterator[str]:
    size = -(-len(text) // PIECES)
    return (text[start : start + size] for start in range(0, len(text), size))


def _event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "text": text, "finish_reason": finish}
    data = b"data: %b\n\n" % json.dumps({"object": "text_completion", "choices": [choice]}).encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def _whole(status: str, content: Any) -> bytes:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


async def serve(policy: Pace, judge: Pace, port: int) -> None:
    """Serve on 127.0.0.1 until cancelled."""
    simulator = Simulator(Station(policy), Station(judge))
    server = await asyncio.start_server(simulator.serve, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


@contextmanager
def running(policy: Pace, judge: Pace) -> Iterator[str]:
    """Run the server in its own process. Yields its base URL."""
    paces = {"--policy": policy, "--judge": judge}
    said = [str(word) for name, pace in paces.items() for word in (name, pace.at_once, pace.seconds)]
    command = [sys.executable, "-m", "benchmarks.judge", *said]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            assert process.stdout is not None
            if not (port := process.stdout.readline().strip()):
                raise RuntimeError("the simulated server did not start")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def pace_of(words: Sequence[str]) -> Pace:
    """Parse a pace. Raises ValueError if it is invalid."""
    at_once, seconds = words
    if int(at_once) < 1 or not 0 <= float(seconds) < float("inf"):
        raise ValueError(f"at least one request at a time, and no negative time: {at_once} {seconds}")
    return Pace(int(at_once), float(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulates a server that answers and grades.")
    for name, default in (("--policy", ("32", "0.3")), ("--judge", ("64", "0.12"))):
        parser.add_argument(name, nargs=2, default=default, metavar=("AT_ONCE", "SECONDS"))
    parser.add_argument("--port", type=int, default=0, help="0 for any free port")
    arguments = parser.parse_args()
    try:
        policy, judge = pace_of(arguments.policy), pace_of(arguments.judge)
    except ValueError as error:
        parser.error(str(error))
    asyncio.run(serve(policy, judge, arguments.port))


if __name__ == "__main__":
    main()
