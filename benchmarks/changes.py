"""Measures what a change of a long history costs the search that comes next, and the first search of all.

    python -m benchmarks.changes [--documents 12000 49000] [--rounds 25] [--processor]

On SQLite and on PostgreSQL. Documents are made up: ten people write in four places about words that are as
frequent as words are, and vectors are random. Each round searches twice, once after a change and once more;
the figure is the median of their ratios. The first search is that of a process that has searched other users,
over 10,000 documents. Nothing is encoded: `ingest` is what a put
costs besides. Times are those of the clock or, with --processor, of this process on its processors, which
other programs do not disturb, but which leaves out PostgreSQL's own.

Exit code 1 if a search after a change takes more than 1.2 times as long as the next one, or the first search
more than 250 ms.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.concurrency import databases
from benchmarks.crowd import RandomEncoder
from index.documents import Document
from index.profiles import Profiles
from index.storage.store import Store

RATIO, FIRST_MS = 1.2, 250
"""Bars of a search after a change, over the next one, and of the first search."""
FIRST = 10_000
"""Documents of the user whose first search is measured."""
KINDS = ("append", "replace", "delete")
_SYLLABLES = [first + second for first in "bdfgklmnprstv" for second in "aeiou"]
_FUNCTION_WORDS = "the a of and to in was it for on with at by from is that this we i you not".split()
_BEGIN = datetime(2019, 1, 1, 8, tzinfo=UTC)


class History:
    """Documents without end, the same ones each time."""

    def __init__(self) -> None:
        self._dice = random.Random(0)
        self.words = [
            "".join(self._dice.choices(_SYLLABLES, k=self._dice.randint(2, 4))) for _ in range(8_000)
        ]
        self._weights = [1 / rank for rank in range(1, len(self.words) + 1)]
        self._number = 0

    def document(self, document_id: str | None = None) -> Document:
        """The next document, of about 45 words."""
        number, dice = self._number, self._dice
        self._number += 1
        topics = dice.choices(self.words, self._weights, k=22)
        pairs = zip(dice.choices(_FUNCTION_WORDS, k=22), topics, strict=True)
        return Document(
            id=document_id or f"d{number}",
            text=" ".join(word for pair in pairs for word in pair) + ".",
            source=f"chat {number % 4}",
            created_at=_BEGIN + timedelta(hours=number),
            metadata={"author": f"Person{number % 10} Berg"},
        )

    def documents(self, size: int) -> Iterator[Document]:
        return (self.document() for _ in range(size))

    def question(self) -> str:
        person, first, second = self._dice.randrange(10), *self._dice.choices(self.words[:2_000], k=2)
        return f"What did Person{person} say about the {first} {second}?"


@dataclass(frozen=True)
class Measured:
    """Times in milliseconds, and ratios of searches after a change over the next ones."""

    warm: float
    ingest: float
    ratios: dict[str, float]


def measured(store: Store, size: int, rounds: int, clock: Callable[[], float]) -> Measured:
    """Measure changes of a history of `size` documents. They go through the store, as another server's do."""
    profiles, history, user = Profiles(store, RandomEncoder()), History(), f"with {size}"
    # Of any age, and each of them once.
    known = iter(random.Random(1).sample(range(size), 2 * rounds))
    changes: dict[str, Callable[[], object]] = {
        "append": lambda: profiles.put(user, [history.document()]),
        "replace": lambda: profiles.put(user, [history.document(f"d{next(known)}")]),
        "delete": lambda: store.delete_document(user, f"d{next(known)}"),
    }
    profiles.put(user, history.documents(size))
    search(profiles, user, history.question(), clock)
    warm: list[float] = []
    ingest: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in changes}
    for _ in range(rounds):
        for name, change in changes.items():
            question = history.question()
            begin = clock()
            change()
            if name == "append":
                ingest.append(clock() - begin)
            after, again = (search(profiles, user, question, clock) for _ in range(2))
            ratios[name].append(after / again)
            warm.append(again)
    return Measured(
        1_000 * median(warm), 1_000 * median(ingest), {name: median(each) for name, each in ratios.items()}
    )


def search(profiles: Profiles, user: str, question: str, clock: Callable[[], float]) -> float:
    """Return how long the search takes."""
    vectors = profiles.encoder.encode_queries([question])
    begin = clock()
    profiles.search(user, [question], 10, vectors=vectors)
    return clock() - begin


def first_search(store: Store, size: int, rounds: int, clock: Callable[[], float]) -> float:
    """Return the milliseconds of a first search, the median of several."""
    encoder, history = RandomEncoder(), History()
    Profiles(store, encoder).put("first", history.documents(size))
    Profiles(store, encoder).put("other", history.documents(100))
    times = []
    for _ in range(rounds):
        profiles = Profiles(store, encoder)
        search(profiles, "other", history.question(), clock)
        times.append(search(profiles, "first", history.question(), clock))
    return 1_000 * median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[12_000, 49_000], metavar="N")
    parser.add_argument("--first", type=int, default=FIRST, metavar="N", help="documents of a first search")
    parser.add_argument("--rounds", type=int, default=25, help="changes of each kind")
    parser.add_argument("--processor", action="store_true", help="count processor time of this process")
    options = parser.parse_args()
    clock = time.process_time if options.processor else time.perf_counter
    if min(options.documents) < 2 * options.rounds:
        parser.error("--rounds: at most half of the documents can change")
    table = Table(title="Search after a change, over the next search")
    for column in ("database", "documents", *KINDS, "warm ms", "ingest ms", "first ms"):
        table.add_column(column, justify="left" if column == "database" else "right")
    missed: list[str] = []
    with databases() as found:
        for name, (url, _) in found.items():
            store = Store(url, RandomEncoder.manifest)
            first = first_search(store, options.first, 5, clock)
            table.add_row(name, f"{options.first:,}", *[""] * 5, f"{first:.0f}")
            if first > FIRST_MS:
                missed.append(f"{name}: a first search takes {first:.0f} ms, over {FIRST_MS}")
            for size in options.documents:
                got = measured(store, size, options.rounds, clock)
                ratios = [f"{got.ratios[kind]:.2f}" for kind in KINDS]
                table.add_row(name, f"{size:,}", *ratios, f"{got.warm:.1f}", f"{got.ingest:.1f}", "")
                missed += [
                    f"{name}: {kind} at {size:,} documents: {ratio:.2f}, over {RATIO}"
                    for kind, ratio in got.ratios.items()
                    if ratio > RATIO
                ]
            store.close()
    console = Console()
    console.print(table)
    for line in missed:
        console.print(line, highlight=False)
    if "PostgreSQL" not in found:
        console.print("PostgreSQL is not installed on this machine, and was not measured")
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
