"""Speed of everything around policy and encoder, as ratios measured in one run.

    python -m benchmarks.speed [--documents 10000] [--json OUT]

Each line shows a figure and its bar. Absolute times depend on the machine.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from agent.driver import drive
from agent.episode import Episode
from agent.policy import Chunk
from agent.trajectory import Search
from index.documents import Document, Passage
from index.encoding.encoders import EncoderManifest, Vectors, load_encoder
from index.profiles import Profiles
from index.ranking.vectors import VectorIndex
from index.storage.store import Store
from server import demo
from server.service import Service
from server.settings import Settings

PROFILE = 110
"""Average number of documents per LaMP-QA user."""
DIMENSION = 768
ROUNDS = 400


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    bar: float
    at_most: bool
    detail: str

    @property
    def met(self) -> bool:
        return self.value <= self.bar if self.at_most else self.value >= self.bar


def table_of(title: str, figures: Sequence[Figure]) -> Table:
    """A table of the figures and their bars."""
    table = Table(title=title)
    for column in ("", "measured", "bar", "", "from"):
        table.add_column(column)
    for figure in figures:
        bar = f"{'≤' if figure.at_most else '≥'} {figure.bar:g}"
        met = "met" if figure.met else "NOT met"
        table.add_row(figure.name, f"{figure.value:.2f}", bar, met, figure.detail)
    return table


class FixedEncoder:
    """Vectors without a model, for benchmarks that do not measure the encoder."""

    batch_tokens = 2_048
    manifest = EncoderManifest("fixed", "none", "none", True, DIMENSION, 512)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        vectors: Vectors = np.random.default_rng(0).normal(size=(len(texts), DIMENSION)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


class WaitingPolicy:
    """A policy that takes `seconds` per turn and searches `searches` times before it answers."""

    name = "waiting"

    def __init__(self, seconds: float, searches: int) -> None:
        self.seconds = seconds
        self.searches = searches
        self.waited = 0.0

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        began = time.perf_counter()
        if self.seconds:
            await asyncio.sleep(self.seconds)
        done = episode.limits.max_searches - episode.searches_left >= self.searches
        self.waited += time.perf_counter() - began
        action = "<answer>It was the blue one. [1]</answer>" if done else "<search>which one was it</search>"
        yield Chunk(f"<think>Let me see.</think>{action}", tokens=16, finish="stop")

    async def check(self) -> str:
        return "waits"

    async def aclose(self) -> None:
        """Nothing to release."""


def invented(count: int, seed: int = 0) -> list[Document]:
    """Documents of one to four sentences, sampled from the demo profiles."""
    pool = [
        sentence
        for user in demo.users()
        for document in demo.documents(user)
        for sentence in document.text.split(". ")
    ]
    draw = random.Random(seed)
    return [
        Document(id=f"d{i}", text=". ".join(draw.choices(pool, k=draw.randint(1, 4)))) for i in range(count)
    ]


def _serve(folder: str, port_to: Any) -> None:
    """A server process with one profile and a bare route."""
    import uvicorn

    from server.cli.serve import bound
    from server.http.app import create_app

    settings = Settings(data=Path(folder))
    encoder = FixedEncoder()
    profiles = Profiles(Store(settings.url, encoder.manifest), encoder)
    profiles.put("ana", invented(PROFILE))
    app = create_app(settings, Service(profiles, WaitingPolicy(0, 0), settings))

    @app.post("/bare")
    async def bare() -> dict[str, str]:
        return {"status": "ok"}

    listener = bound("127.0.0.1", 0)
    listener.listen()
    port_to.send(listener.getsockname()[1])
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def search_overhead() -> Figure:
    """`/search` by a stored vector, compared with a bare route plus FAISS alone."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        server = context.Process(target=_serve, args=(folder, sender), daemon=True)
        server.start()
        if not receiver.poll(60):
            raise RuntimeError("the measured server did not start")
        connection = http.client.HTTPConnection("127.0.0.1", receiver.recv())
        for _ in range(100):
            try:
                connection.connect()
                # A request is sent in two pieces; with Nagle's algorithm, the second would wait for an ACK.
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                break
            except OSError:
                time.sleep(0.1)
        body = json.dumps({"like": ["d7"], "k": 10})

        def post(path: str, body: str) -> float:
            began = time.perf_counter()
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            assert response.status == 200, text
            return time.perf_counter() - began

        for _ in range(50):
            post("/v1/users/ana/search", body)
            post("/bare", "{}")
        # Interleaved, so that a slow moment of the machine affects both.
        searched, bare = [], []
        for _ in range(ROUNDS):
            searched.append(post("/v1/users/ana/search", body))
            bare.append(post("/bare", "{}"))
        server.terminate()
        server.join()
    index = VectorIndex(FixedEncoder().encode_documents([""] * PROFILE).astype(np.float16))
    query = index.vector(7)[None]
    alone = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        index.search_raw(query, 10)
        alone.append(time.perf_counter() - began)
    p50 = [statistics.median(times) * 1e6 for times in (searched, bare, alone)]
    return Figure(
        "/search by stored vector ÷ (bare route + FAISS)",
        p50[0] / (p50[1] + p50[2]),
        3.0,
        True,
        f"{p50[0]:.0f} µs, bare {p50[1]:.0f} µs, FAISS {p50[2]:.0f} µs (p50)",
    )


def driver_cost() -> Figure:
    """Milliseconds that episode and driver add to a turn."""
    passages = [Passage(f"d{i}", document.text) for i, document in enumerate(invented(400))]
    per_turn = []

    async def answer() -> None:
        spent = 0.0
        served = 0

        async def search(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
            nonlocal spent, served
            began = time.perf_counter()
            found = passages[served : served + k]
            served += k
            spent += time.perf_counter() - began
            return found

        policy = WaitingPolicy(0, 3)
        began = time.perf_counter()
        episode = Episode("Which one was it?", policy=policy.name)
        async with aclosing(drive(episode, policy, search)) as events:
            async for _ in events:
                pass
        turns = 4
        per_turn.append((time.perf_counter() - began - spent - policy.waited) / turns * 1000)
        assert episode.finish_reason == "answered"

    async def answer_all() -> None:
        for _ in range(ROUNDS):
            await answer()

    asyncio.run(answer_all())
    return Figure("driver, ms a turn (p50)", statistics.median(per_turn), 1.0, True, f"{ROUNDS} × 4 turns")


def import_throughput(count: int) -> Figure:
    """Import compared with the encoder alone, on the same documents."""
    encoder = load_encoder()
    documents = invented(count)
    texts = [document.text for document in documents]
    encoder.encode_documents(texts[:256])
    alone = imported = 0.0
    part = max(count // 5, 1)
    with tempfile.TemporaryDirectory() as folder:
        profiles = Profiles(Store(f"sqlite:///{folder}/pr2.db", encoder.manifest), encoder)
        profiles.store.open()
        # In fifths, interleaved, so that a slow moment of the machine affects both.
        for number, first in enumerate(range(0, count, part)):
            for kind in ("alone", "import") if number % 2 else ("import", "alone"):
                began = time.perf_counter()
                if kind == "alone":
                    encoder.encode_documents(texts[first : first + part])
                    alone += time.perf_counter() - began
                else:
                    profiles.put("ana", documents[first : first + part])
                    imported += time.perf_counter() - began
    return Figure(
        "import throughput ÷ the encoder's own",
        alone / imported,
        0.9,
        False,
        f"{count} documents: {count / imported:.0f}/s, encoder alone {count / alone:.0f}/s",
    )


def concurrent_answers() -> Figure:
    """32 concurrent answers compared with one, with an engine that takes 50 ms per turn."""

    async def measure() -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(data=Path(folder))
            encoder = FixedEncoder()
            profiles = Profiles(Store(settings.url, encoder.manifest), encoder)
            users = [f"user{i}" for i in range(32)]
            for number, user in enumerate(users):
                profiles.put(user, invented(PROFILE, number))
            service = Service(profiles, WaitingPolicy(0.05, 2), settings)

            async def answer(user: str) -> None:
                request = await service.prepare(user, "Which one was it?")
                async with aclosing(service.answer(request)) as events:
                    async for _ in events:
                        pass

            for user in users:
                await service.search(user, ["warm up"], 1, settings.retriever)
            await asyncio.gather(*map(answer, users))
            one, all_of_them = [], []
            for _ in range(9):
                began = time.perf_counter()
                await answer(users[0])
                one.append(time.perf_counter() - began)
                began = time.perf_counter()
                await asyncio.gather(*map(answer, users))
                all_of_them.append(time.perf_counter() - began)
            await service.aclose()
            return statistics.median(one), statistics.median(all_of_them)

    one, together = asyncio.run(measure())
    return Figure(
        "32 concurrent answers ÷ one answer",
        together / one,
        1.3,
        True,
        f"{together * 1000:.0f} ms, one {one * 1000:.0f} ms (medians of 9; 3 turns of 50 ms, no encoding)",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of everything around policy and encoder, as ratios.")
    parser.add_argument("--documents", type=int, default=10_000, help="number of documents to import")
    parser.add_argument("--only", help="run only benchmarks with this in their name")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    steps: list[tuple[str, Callable[[], Figure]]] = [
        ("/search", search_overhead),
        ("driver", driver_cost),
        ("concurrent answers", concurrent_answers),
        ("import", lambda: import_throughput(arguments.documents)),
    ]
    console = Console(file=sys.stderr)
    figures = []
    for name, measure in steps:
        if arguments.only and arguments.only not in name:
            continue
        with console.status(f"measuring: {name}"):
            figures.append(measure())
    Console(width=150).print(table_of("Speed, as ratios in one run", figures))
    if arguments.json:
        values = {figure.name: vars(figure) | {"met": figure.met} for figure in figures}
        arguments.json.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
