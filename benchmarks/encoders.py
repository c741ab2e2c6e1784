"""Speed of each backend of an encoder on this machine, and the cosine of its vectors to PyTorch's in float32.

    python -m benchmarks.encoders [--encoder minilm] [--data FILE...] [--texts 600] [--rounds 3] [--json OUT]

The texts are documents of the histories in the files (see evidence.py), as many of each file; without
files, documents of the demo people, joined to several lengths. Their order is random. `import` is
what storing documents does: passages sorted by length, in batches of a token budget. It is compared with two
ways of encoding the same texts by PyTorch in float32: batches of 16 in the order of the texts, as scripts do,
and one call of SentenceTransformer.encode. All ways take turns. Absolute times depend on the machine.
An import is to be three times as fast as the batches of 16 and twice as fast as the one call, with a
cosine of .999 to their vectors; which backends are is printed below the table.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.evidence import UnusableData, read_histories
from index.encoding.backends import BACKENDS, LEAST_COSINE, cosines
from index.encoding.encoders import Encoder, Vectors, load_encoder, load_trainable
from index.encoding.options import TORCH, EncoderOptions
from index.encoding.shared import SharedEncoder
from index.errors import EncoderUnavailable
from server import demo

NAIVE = 16
"""Texts per batch of a script that neither sorts nor looks at lengths."""
QUERIES = 40
BARS = (3.0, 2.0)
"""How many times as fast as the two yardsticks an import is to be."""


@dataclass(frozen=True)
class Way:
    """A way to encode all texts."""

    name: str
    encode: Callable[[Sequence[str]], Vectors]
    query: Callable[[str], Vectors]


@dataclass(frozen=True)
class Measured:
    """Medians over the rounds."""

    name: str
    per_second: float
    """Texts per second."""
    naive_ratio: float
    """Times as fast as batches of 16."""
    library_ratio: float
    """Times as fast as SentenceTransformer.encode."""
    query_ms: float
    least_cosine: float


def made_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of one to eight documents of the demo people: about as varied in length as notes and mails."""
    draw = random.Random(seed)
    pool = [document.text for user in demo.users() for document in demo.documents(user)]
    return ["\n".join(draw.choices(pool, k=draw.choice((1, 1, 1, 2, 2, 3, 4, 8)))) for _ in range(count)]


def read_texts(files: Sequence[Path], count: int, seed: int = 0) -> list[str]:
    """At most `count` documents, as many from each file as from the others. Raises UnusableData."""
    draw = random.Random(seed)
    found: list[str] = []
    for file in files:
        pool = [each.text for history in read_histories(file) for each in history.documents]
        found += draw.sample(pool, min(count // len(files), len(pool)))
    draw.shuffle(found)
    return found


def yardsticks(plain: Any) -> Iterator[Way]:
    """Two ways to encode documents with a model of sentence-transformers, PyTorch in float32."""

    def encode(texts: Sequence[str], **options: Any) -> Vectors:
        vectors: Vectors = plain.encode_document(list(texts), show_progress_bar=False, **options)
        return vectors

    def in_order(texts: Sequence[str]) -> Vectors:
        parts = (texts[i : i + NAIVE] for i in range(0, len(texts), NAIVE))
        return np.concatenate([encode(part, batch_size=NAIVE) for part in parts])

    yield Way(f"batches of {NAIVE}", in_order, plain.encode_query)
    yield Way("SentenceTransformer.encode", encode, plain.encode_query)


def stored_by(encoder: Encoder) -> Way:
    """The way of an import, and of a search."""
    shared = SharedEncoder(encoder)
    backend = encoder.manifest.backend or TORCH
    return Way(
        f"import, {backend}",
        lambda texts: shared.encoded("imports", "ana", texts),
        lambda text: shared.encoded("searches", "ana", [text]),
    )


def measure(ways: Sequence[Way], texts: Sequence[str], rounds: int) -> list[Measured]:
    """All ways in turns, so that a slower moment of the machine falls on all of them.

    The first way is the one that vectors are compared with.
    """
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    queries: dict[str, list[float]] = {way.name: [] for way in ways}
    vectors: dict[str, Vectors] = {}
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Encoding", total=rounds * len(ways))
        for _ in range(rounds):
            for way in ways:
                way.query("Warm up.")
                began = time.perf_counter()
                vectors[way.name] = way.encode(texts)
                seconds[way.name].append(time.perf_counter() - began)
                for number in range(QUERIES):
                    began = time.perf_counter()
                    way.query(f"When did I plant the tomatoes, and what was the weather on day {number}?")
                    queries[way.name].append(time.perf_counter() - began)
                bar.advance(task)
    naive, library = (way.name for way in ways[:2])
    return [
        Measured(
            name=way.name,
            per_second=len(texts) / statistics.median(seconds[way.name]),
            naive_ratio=_ratio(seconds[naive], seconds[way.name]),
            library_ratio=_ratio(seconds[library], seconds[way.name]),
            query_ms=1e3 * statistics.median(queries[way.name]),
            least_cosine=float(cosines(vectors[naive], vectors[way.name]).min()),
        )
        for way in ways
    ]


def _ratio(baseline: Sequence[float], own: Sequence[float]) -> float:
    """Median over the rounds of how many times faster the way was than the baseline in the same round."""
    return statistics.median(other / each for other, each in zip(baseline, own, strict=True))


def table(measured: Sequence[Measured], encoder: str) -> Table:
    shown = Table(title=f"{encoder} on this machine")
    for column in ("", "texts/s", f"× batches of {NAIVE}", "× .encode", "query ms", "least cosine"):
        shown.add_column(column, justify="right" if column else "left")
    for each in measured:
        shown.add_row(
            each.name,
            f"{each.per_second:.1f}",
            f"{each.naive_ratio:.2f}",
            f"{each.library_ratio:.2f}",
            f"{each.query_ms:.1f}",
            f"{each.least_cosine:.4f}",
        )
    return shown


def verdicts(measured: Sequence[Measured]) -> Iterator[str]:
    """A sentence on each import: whether it meets the bars, and with which figures."""
    for each in measured[len(BARS) :]:
        ratios = (each.naive_ratio, each.library_ratio)
        met = all(ratio >= bar for ratio, bar in zip(ratios, BARS, strict=True))
        met = met and each.least_cosine >= LEAST_COSINE
        figures = f"{ratios[0]:.2f} × (≥ {BARS[0]:g}) and {ratios[1]:.2f} × (≥ {BARS[1]:g})"
        yield f"{each.name}: the bars are {'met' if met else 'missed'}, {figures}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.encoders",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--data", type=Path, nargs="+", metavar="FILE", help="histories")
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        texts = read_texts(options.data, options.texts) if options.data else made_texts(options.texts)
    except UnusableData as error:
        parser.error(str(error))
    ways = list(yardsticks(load_trainable(options.encoder).model))
    for backend in (TORCH, *BACKENDS):
        try:
            encoder = load_encoder(options.encoder, options=EncoderOptions(backend=backend))
        except EncoderUnavailable as error:
            console.print(f"{backend} is left out: {error}", markup=False)
            continue
        ways.append(stored_by(encoder))
    measured = measure(ways, texts, options.rounds)
    console.print(table(measured, options.encoder))
    for sentence in verdicts(measured):
        console.print(sentence, highlight=False)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in measured], indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
