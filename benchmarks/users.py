"""Searches of a few and of many users, the memory of hot users, and the size of a store, on both databases.

    python -m benchmarks.users [--users 100 100000] [--searches 1000] [--out DIR]

Every user has ten documents with random vectors. Users are drawn by Zipf's law over all, and searches of the
smaller and the larger store alternate, so that a slow moment of the machine affects both. Encoding costs next
to nothing here. `--out` gets a table, a chart and `users.json`, which benchmarks.capacity reads.
"""

import argparse
import asyncio
import gc
import json
import math
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from sqlalchemy import text

from agent.policies.extractive import ExtractivePolicy
from benchmarks.crowd import RandomEncoder, Zipf, fill
from benchmarks.speed import Figure, table_of
from index.profiles import Profiles
from index.storage.loading import StoredProfile
from index.storage.store import Store
from server.http.app import create_app
from server.service import Service
from server.settings import Settings

DOCUMENTS = 10
WIDE = 110
"""Documents of a LaMP-QA user, on average."""
WIDE_USERS = 200
HOT_USERS = 2_000
CACHE_MB = 256
QUESTION = "Which gift would make my grandchild happy this winter?"


class WatchedStore(Store):
    """A store that counts the profiles read from it."""

    loads = 0

    def load(self, user: str) -> StoredProfile:
        self.loads += 1
        return super().load(user)


@dataclass
class Times:
    """Milliseconds of requests that found their profile in memory, and of those that loaded it."""

    hits: list[float] = field(default_factory=list)
    misses: list[float] = field(default_factory=list)
    hits_cpu: list[float] = field(default_factory=list)
    """Processor time of each, which depends less on what else the machine does."""
    misses_cpu: list[float] = field(default_factory=list)

    @property
    def hit_rate(self) -> float:
        return len(self.hits) / (len(self.hits) + len(self.misses))


class Searched:
    """The API on one store, asked in this process, with its times."""

    def __init__(self, url: str, users: Sequence[str], cache_bytes: int) -> None:
        encoder = RandomEncoder()
        self.store = WatchedStore(url, encoder.manifest)
        self.profiles = Profiles(self.store, encoder, cache_bytes)
        self.times = Times()
        self._zipf = Zipf(users)
        settings = Settings(database_url=url, allowed_hosts=("api",))
        self.service = Service(self.profiles, ExtractivePolicy(), settings)
        transport = httpx.ASGITransport(create_app(settings, self.service))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://api")

    def warm(self, searches: int) -> None:
        for _ in range(searches):
            self.profiles.search(self._zipf.draw(), [QUESTION], 5)

    async def search(self) -> None:
        user, before = self._zipf.draw(), self.store.loads
        began, cpu = time.perf_counter(), time.process_time()
        response = await self.client.post(f"/v1/users/{user}/search", json={"queries": [QUESTION], "k": 5})
        took, cpu = (time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000
        assert response.json()["results"][0], response.text
        missed = self.store.loads > before
        (self.times.misses if missed else self.times.hits).append(took)
        (self.times.misses_cpu if missed else self.times.hits_cpu).append(cpu)

    async def aclose(self) -> None:
        await self.client.aclose()
        await self.service.aclose()


@dataclass(frozen=True)
class Memory:
    """Bytes of loaded profiles."""

    users: int
    raw: int
    """Vectors as they are stored (float16), and text in UTF-8."""
    resident: int
    """Growth of the resident memory of a process that loaded and searched them."""
    counted: int
    """As the cache counts them against `cache_mb`."""


def memory_of(url: str, users: Sequence[str]) -> Memory:
    """Load and search the users in a process of its own, which has held nothing else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_memory_here, url, users).result()


def _memory_here(url: str, users: Sequence[str]) -> Memory:
    encoder = RandomEncoder()
    profiles = Profiles(Store(url, encoder.manifest), encoder, 2**40)
    first, *rest = users
    profiles.search(first, [QUESTION], 5)  # Loads what all searches share.
    gc.collect()
    before = _resident()
    raw = counted = 0
    for user in rest:
        profiles.search(user, [QUESTION], 5)
        profile = profiles.get(user)
        raw += 2 * encoder.manifest.dimension * len(profile)
        raw += sum(len(document.text.encode()) for document in profile.documents)
        counted += profile.nbytes
    gc.collect()
    return Memory(len(rest), raw, _resident() - before, counted)


def _resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


@dataclass(frozen=True)
class Measured:
    """One database with the smaller and the larger number of users."""

    database: str
    users: tuple[int, int]
    few: Times
    """Few users, all of them in memory."""
    few_loaded: Times
    """Few users, none of them in memory."""
    many: Times
    cold_ms: list[float]
    """First searches of users with WIDE documents."""
    cold_cpu_ms: float
    """Processor time of this process for one of them."""
    bytes_per_document: float
    """Size of the database over its documents, indexes and all."""
    search_cpu_s: float
    """Processor time of a search that hits, with the client's."""
    memory: dict[int, Memory]
    """By the number of documents of a user."""

    @property
    def figures(self) -> list[Figure]:
        small, large = self.users
        name = f"{self.database}: /search p50, {large:,} ÷ {small:,} users"
        rate = f"hit rate {self.many.hit_rate:.2f}, {CACHE_MB} MiB"
        cold = statistics.median(self.cold_ms)
        few, loaded, many = self.few, self.few_loaded, self.many
        found = [
            _ratio(f"{name}, hits", (many.hits, few.hits), (many.hits_cpu, few.hits_cpu), rate),
            _ratio(f"{name}, misses", (many.misses, loaded.misses), (many.misses_cpu, loaded.misses_cpu)),
            Figure(
                f"{self.database}: cold search of {WIDE} documents, ms",
                cold,
                5,
                True,
                f"p50, no encoding, no HTTP; processor time {self.cold_cpu_ms:.2f} ms (mean)",
            ),
        ]
        for documents, memory in self.memory.items():
            each = memory.resident / memory.users / 1024
            detail = f"{each:.0f} KiB a user; the cache counts {memory.counted / memory.raw:.2f}"
            ratio = memory.resident / memory.raw
            found.append(
                Figure(f"memory ÷ (vectors + text), {documents} documents a user", ratio, 1.15, True, detail)
            )
        return found


def _ratio(
    name: str, times: tuple[list[float], list[float]], cpu: tuple[list[float], list[float]], more: str = ""
) -> Figure:
    """The ratio of medians, many users over few; that of the processor times is named beside it."""
    large, small = map(_median, times)
    processor = _median(cpu[0]) / _median(cpu[1])
    detail = f"{large:.2f} / {small:.2f} ms, processor time {processor:.2f}"
    return Figure(name, large / small, 1.1, True, f"{detail}, {more}" if more else detail)


def _median(values: Sequence[float]) -> float:
    """NaN, which meets no bar, if nothing was measured."""
    return statistics.median(values) if values else math.nan


async def measured(
    database: str,
    urls: tuple[str, str],
    counts: tuple[int, int],
    searches: int,
    with_memory: bool,
    wide_users: int = WIDE_USERS,
) -> Measured:
    """Fill both databases, and search them in turns."""
    few, many = ([f"user{number:07}" for number in range(count)] for count in counts)
    wide = [f"wide{number:04}" for number in range(wide_users)]
    sizes = []
    for url, users in zip(urls, (few, many), strict=True):
        store = Store(url, RandomEncoder.manifest)
        fill(store, users, DOCUMENTS)
        _settle(store)
        sizes.append(_size(store))
        if users is many:
            fill(store, wide, WIDE, seed=1)
            _settle(store)
        store.close()
    _log(f"{database}: filled")
    async with AsyncExitStack() as stack:
        searched = [
            Searched(url, users, cache)
            for url, users, cache in (
                (urls[0], few, CACHE_MB * 2**20),
                (urls[0], few, 1),
                (urls[1], many, CACHE_MB * 2**20),
            )
        ]
        for each in searched:
            stack.push_async_callback(each.aclose)
        searched[0].warm(10 * counts[0])
        searched[1].warm(1)
        searched[2].warm(20 * searches)
        _log(f"{database}: warm")
        began = time.process_time()
        for _ in range(searches):
            await searched[0].search()
        cpu = (time.process_time() - began) / searches
        searched[0].times = Times()
        for _ in range(searches):
            for each in searched:
                await each.search()
        profiles = searched[2].profiles
        cold = []
        began = time.process_time()
        for user in wide:
            start = time.perf_counter()
            profiles.search(user, [QUESTION], 5)
            cold.append((time.perf_counter() - start) * 1000)
        cold_cpu = (time.process_time() - began) / len(wide) * 1000
    memory = {}
    if with_memory:
        hot = many[: HOT_USERS + 1]
        memory = {DOCUMENTS: memory_of(urls[1], hot), WIDE: memory_of(urls[1], wide)}
    per_document = sizes[1] / (DOCUMENTS * counts[1])
    few_hit, few_loaded, most = (each.times for each in searched)
    return Measured(database, counts, few_hit, few_loaded, most, cold, cold_cpu, per_document, cpu, memory)


def _size(store: Store) -> int:
    """Bytes of the database on the disk."""
    if store.database.engine.dialect.name == "sqlite":
        return Path(store.database.name).stat().st_size
    with store.database.read() as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)


def _settle(store: Store) -> None:
    """Do now what would otherwise go on during the measurement: checkpoints and statistics."""
    if store.database.engine.dialect.name == "sqlite":
        store.database.scrub()
        return
    with store.database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))


@contextmanager
def databases() -> Iterator[dict[str, tuple[str, str]]]:
    """Two empty databases of each kind, by its name."""
    from tests.postgresql import Cluster, binaries

    programs = binaries()
    with tempfile.TemporaryDirectory() as folder:
        small, large = (f"sqlite:///{Path(folder, name)}.db" for name in ("small", "large"))
        found = {"SQLite": (small, large)}
        cluster = Cluster(programs) if programs else None
        try:
            if cluster:
                found["PostgreSQL"] = (cluster.create("small"), cluster.create("large"))
            yield found
        finally:
            if cluster:
                cluster.remove()


def _log(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr)


def markdown(figures: Sequence[Figure]) -> str:
    """The figures as a table."""
    lines = ["| | measured | bar | | from |", "|---|---|---|---|---|"]
    for each in figures:
        met = "met" if each.met else "not met"
        lines.append(f"| {each.name} | {each.value:.2f} | ≤ {each.bar:g} | {met} | {each.detail} |")
    return "\n".join(lines) + "\n"


def draw(found: Sequence[Measured], file: Path) -> None:
    """Draw the distributions of hits and misses, few users beside many."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(5 * len(found), 4), squeeze=False, sharey=True)
    for axis, each in zip(axes[0], found, strict=True):
        small, large = each.users
        groups: dict[str, list[float]] = {
            f"hits\n{small:,}": each.few.hits,
            f"hits\n{large:,}": each.many.hits,
            f"misses\n{small:,}": each.few_loaded.misses,
            f"misses\n{large:,}": each.many.misses,
        }
        axis.boxplot(list(groups.values()), tick_labels=list(groups), showfliers=False, whis=(5, 95))
        axis.set_title(each.database)
        axis.set_yscale("log")
    axes[0][0].set_ylabel("/search in ms (whiskers: 5 % and 95 %)")
    figure.tight_layout()
    figure.savefig(file, dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--users", type=int, nargs=2, default=(100, 100_000), metavar=("FEW", "MANY"))
    parser.add_argument("--searches", type=int, default=1_000, help="searches of each kind")
    parser.add_argument("--only", help="name of the only database to measure")
    parser.add_argument("--out", type=Path, help="folder for the table, the chart and the figures")
    given = parser.parse_args(arguments)
    found: list[Measured] = []
    with databases() as urls:
        for name, pair in urls.items():
            if given.only in (None, name):
                run = measured(name, pair, tuple(given.users), given.searches, with_memory=not found)
                found.append(asyncio.run(run))
                for figure in found[-1].figures:
                    _log(f"{figure.name}: {figure.value:.2f} ({figure.detail})")
    figures = [figure for each in found for figure in each.figures]
    Console(width=150).print(table_of("Few and many users, as ratios in one run", figures))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "users.md").write_text(markdown(figures), "utf-8")
        (given.out / "users.json").write_text(
            json.dumps([summary(each) for each in found], indent=2), "utf-8"
        )
        draw(found, given.out / "users.png")
    sys.exit(0 if all(figure.met for figure in figures) else 1)


def summary(measured: Measured) -> dict[str, Any]:
    """The figures that a table of capacities is made of."""
    return {
        "database": measured.database,
        "bytes_per_document": measured.bytes_per_document,
        "search_cpu_s": measured.search_cpu_s,
        "memory": {documents: asdict(memory) for documents, memory in measured.memory.items()},
    }


if __name__ == "__main__":
    main()
