"""Prints what the extractive policy answers to ten questions in each of several languages, to be read.

The histories are made (data/languages.json): ten notes a language, each with the answer to one question.

    python -m benchmarks.languages [--retriever bm25] [--language de]...
"""

import argparse
import asyncio
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.driver import drive
from agent.episode import Episode
from agent.policies.extractive import ExtractivePolicy
from agent.trajectory import Limits, Search, Trajectory
from benchmarks.evidence import profiles_of
from index.documents import Document, Passage
from index.encoding.encoders import Encoder, load_encoder
from index.profiles import Profiles

HISTORIES: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("data").joinpath("languages.json").read_text("utf-8")
)
LIMITS = Limits(max_searches=2, top_k=3, deadline_ms=600_000)


@dataclass(frozen=True)
class Answered:
    """A question with its trajectory."""

    question: str
    evidence: str
    """Id of the document that holds the answer."""
    trajectory: Trajectory


@contextmanager
def stored(encoder: Encoder) -> Iterator[Profiles]:
    """Profiles of all the histories; the language is the user."""
    with profiles_of((), encoder) as profiles:
        for language, history in HISTORIES.items():
            profiles.put(language, [Document.model_validate(item) for item in history["documents"]])
        yield profiles


async def answers(profiles: Profiles, language: str, retriever: str) -> list[Answered]:
    """Answer the questions of one history."""

    async def search(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
        return profiles.search(language, [one.query], k, retriever, exclude)[0]

    found = []
    for item in HISTORIES[language]["questions"]:
        episode = Episode(item["question"], limits=LIMITS, policy="extractive")
        async with aclosing(drive(episode, ExtractivePolicy(), search)) as events:
            async for _ in events:
                pass
        found.append(Answered(item["question"], item["evidence"], episode.trajectory))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Answers of the extractive policy in several languages.")
    parser.add_argument("--retriever", default="hybrid")
    parser.add_argument("--language", action="append", choices=tuple(HISTORIES))
    given = parser.parse_args(arguments)
    with stored(load_encoder("minilm")) as profiles:
        for language in given.language or HISTORIES:
            for answered in asyncio.run(answers(profiles, language, given.retriever)):
                print(f"\n{answered.question}")
                for step in answered.trajectory.steps:
                    if step.kind == "thought":
                        print(f"    ({step.text})")
                    elif step.kind == "answer":
                        print(step.text)


if __name__ == "__main__":
    main()
