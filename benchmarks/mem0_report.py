"""The figures of benchmarks/mem0.py as Markdown, JSON and a chart."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

OURS = "PR²"


@dataclass(frozen=True)
class Searched:
    """One way to search, with so many user names and documents in the store."""

    way: str
    users: int
    documents: int
    first_ms: float
    """Median of the first search for a user name."""
    p50_ms: float
    p99_ms: float
    recall: float


@dataclass(frozen=True)
class Added:
    """Documents a second that one side adds to a store with so many."""

    side: str
    documents: int
    """Before the first one was added."""
    per_second: float


def table(searched: Sequence[Searched], adding: Sequence[Added], versions: Mapping[str, str]) -> str:
    """Both tables in Markdown, the versions, and a sentence for each figure in which ours is not ahead."""
    lines = ["| search | user names | documents | first ms | p50 ms | p99 ms | recall@10 |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for row in searched:
        times = " | ".join(f"{value:.1f}" for value in (row.first_ms, row.p50_ms, row.p99_ms))
        lines.append(f"| {row.way} | {row.users} | {row.documents:,} | {times} | {row.recall:.3f} |")
    lines += ["", "| adding | documents before | documents/s |", "|---|---:|---:|"]
    lines += [f"| {row.side} | {row.documents:,} | {row.per_second:.1f} |" for row in adding]
    lines += ["", ", ".join(f"{name} {number}" for name, number in sorted(versions.items())) + "."]
    lines += ["", *(f"- {sentence}" for sentence in shortfalls(searched, adding))]
    return "\n".join(lines).rstrip() + "\n"


def shortfalls(searched: Sequence[Searched], adding: Sequence[Added]) -> Iterator[str]:
    """Where ours is not ahead of every other side, and where its recall depends on the number of users."""
    figures: dict[str, Callable[[Searched], float]] = {
        "the first search (ms)": lambda row: row.first_ms,
        "p50 (ms)": lambda row: row.p50_ms,
        "p99 (ms)": lambda row: row.p99_ms,
        "recall@10": lambda row: -row.recall,
    }
    ours = [row for row in searched if row.way == OURS]
    for own in ours:
        for other in searched:
            if other.users != own.users or other.way.startswith(OURS):
                continue
            for name, cost in figures.items():
                if cost(own) >= cost(other):
                    yield (
                        f"{OURS} is not ahead in {name} with {own.users} user names: "
                        f"{abs(cost(own)):.3f}, {other.way} {abs(cost(other)):.3f}."
                    )
    for mine in (row for row in adding if row.side == OURS):
        for their in adding:
            if (
                their.documents == mine.documents
                and their.side != OURS
                and their.per_second >= mine.per_second
            ):
                yield (
                    f"{OURS} is not ahead in adding to {mine.documents:,} documents: "
                    f"{mine.per_second:.1f} a second, {their.side} {their.per_second:.1f}."
                )
    if len({round(row.recall, 6) for row in ours}) > 1:
        found = ", ".join(f"{row.recall:.3f} with {row.users}" for row in ours)
        yield f"The recall of {OURS} depends on the number of user names: {found}."


def write(
    searched: Sequence[Searched], adding: Sequence[Added], versions: Mapping[str, str], out: Path | None
) -> str:
    """Return the tables; with `out`, write them there with a chart and the figures."""
    shown = table(searched, adding, versions)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "mem0.md").write_text(shown, "utf-8")
        figures = {
            "searched": [asdict(row) for row in searched],
            "added": [asdict(row) for row in adding],
            "versions": dict(versions),
        }
        (out / "mem0.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        draw(out / "mem0.png", searched, adding)
    return shown


def draw(file: Path, searched: Sequence[Searched], adding: Sequence[Added]) -> None:
    """Draw the times of a search, recall and documents added a second over the number of documents."""
    # Imported here because it takes a second to load and only draws.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    picture, (times, recall, added) = pyplot.subplots(1, 3, figsize=(13, 3.8))
    for number, way in enumerate(dict.fromkeys(row.way for row in searched)):
        rows = [row for row in searched if row.way == way]
        stored = [row.documents for row in rows]
        times.plot(stored, [row.p50_ms for row in rows], color=f"C{number}", marker="o", label=way)
        times.plot(stored, [row.p99_ms for row in rows], color=f"C{number}", linestyle=":")
        recall.plot(stored, [row.recall for row in rows], color=f"C{number}", marker="o")
        sides = [row for row in adding if row.side == way]
        added.plot(
            [row.documents for row in sides], [row.per_second for row in sides], "o-", color=f"C{number}"
        )
    for axis, title in (
        (times, "search, ms (dots: p99)"),
        (recall, "recall@10"),
        (added, "documents added/s"),
    ):
        axis.set_title(title)
        axis.set_xlabel("documents stored")
        axis.set_xscale("log")
        axis.grid(alpha=0.3)
    times.set_yscale("log")
    added.set_yscale("log")
    recall.set_ylim(0, 1)
    times.legend()
    picture.tight_layout()
    picture.savefig(file, dpi=110)
    pyplot.close(picture)
