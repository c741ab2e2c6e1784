"""Overhead of driver and policy client on top of an engine, with many concurrent questions.

    python -m benchmarks.episodes [--n 1 8 64 256] [--json OUT]

The engine is simulated with a latency model (`benchmarks/data/engine.json`), so the time that an ideal client
would need is known exactly. Each figure is shown with its bar; exit code 1 means that a bar was missed.
Absolute times depend on the machine.
"""

import argparse
import asyncio
import json
import multiprocessing
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from agent import prompts
from agent.driver import Searcher, drive
from agent.engines.openai import OpenAIServer
from agent.engines.sse import EventDecoder
from agent.episode import Episode
from agent.policies.tags import TagsPolicy
from agent.policy import STREAM_INTERVAL, Policy
from agent.trajectory import Limits, Search, Thought
from benchmarks import batching, engine
from benchmarks.speed import Figure, FixedEncoder, invented, table_of
from index.documents import Passage

AT_ONCE = (1, 8, 64, 256)
OVER_HTTP = (1, 8)
ALONE = 4
"""Number of questions asked one after another."""
LAG_AT = 64
"""Number of concurrent questions at which the lag of a thought has a bar."""
LIMITS = Limits(deadline_ms=600_000)


@dataclass(frozen=True)
class Row:
    """Measurements with `n` concurrent questions. Times are in seconds."""

    n: int
    wall: float
    bound: float
    one_by_one: float
    lockstep: float
    cpu_per_turn: float
    cpu_per_token: float
    bare_per_token: float
    waited: float
    lag: float
    late: dict[str, float]
    engine_cpu: float
    connections: int


@dataclass(frozen=True)
class Run:
    wall: float
    cpu: float
    waited: float
    """Time spent waiting for a core. If it is much of the wall time, that says little about our code."""
    tokens: int
    thoughts: dict[tuple[str, int], float]
    """Time at which the driver yielded the thought of (question, turn), on the clock of the engine's log."""


def questions(count: int) -> list[str]:
    return [f"Which one of the {number + 2} did I like best?" for number in range(count)]


def memory() -> Searcher:
    """Finds the next documents of a list without delay."""
    passages = [Passage(f"d{i}", document.text) for i, document in enumerate(invented(40))]

    async def search(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
        return passages[len(exclude) : len(exclude) + k]

    return search


def lockstep(search: Searcher, parties: int) -> Searcher:
    """Holds searches until every episode has one: a batch of turns, then a batch of searches."""
    barrier = asyncio.Barrier(parties)

    async def wait(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
        await barrier.wait()
        return await search(one, k, exclude)

    return wait


async def planned(question: str, search: Searcher, parameters: batching.Parameters) -> list[tuple[int, int]]:
    """(prompt tokens, tokens) of every turn that the engine will write."""
    episode = Episode(question, limits=LIMITS)
    turns = []
    while episode.finish_reason is None:
        turn = engine.Turn.after(episode.prompt, parameters)
        turns.append((turn.prompt_tokens, len(turn.pieces)))
        episode.feed("".join(turn.pieces))
        if episode.pending:
            k = min(LIMITS.top_k, episode.documents_left)
            episode.provide(await search(episode.pending, k, episode.passages_read))
    return turns


async def ask_all(asked: Sequence[str], policy: Policy, search: Searcher) -> Run:
    """Answers all questions concurrently."""
    thoughts: dict[tuple[str, int], float] = {}
    tokens = 0

    async def ask(question: str) -> None:
        nonlocal tokens
        episode = Episode(question, limits=LIMITS, policy=policy.name)
        turn = 0
        async with aclosing(drive(episode, policy, search)) as events:
            async for event in events:
                if isinstance(event, Thought):
                    thoughts[question, turn] = time.monotonic()
                    turn += 1
        if episode.finish_reason != "answered":
            raise RuntimeError(f"an episode ended with {episode.trajectory}")
        tokens += episode.policy_tokens

    began, spent, waited = time.monotonic(), time.process_time(), waited_for_a_core()
    await asyncio.gather(*map(ask, asked))
    wall, cpu = time.monotonic() - began, time.process_time() - spent
    return Run(wall, cpu, waited_for_a_core() - waited, tokens, thoughts)


def waited_for_a_core() -> float:
    """Seconds that this thread was runnable but not running; 0 if the system does not report it."""
    schedstat = Path("/proc/thread-self/schedstat")
    return int(schedstat.read_text().split()[1]) / 1e9 if schedstat.exists() else 0.0


class Bare(asyncio.Protocol):
    """Requests one turn and ignores its content: the lower bound for a client in an event loop."""

    def __init__(self, question: str) -> None:
        prompt = prompts.opening(question, prompts.INSTRUCTIONS, LIMITS.max_searches)
        asked = {"prompt": prompt, "stream": True, "stream_interval": STREAM_INTERVAL}
        body = json.dumps(asked).encode()
        self._request = b"POST /v1/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n0\r\n\r\n"):
            self.finished.set_result(None)


async def bare_cpu(base_url: str, asked: Sequence[str], tokens: int) -> float:
    """CPU seconds per token of `Bare`, for the first turns of all questions, `tokens` in all."""
    address = httpx.URL(base_url)
    loop = asyncio.get_running_loop()

    async def ask(question: str) -> None:
        transport, client = await loop.create_connection(
            lambda: Bare(question), address.host, address.port or 80
        )
        await client.finished
        transport.close()

    spent = time.process_time()
    await asyncio.gather(*map(ask, asked))
    return (time.process_time() - spent) / tokens


async def measure(n: int, alone: float, base_url: str, policy: Policy) -> Row:
    """`alone` is the mean time of a question asked on its own."""
    parameters = batching.Parameters.read(batching.PARAMETERS)
    asked = questions(n)
    search = memory()
    plans = [await planned(question, search, parameters) for question in asked]
    bound = max(map(max, batching.finishes(parameters, plans)))
    await schedule(base_url)
    run = await ask_all(asked, policy, search)
    log = await schedule(base_url)
    bare = await bare_cpu(base_url, asked, sum(turns[0][1] for turns in plans))
    in_lockstep = await ask_all(asked, policy, lockstep(search, n))
    turns = sum(map(len, plans))
    return Row(
        n,
        run.wall,
        bound,
        alone * n,
        in_lockstep.wall,
        run.cpu / turns,
        run.cpu / run.tokens,
        bare,
        run.waited,
        lag(log, run.thoughts),
        log["late_s"],
        log["cpu_s"],
        log["connections"],
    )


async def schedule(base_url: str) -> Any:
    """The engine's log since the last call."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"{base_url}/schedule")).json()


def lag(log: dict[str, Any], thoughts: dict[tuple[str, int], float]) -> float:
    """Median time between sending and receiving the last piece of a thought."""
    turns = log["turns"]
    lags: list[float] = [thoughts[turn["question"], turn["turn"]] - turn["thought"] for turn in turns]
    return statistics.median(lags)


def _serve(folder: str, base_url: str, port_to: Any) -> None:
    """Our API with one profile, in its own process, on the simulated engine."""
    import uvicorn

    from index.profiles import Profiles
    from index.storage.store import Store
    from server.cli.serve import bound
    from server.http.app import create_app
    from server.service import Service
    from server.settings import Settings

    # A graceful shutdown leaves nothing behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    settings = Settings(data=Path(folder))
    encoder = FixedEncoder()
    profiles = Profiles(Store(settings.url, encoder.manifest), encoder)
    profiles.put("ana", invented(40))
    service = Service(profiles, TagsPolicy(OpenAIServer(base_url, engine.MODEL)), settings)
    listener = bound("127.0.0.1", 0)
    listener.listen()
    port_to.send(listener.getsockname()[1])
    config = uvicorn.Config(create_app(settings, service), log_level="warning")

    async def serve() -> None:
        try:
            await uvicorn.Server(config).serve(sockets=[listener])
        finally:
            await service.aclose()

    asyncio.run(serve())


@contextmanager
def api(base_url: str) -> Iterator[str]:
    """Our API on the engine at `base_url`. Yields the URL of its profile."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        server = context.Process(target=_serve, args=(folder, base_url, sender), daemon=True)
        server.start()
        try:
            if not receiver.poll(60):
                raise RuntimeError("the measured server did not start")
            yield f"http://127.0.0.1:{receiver.recv()}/v1/users/ana"
        finally:
            server.terminate()
            server.join()


async def lag_over_http(n: int, profile: str, base_url: str) -> float:
    """Like `lag`, but up to the `thought` event at a client of our API."""
    thoughts: dict[tuple[str, int], float] = {}

    async def ask(client: httpx.AsyncClient, question: str) -> None:
        decoder, turn = EventDecoder(), 0
        body = {"question": question, "stream": True}
        async with client.stream("POST", f"{profile}/answers", json=body) as response:
            async for piece in response.aiter_bytes():
                for name, _ in decoder.decode_named(piece):
                    if name == "thought":
                        thoughts[question, turn] = time.monotonic()
                        turn += 1

    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        await ask(client, "Is everything warm?")
        await schedule(base_url)
        await asyncio.gather(*(ask(client, question) for question in questions(n)))
    return lag(await schedule(base_url), thoughts)


async def measure_all(numbers: Sequence[int], console: Console) -> tuple[list[Row], dict[int, float]]:
    """A row for each number of concurrent questions, and the lags over HTTP."""
    with engine.running() as base_url:
        policy = TagsPolicy(OpenAIServer(base_url, engine.MODEL))
        with console.status("measuring: one question after another"):
            await ask_all(["Is everything warm?"], policy, memory())
            alone = [(await ask_all([question], policy, memory())).wall for question in questions(ALONE)]
        rows = []
        for n in numbers:
            with console.status(f"measuring: {n} at once"):
                rows.append(await measure(n, statistics.mean(alone), base_url, policy))
        await policy.aclose()
        with console.status("measuring: over HTTP"), api(base_url) as profile:
            lags = {n: await lag_over_http(n, profile, base_url) for n in OVER_HTTP}
    return rows, lags


def figures_of(rows: Sequence[Row]) -> list[Figure]:
    """The figures that have a bar."""
    return [
        figure
        for row in rows
        for figure in (
            Figure(
                f"{row.n} at once: wall time ÷ the engine's bound",
                row.wall / row.bound,
                1.1,
                True,
                f"{row.wall:.2f} s, bound {row.bound:.2f} s; {row.waited:.2f} s without a core",
            ),
            Figure(
                f"{row.n} at once: our CPU, ms a turn",
                row.cpu_per_turn * 1e3,
                2.0,
                True,
                f"{row.cpu_per_token * 1e6:.0f} µs a token, of which a bare socket "
                f"{row.bare_per_token * 1e6:.0f} µs",
            ),
            *(
                [Figure(f"{row.n} at once: a thought's way through us, ms", row.lag * 1e3, 10.0, True, "p50")]
                if row.n == LAG_AT
                else []
            ),
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Overhead of driver and policy client on an engine.")
    parser.add_argument("--n", type=int, nargs="+", default=AT_ONCE, help="numbers of concurrent questions")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    rows, lags = asyncio.run(measure_all(arguments.n, Console(file=sys.stderr)))
    figures = figures_of(rows)

    console = Console(width=150)
    console.print(table_of("Driver and policy client against a simulated engine", figures))

    table = Table(title="Beside them", caption=f"one by one: n × the mean of {ALONE} questions, asked alone")
    for column in (
        "at once",
        "one by one ÷ ours",
        "lockstep ÷ ours",
        "a thought's way, ms (p50)",
        "over our HTTP API",
        "engine behind its schedule, ms (p50, p99)",
        "engine's CPU, share of a core",
        "new connections",
    ):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            str(row.n),
            f"{row.one_by_one / row.wall:.1f}",
            f"{row.lockstep / row.wall:.2f}",
            f"{row.lag * 1e3:.1f}",
            f"{lags[row.n] * 1e3:.1f}" if row.n in lags else "",
            f"{row.late['p50'] * 1e3:.1f}, {row.late['p99'] * 1e3:.1f}",
            f"{row.engine_cpu / row.wall:.2f}",
            str(row.connections),
        )
    console.print(table)
    if arguments.json:
        values = {
            "figures": {figure.name: vars(figure) | {"met": figure.met} for figure in figures},
            "rows": [vars(row) for row in rows],
            "thought_over_http_s": lags,
        }
        arguments.json.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    sys.exit(not all(figure.met for figure in figures))


if __name__ == "__main__":
    main()
