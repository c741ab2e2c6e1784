"""Made-up run folders for tests, as `pr2 evaluate` would write them."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.trajectory import (
    Answer,
    Citation,
    Information,
    Invalid,
    Limits,
    Plan,
    Read,
    Search,
    Thought,
    Trajectory,
)
from index.documents import Passage
from training.evaluation.records import MANIFEST, RECORDS, TRAJECTORIES, AspectScore, Record, by_rubric

CATEGORIES = ("Art_and_Entertainment", "Lifestyle_and_Personal_Development", "Society_and_Culture")


def made_up(seed: int, count: int = 24, *, level: float = 0.5, unjudged: float = 0.0) -> list[Record]:
    """Records of `count` questions, the same questions for every seed."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        scores = [
            None if chance.random() < unjudged else sum(chance.random() < level for _ in range(2))
            for _ in range(4 + number % 2)
        ]
        searches = chance.randrange(4)
        made.append(
            Record(
                id=f"q{number:03}",
                category=CATEGORIES[number % 3],
                question=f"What about thing {number}?",
                response="" if number % 11 == 7 else f"Answer {number} of seed {seed} [1].",
                finish_reason="answered" if number % 11 != 7 else "invalid",
                assessment=by_rubric([AspectScore(f"aspect {n}", score) for n, score in enumerate(scores)]),
                searches=searches,
                documents_read=3 * searches,
                profile_size=30 + (number * 37) % 270,
                prompt_tokens=chance.randrange(300, 4000),
                policy_tokens=chance.randrange(40, 400),
                latency_ms=chance.lognormvariate(7, 0.8),
            )
        )
    return made


def trajectory(record: Record) -> Trajectory:
    """A trajectory with every kind of step, ending in the record's response."""
    steps: list[Any] = [
        Plan("Name the source."),
        Thought("I look for it."),
        Search(record.question),
        Information(()),
    ]
    read = Read(1, Passage("d1", "A note.", created_at="2024-05-06", title="Notes", score=0.5))
    steps += [Search("again"), Information((read,)), Invalid("no tag")]
    if record.response:
        steps.append(Answer(record.response, (Citation(1, "d1", "A note.", 0, 7, 4),)))
    return Trajectory(record.question, Limits(), steps=tuple(steps), finish_reason="answered")


def write_run(folder: Path, records: Sequence[Record], *, trajectories: bool = True, **manifest: Any) -> Path:
    """Write a run folder; `manifest` overrides the usual values, or drops them if None."""
    facts = {
        "method": "pr2",
        "policy": "extractive",
        "judge": {"name": "lexical", "comparable": False},
        "dataset": {"name": "sample", "hash": "abc123", "questions": len(records)},
        "retriever": "dense",
        "seed": 1,
        "versions": {"pr2": "0.1.0", "python": "3.11"},
        "commit": "0f" * 20,
        "finished": True,
        "configured": ["method"],
    }
    folder.mkdir(parents=True)
    facts = {key: value for key, value in (facts | manifest).items() if value is not None}
    (folder / MANIFEST).write_text(json.dumps(facts), "utf-8")
    with (folder / RECORDS).open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record.to_dict()) + "\n" for record in records)
    if trajectories:
        with (folder / TRAJECTORIES).open("w", encoding="utf-8") as lines:
            for record in records:
                line = {"id": record.id, "trajectory": trajectory(record).to_dict()}
                lines.write(json.dumps(line) + "\n")
    return folder


def three_runs(root: Path) -> list[Path]:
    """`none`, `rag` with unjudged aspects, `pr2` with prices."""
    none = [replace(record, searches=0, documents_read=0) for record in made_up(1, level=0.3)]
    prices = {"prompt_per_million": 0.5, "completion_per_million": 2.0, "currency": "EUR"}
    return [
        write_run(root / "none", none, method="none", retriever="none"),
        write_run(root / "rag", made_up(2, level=0.45, unjudged=0.05), method="rag"),
        write_run(root / "pr2", made_up(3, level=0.6), method="pr2", prices=prices),
    ]
