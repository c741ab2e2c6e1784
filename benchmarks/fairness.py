"""Cost of heavy users to the others on one server, as ratios measured in one run.

    python -m benchmarks.fairness [--code FOLDER] [--only NAME] [--json OUT]

A real server with the real encoder runs in a process of its own. Its clients run here, on the last CPU, which
the server leaves to them if there are several. `--code` serves another checkout, for a comparison.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
PROFILE = 40
"""Documents of a user who searches or asks."""
LONG_IMPORT = 20_000
"""Documents of a long import: minutes of encoding."""
BULKY = [("what did we say about the garden and the old house " * 160)[:8_000]] * 64
"""Queries of one bulky search, each of 8,000 characters."""
CLIENTS = 400
SEARCHERS = 8
"""Users whom the clients search for."""
ASKERS = 8
ROUNDS = 12
PATIENCE_S = 30.0
"""Longest measurement, in seconds. A request still running by then counts as having taken this long."""
WORDS = "tea garden house river dog friend summer letter bread music walk train book rain child work".split()


def documents(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Documents of about 20 words."""
    draw = random.Random(seed)
    return [{"id": f"d{i}", "text": " ".join(draw.choices(WORDS, k=20)) + f" {i}."} for i in range(count)]


CPUS = sorted(os.sched_getaffinity(0))
OF_SERVER = set(CPUS[:-1] or CPUS)


def serve(folder: str) -> None:
    """Serve a store in `folder`. Prints the port; GET /encoded counts the texts that were encoded."""
    import socket

    import uvicorn

    from server.assembly import open_service
    from server.http.app import create_app
    from server.settings import Settings

    settings = Settings(data=Path(folder))
    service = open_service(settings)
    model: Any = service.profiles.encoder.model  # type: ignore[attr-defined]
    encode, encoded = model.encode, 0

    def counted(texts: Sequence[str], **options: Any) -> Any:
        nonlocal encoded
        vectors = encode(texts, **options)
        encoded += len(texts)
        return vectors

    model.encode = counted
    app = create_app(settings, service)
    app.add_api_route("/encoded", lambda: {"texts": encoded})
    with socket.create_server(("127.0.0.1", 0), backlog=2_048) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


class Server:
    """A running server, as its clients see it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def put(self, user: str, items: Sequence[dict[str, str]]) -> None:
        body = "".join(json.dumps(item) + "\n" for item in items)
        headers = {"Content-Type": "application/x-ndjson"}
        await self._send("PUT", f"/v1/users/{user}/documents", data=body, headers=headers)

    async def search(self, user: str, queries: Sequence[str]) -> None:
        await self._send("POST", f"/v1/users/{user}/search", json={"queries": list(queries), "k": 5})

    async def ask(self, user: str) -> None:
        body = {"question": "What did I write about the garden?"}
        await self._send("POST", f"/v1/users/{user}/answers", json=body)

    async def encoded(self) -> int:
        return int((await self._send("GET", "/encoded"))["texts"])

    async def _send(self, method: str, path: str, **options: Any) -> Any:
        while True:
            async with self._session.request(method, path, **options) as response:
                if response.status != 429:
                    response.raise_for_status()
                    return await response.json()
            await asyncio.sleep(float(response.headers["Retry-After"]))


@asynccontextmanager
async def served(code: Path) -> AsyncIterator[Server]:
    """A server of the code in this folder, with the profiles of the users who search and ask."""
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            "--serve",
            folder,
            env=os.environ | {"PYTHONPATH": str(code)},
            cwd=folder,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, OF_SERVER),
        )
        try:
            assert process.stdout is not None
            port = await process.stdout.readline()
            connector = aiohttp.TCPConnector(limit=0)
            timeout = aiohttp.ClientTimeout(total=None)
            async with aiohttp.ClientSession(
                f"http://127.0.0.1:{int(port)}", connector=connector, timeout=timeout
            ) as session:
                server = Server(session)
                for number in range(SEARCHERS):
                    await server.put(f"user{number}", documents(PROFILE, number))
                    await server.search(f"user{number}", ["warm up"])
                yield server
        finally:
            process.kill()
            await process.wait()


@contextmanager
def beside(*loads: Awaitable[Any]) -> Any:
    """Run the loads as long as something else is measured."""
    tasks = [asyncio.ensure_future(load) for load in loads]
    try:
        yield
    finally:
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
            task.cancel()


async def again_and_again(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await work()


async def seconds(work: Callable[[], Awaitable[None]], rounds: int = ROUNDS) -> list[float]:
    """Times of `rounds` calls, one after the other, or of fewer if they take longer than PATIENCE_S."""
    taken: list[float] = []
    until = time.perf_counter() + PATIENCE_S
    while len(taken) < rounds and (began := time.perf_counter()) < until:
        try:
            async with asyncio.timeout(until - began):
                await work()
        except TimeoutError:
            pass
        taken.append(time.perf_counter() - began)
    return taken


async def rate(work: Callable[[], Awaitable[None]], callers: int, duration_s: float) -> float:
    """Calls a second that come to their end, with so many callers."""
    done = 0

    async def call() -> None:
        nonlocal done
        while True:
            await work()
            done += 1

    with beside(*(call() for _ in range(callers))):
        await asyncio.sleep(duration_s)
    return done / duration_s


def times(name: str, alone: Sequence[float], crowded: Sequence[float]) -> dict[str, Any]:
    a, b = statistics.median(alone), statistics.median(crowded)
    return {
        "figure": name,
        "alone": a,
        "beside": b,
        "ratio": b / a,
        "detail": f"median {b:.2f} s, worst {max(crowded):.2f} s of {len(crowded)}; alone {a:.3f} s",
    }


async def bulky_searches(server: Server) -> dict[str, Any]:
    """A user's search beside another's four requests of 64 queries of 8,000 characters."""

    async def search() -> None:
        await server.search("user0", ["where did we walk last summer"])

    alone = await seconds(search)
    with beside(*(again_and_again(lambda: server.search("user1", BULKY)) for _ in range(4))):
        await asyncio.sleep(1)
        return times("search beside a bulky searcher", alone, await seconds(search))


async def many_clients(server: Server) -> dict[str, Any]:
    """Answers a second beside 400 clients that search."""
    number = iter(range(10**9))
    duration_s = PATIENCE_S

    async def ask() -> None:
        await server.ask(f"user{next(number) % SEARCHERS}")

    async def search() -> None:
        which = next(number)
        await server.search(f"user{which % SEARCHERS}", [f"where did we walk {which} times"])

    alone = await rate(ask, ASKERS, duration_s)
    with beside(*(again_and_again(search) for _ in range(CLIENTS))):
        await asyncio.sleep(3)
        crowded = await rate(ask, ASKERS, duration_s)
    return {
        "figure": f"answers/s beside {CLIENTS} search clients",
        "alone": alone,
        "beside": crowded,
        "ratio": crowded / alone if alone else None,
        "detail": f"{crowded:.1f}/s, alone {alone:.1f}/s, {ASKERS} asking",
    }


async def long_imports(server: Server) -> dict[str, Any]:
    """A third user's put of one document beside two long imports."""

    async def put() -> None:
        await server.put("user2", [{"text": f"Walked to the river, {time.time_ns()}."}])

    alone = await seconds(put)
    with beside(*(server.put(user, documents(LONG_IMPORT)) for user in ("import0", "import1"))):
        await asyncio.sleep(3)
        return times("PUT of one document beside two long imports", alone, await seconds(put))


async def abandoned_import(server: Server) -> dict[str, Any]:
    """Documents that are encoded after the client of an import has left."""
    with beside(server.put("leaver", documents(LONG_IMPORT))):
        await asyncio.sleep(5)
        before = await server.encoded()
    left = await server.encoded()
    await asyncio.sleep(PATIENCE_S / 3)
    after = await server.encoded() - left
    return {
        "figure": "documents encoded after an import's client left",
        "alone": before,
        "beside": after,
        "ratio": None,
        "detail": f"{after} in {PATIENCE_S / 3:.0f} s, of {LONG_IMPORT:,} sent",
    }


STEPS = (bulky_searches, many_clients, long_imports, abandoned_import)


async def measure(code: Path, only: str | None) -> list[dict[str, Any]]:
    """Each figure with a server of its own, so that none leaves work to the next."""
    figures = []
    for step in STEPS:
        if only is None or only in step.__name__:
            async with served(code) as server:
                figures.append(await step(server))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of heavy users to the others, as ratios.")
    parser.add_argument("--code", type=Path, default=ROOT, help="checkout to serve")
    parser.add_argument("--only", help="measure only what has this in its name")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    os.sched_setaffinity(0, CPUS[-1:])
    figures = asyncio.run(measure(arguments.code, arguments.only))
    table = Table(title="Beside heavy users")
    for column in ("", "ratio", "from"):
        table.add_column(column)
    for figure in figures:
        ratio = figure["ratio"]
        table.add_row(figure["figure"], "" if ratio is None else f"{ratio:.2f}", figure["detail"])
    Console(width=150).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
