"""Latency of the retriever `auto` beside that of one retriever, on this machine.

    python -m benchmarks.auto [--selector DIR ...] [--rounds 3] [--questions 30] [--json OUT]

The demo people's questions are answered by the extractive policy, so what is measured is searching and
choosing. A language model adds one answer to a choice before it, or one for each member to a choice after.
Without --selector, both modes are measured with MiniLM under an untrained output, whose choices mean nothing
and take as long as trained ones. Every question is asked in all ways, one right after the other, in an order
that rotates. Absolute times depend on the machine.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agent.policies.extractive import ExtractivePolicy
from agent.selecting import RENDERING, Mode, Selector, SelectorManifest, TrainedSelector, load_selector
from agent.trajectory import AUTO
from index.encoding.models import packaged_minilm
from index.profiles import Profiles, open_profiles
from server import demo
from server.answers import record_of
from server.service import Service
from server.settings import Settings

POOL = ("none", "recency", "bm25", "dense")
ONE = "hybrid"
"""The retriever that `auto` is compared with: the service's default."""
MAX_TOKENS = 512


@dataclass(frozen=True)
class Way:
    """The latencies of one way to answer, in seconds, question by question."""

    name: str
    answers: tuple[float, ...]
    choosing: tuple[float, ...]
    """The part of it that choosing took; empty if nothing was chosen."""

    def ratio(self, one: "Way") -> float:
        """Median over the questions of this way's latency divided by that of `one`."""
        return statistics.median(a / b for a, b in zip(self.answers, one.answers, strict=True))


def untrained(mode: Mode) -> TrainedSelector:
    """MiniLM under a random output: as fast as a trained selector of its size."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    folder = packaged_minilm()
    logging.set_verbosity_error()  # That the output is untrained is no news.
    torch.manual_seed(0)
    manifest = SelectorManifest(mode=mode, members=POOL, max_tokens=MAX_TOKENS, rendering=RENDERING)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    return TrainedSelector(manifest, model, AutoTokenizer.from_pretrained(folder))


async def measure(
    profiles: Profiles, selectors: Sequence[Selector], rounds: int, questions: Sequence[demo.DemoQuestion]
) -> list[Way]:
    """Answer every question in all ways. The first round is not counted: it loads the profiles."""
    policy = ExtractivePolicy()
    settings = Settings(data=Path(), limits={"deadline_ms": 600_000})
    services: Mapping[str, Service] = {
        ONE: Service(profiles, policy, settings),
        **{f"{AUTO}, {one.mode}": Service(profiles, policy, settings, selector=one) for one in selectors},
    }
    await demo.load(services[ONE])
    names = list(services)
    taken: dict[str, list[float]] = {name: [] for name in names}
    choosing: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for place, asked in enumerate(questions):
            first = (number + place) % len(names)
            for name in [*names[first:], *names[:first]]:
                service = services[name]
                retriever = ONE if name == ONE else AUTO
                request = await service.prepare(asked.user, asked.question, retriever=retriever)
                began = time.perf_counter()
                trajectory = (await record_of(service.answer(request))).trajectory
                if number:
                    taken[name].append(time.perf_counter() - began)
                    if trajectory.selection:
                        choosing[name].append(trajectory.selection.ms / 1000)
    await asyncio.gather(*(service.aclose() for service in services.values()))
    return [Way(name, tuple(taken[name]), tuple(choosing[name])) for name in names]


def table_of(ways: Sequence[Way]) -> Table:
    """The medians, and each way's ratio to the first."""
    table = Table(title=f"Latency of {AUTO}, {len(ways[0].answers)} answers each")
    for column in ("retriever", "median, s", "p90, s", "choosing, s", f"times {ways[0].name}"):
        table.add_column(column)
    for way in ways:
        p90 = statistics.quantiles(way.answers, n=10)[-1]
        chosen = f"{statistics.median(way.choosing):.3f}" if way.choosing else ""
        median = f"{statistics.median(way.answers):.3f}"
        table.add_row(way.name, median, f"{p90:.3f}", chosen, f"{way.ratio(ways[0]):.1f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--selector", type=Path, action="append", help="a trained selector's folder")
    parser.add_argument("--rounds", type=int, default=3, help="how often each question is asked")
    parser.add_argument("--questions", type=int, help="only the first so many")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        profiles = open_profiles(Settings(data=Path(folder)).url, "minilm")
        selectors: list[Selector] = [
            load_selector(one, known=profiles.retrievers.names) for one in given.selector or ()
        ]
        selectors = selectors or [untrained("pre"), untrained("post")]
        ways = asyncio.run(measure(profiles, selectors, given.rounds, demo.questions()[: given.questions]))
    Console().print(table_of(ways))
    if given.json:
        given.json.write_text(json.dumps([asdict(way) for way in ways], indent=1), "utf-8")


if __name__ == "__main__":
    main()
