"""Rows, bytes, memory and servers for 1 to 100 million users, from what benchmarks.users has measured.

    python -m benchmarks.users --out DIR
    python -m benchmarks.capacity DIR/users.json

Bytes and processor time are measured; how people use the service is assumed, by the options.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USERS = (1, 1_000, 1_000_000, 100_000_000)
_DAY_S = 86_400


@dataclass(frozen=True)
class Use:
    """How people use the service, and what a server has."""

    documents: int = 110
    """Of a user; those of benchmarks.users have one passage each."""
    hot: float = 0.01
    """Share of users whose profiles are kept in memory."""
    active: float = 0.1
    """Share of users who ask on a day."""
    searches: float = 20
    """Of an active user on a day."""
    peak: float = 4
    """Searches a second at the busiest time over the mean."""
    cores: int = 16
    """Of an API server; half of their time is planned for."""
    memory_gib: float = 64
    """Of an API server; three quarters are planned for profiles."""
    disk_tb: float = 4
    """Of a database server."""


@dataclass(frozen=True)
class Need:
    users: int
    rows: int
    database_bytes: float
    hot_bytes: float
    searches_s: float
    """Searches a second at the busiest time."""
    api_servers: int
    database_servers: int


def need(users: int, use: Use, measured: Mapping[str, Any]) -> Need:
    """Work out the need of so many users. `measured` is one database of `users.json`.

    `memory` has bytes of loaded profiles by the number of their documents; the largest profiles count, in
    proportion.
    """
    documents = users * use.documents
    largest = max(measured["memory"], key=int)
    loaded = measured["memory"][largest]
    per_document = loaded["resident"] / loaded["users"] / int(largest)
    hot = max(1, math.ceil(users * use.hot)) * use.documents * per_document
    searches = users * use.active * use.searches / _DAY_S * use.peak
    for_searches = searches * measured["search_cpu_s"] / (use.cores / 2)
    for_memory = hot / (use.memory_gib * 2**30 * 0.75)
    size = documents * measured["bytes_per_document"]
    return Need(
        users,
        users + 2 * documents,
        size,
        hot,
        searches,
        max(1, math.ceil(for_searches), math.ceil(for_memory)),
        max(1, math.ceil(size / (use.disk_tb * 1e12))),
    )


def table(needs: Sequence[Need]) -> str:
    """The needs in Markdown."""
    columns = (
        "users",
        "rows",
        "database",
        "memory of hot users",
        "searches/s at the peak",
        "API servers",
        "database servers",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for each in needs:
        rate = f"{each.searches_s:,.0f}" if each.searches_s >= 100 else f"{each.searches_s:.2g}"
        cells = (
            f"{each.users:,}",
            f"{each.rows:,}",
            _size(each.database_bytes),
            _size(each.hot_bytes),
            rate,
            f"{each.api_servers:,}",
            f"{each.database_servers:,}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _size(count: float) -> str:
    """A number of bytes to three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1_000 or unit == "TB":
            break
        count /= 1_000
    return f"{count:.3g} {unit}" if count < 1_000 else f"{count:,.0f} {unit}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, help="users.json that benchmarks.users wrote")
    for name, kind in Use.__annotations__.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(Use, name))
    given = vars(parser.parse_args(arguments))
    found = json.loads(given.pop("file").read_text("utf-8"))
    use = Use(**given)
    memory = next(each["memory"] for each in found if each["memory"])
    print(", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in vars(use).items()))
    for each in found:
        print(
            f"\n{each['database']}: {each['bytes_per_document']:,.0f} bytes a document in the database, "
            f"{each['search_cpu_s'] * 1000:.2f} ms of processor time a search\n"
        )
        print(table([need(users, use, each | {"memory": memory}) for users in USERS]))


if __name__ == "__main__":
    main()
