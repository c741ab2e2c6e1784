"""Evidence recall on LoCoMo conversations: the share of a question's evidence among the documents read.

One turn is one document. Retrievers search once with the question; the extractive policy searches
several times, and reads the same number of documents in all. Questions of categories 1 (multi-hop),
2 (temporal), 3 (open-domain) and 4 (single-hop) that name their evidence are counted.

    python -m benchmarks.locomo --data FILE [--json OUT]
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from agent.driver import drive
from agent.episode import Episode
from agent.policies.extractive import ExtractivePolicy
from agent.policies.quoting import CHOSEN, Thresholds
from agent.trajectory import Limits, Search, Trajectory
from benchmarks.evidence import CATEGORIES, counted
from index.documents import Passage
from index.encoding.encoders import load_encoder
from index.formats import read_locomo
from index.profiles import Profiles
from index.storage.store import Store
from index.when.scope import Scope

READ = (5, 10, 20)
"""Numbers of documents read."""
SEARCHES = 4
"""Searches that the extractive policy may make; by default, as many as the service allows."""
ONE_SEARCH = ("dense", "bm25", "rrf", "hybrid")

Recall = dict[str, dict[str, float]]


def read_by_policy(
    profiles: Profiles,
    user: str,
    questions: Sequence[str],
    documents: int,
    days: Sequence[date] | None = None,
    thresholds: Thresholds = CHOSEN,
) -> list[Trajectory]:
    """Answer every question with the extractive policy, reading at most `documents`.

    `days` are those on which the questions are asked; without them, that of the last document.
    """
    limits = Limits(
        max_searches=SEARCHES, top_k=-(-documents // SEARCHES), max_documents=documents, deadline_ms=600_000
    )

    async def answer(question: str, scope: Scope | None) -> Trajectory:
        async def search(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
            return profiles.search(user, [one.query], k, exclude=exclude, scope=scope)[0]

        episode = Episode(question, limits=limits, policy="extractive")
        async with aclosing(drive(episode, ExtractivePolicy(thresholds), search)) as events:
            async for _ in events:
                pass
        return episode.trajectory

    async def answer_all() -> list[Trajectory]:
        scopes = [Scope(day) for day in days] if days else [None] * len(questions)
        return [await answer(*pair) for pair in zip(questions, scopes, strict=True)]

    return asyncio.run(answer_all())


def check_citations(profiles: Profiles, user: str, trajectories: Iterable[Trajectory]) -> int:
    """Return the number of citations. Raises AssertionError if one is not verbatim."""
    texts = {document.id: document.text for document in profiles.get(user).documents}
    checked = 0
    for trajectory in trajectories:
        assert trajectory.answer is not None, trajectory.question
        assert trajectory.answer.dropped_marks == 0, trajectory.answer.text
        for citation in trajectory.answer.citations:
            assert citation.quote, trajectory.question
            assert texts[citation.document_id][citation.start : citation.end] == citation.quote
            checked += 1
    return checked


def measure(samples: Sequence[Mapping[str, Any]], encoder_name: str, console: Console) -> dict[str, Recall]:
    """Recall by method, category and number of documents read."""
    encoder = load_encoder(encoder_name)
    sums: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    cited = 0
    total = sum(len(sample["qa"]) for sample in samples)
    measured = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(console=console, transient=True) as progress,
    ):
        profiles = Profiles(Store(f"sqlite:///{folder}/locomo.db", encoder.manifest), encoder)
        bar: TaskID = progress.add_task("questions", total=total)
        for number, sample in enumerate(samples):
            user = str(sample.get("sample_id", number))
            progress.update(bar, description=f"encoding {user}")
            for skipped in profiles.put(user, read_locomo(sample), on_error="skip").skipped:
                console.print(f"{user}: turn {skipped.line} is not a document, left out: {skipped}")
            progress.update(bar, description=user)
            questions = counted(sample, {document.id for document in profiles.get(user).documents})
            measured += len(questions)
            texts = [text for text, _, _ in questions]

            def add(
                name: str, read: int, found: Sequence[Collection[str]], questions: Any = questions
            ) -> None:
                for (_, category, turns), documents in zip(questions, found, strict=True):
                    recall = sum(turn in documents for turn in turns) / len(turns)
                    for group in ("all", str(category)):
                        sums[name][group][str(read)].append(recall)

            for name in ONE_SEARCH:
                results = profiles.search(user, texts, max(READ), name)
                for read in READ:
                    add(name, read, [[p.document_id for p in passages[:read]] for passages in results])
            for read in READ:
                trajectories = read_by_policy(profiles, user, texts, read)
                assert all(len(t.documents_read) <= read for t in trajectories)
                add("extractive", read, [t.documents_read for t in trajectories])
                cited += check_citations(profiles, user, trajectories)
            progress.advance(bar, len(sample["qa"]))
    console.print(f"{measured} questions; {cited} citations checked: all verbatim, none dangling")
    return {
        name: {
            group: {read: sum(values) / len(values) for read, values in by_read.items()}
            for group, by_read in sorted(groups.items(), key=lambda item: (item[0] != "all", item[0]))
        }
        for name, groups in sums.items()
    }


def show(recall: Mapping[str, Recall], console: Console) -> None:
    table = Table(title="Evidence recall by documents read")
    table.add_column("")
    groups = {"all": "all", "1": "multi-hop", "2": "temporal", "3": "open-domain", "4": "single-hop"}
    columns = [("all", read) for read in READ] + [(str(category), 10) for category in CATEGORIES]
    for group, read in columns:
        table.add_column(f"{groups[group]} @{read}", justify="right")
    for name, by_group in recall.items():
        label = name if name == "extractive" else f"{name}, one search"
        cells = (by_group.get(group, {}).get(str(read)) for group, read in columns)
        table.add_row(label, *("-" if cell is None else f"{cell:.3f}" for cell in cells))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Evidence recall on LoCoMo conversations.")
    parser.add_argument("--data", type=Path, required=True, help="a file in LoCoMo's format")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--encoder", default="minilm")
    arguments = parser.parse_args()
    console = Console(file=sys.stderr)
    try:
        samples = json.loads(arguments.data.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        parser.error(f"{arguments.data} cannot be read: {error}")
    recall = measure(samples if isinstance(samples, list) else [samples], arguments.encoder, console)
    show(recall, Console(width=140))
    if arguments.json:
        arguments.json.write_text(json.dumps(recall, indent=2) + "\n")


if __name__ == "__main__":
    main()
