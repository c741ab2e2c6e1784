"""Documents a second of `pr2 profile import --users` with one worker and with several.

    python -m benchmarks.workers [--workers 2] [--users 12] [--documents 40] [--rounds 2] [--encoder minilm]

All of them share the same cores: a worker has an equal part. They take turns, so that a slow moment of the
machine affects each, and count from the first user that is stored, so that starting is left out.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.speed import invented
from index.bulk.users import Reading, Target, users_in
from index.bulk.workers import import_users
from index.encoding.encoders import load_encoder
from index.formats import Options
from index.threads import cores


def write(folder: Path, users: int, documents: int) -> Path:
    """Write a file for each user."""
    folder.mkdir()
    for number in range(users):
        lines = (json.dumps(document.to_dict()) + "\n" for document in invented(documents, number))
        (folder / f"user{number}.ndjson").write_text("".join(lines), "utf-8")
    return folder


def rate(folder: Path, target: Target, workers: int) -> float:
    """Documents a second after the first `workers` users, which wait for the encoders to load."""
    count = began = 0.0
    for number, outcome in enumerate(
        import_users(users_in(folder), target, Reading(Options("")), workers), 1
    ):
        assert not outcome.error, outcome
        if number > workers:
            count += outcome.put
        elif number == workers:
            began = time.perf_counter()
    return count / (time.perf_counter() - began)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--users", type=int, default=12)
    parser.add_argument("--documents", type=int, default=40, help="of a user")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--encoder", default="minilm")
    given = parser.parse_args(arguments)
    rates: dict[int, list[float]] = {1: [], given.workers: []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = write(Path(scratch, "users"), given.users, given.documents)
        for number in range(given.rounds):
            for workers in sorted(rates, reverse=bool(number % 2)):
                url = f"sqlite:///{Path(scratch, f'{number}-{workers}.db')}"
                target = Target(url, partial(load_encoder, given.encoder))
                rates[workers].append(rate(folder, target, workers))
                print(f"{workers} workers: {rates[workers][-1]:.1f} documents/s", file=sys.stderr)
    one, several = (statistics.median(rates[workers]) for workers in (1, given.workers))
    print(
        f"{given.workers} workers ÷ 1: {several / one:.2f} "
        f"({several:.1f} / {one:.1f} documents/s, medians of {given.rounds}, {cores()} cores)"
    )


if __name__ == "__main__":
    main()
