"""Throughput of rollouts: they should wait only for the engine, their own searches and their own judge.

    .venv-engine/bin/python -m benchmarks.rollouts [--rollouts 64] [--json OUT]

Needs OpenRLHF (make test-openrlhf), whose executor drives the rollouts. Engine and judge take fixed times, so
the throughput of an ideal client is known: all rollouts run at once, and each takes its turns and one round
of verdicts. Exit code 1 means that a bar was missed.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from agent.trajectory import Limits
from benchmarks.speed import Figure, FixedEncoder, table_of
from index.documents import Document
from index.profiles import Profiles
from index.storage.store import Store
from training.judging.judge import RubricAspect, RubricQuestion
from training.policy.environment import Configuration, Environment
from training.policy.openrlhf.agent import AgentExecutor
from training.policy.reward import Costs
from training.policy.rows import Row
from training.policy.rubric_reward import RubricReward
from training.tasks.lampqa.data import Aspect, Question

ROLLOUTS, TURN_S, JUDGE_S, ASPECTS = 64, 0.2, 0.3, 5
DOCUMENTS, USERS, CONTEXT = 100, 16, 16_384
LIMITS = Limits(max_searches=2, top_k=5)
TURNS = (
    "<think>What do they like?</think><search>snack for my sister</search>",
    "<think>And what else?</think><search>olives or cheese</search>",
    "<think>Clear.</think><answer>Olives, which she asked for last time [1].</answer>",
)
BAR = 0.8
"""Fraction of the throughput of an ideal client, which costs no time itself."""


@dataclass
class Sampling:
    """The part of vLLM's SamplingParams that the executor reads."""

    max_tokens: int | None = None
    logprobs: int | None = None
    stop: list[str] = field(default_factory=list)
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = False


class Characters:
    """A tokenizer of negligible cost: one token per character."""

    all_special_tokens = ()

    def get_added_vocab(self) -> dict[str, int]:
        return {}

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(character) for character in text]


class FixedEngine:
    """Writes a turn in TURN_S under any load. For one rollout."""

    def __init__(self) -> None:
        self._turns = iter(TURNS)

    async def generate(self, token_ids: list[int], sampling: Any, multi_modal_data: Any = None) -> Any:
        await asyncio.sleep(TURN_S)
        text = next(self._turns)
        output = SimpleNamespace(text=text, token_ids=[*map(ord, text)], finish_reason="stop", logprobs=None)
        return SimpleNamespace(outputs=[output])


class FixedJudge:
    """Grades an aspect in JUDGE_S under any load."""

    name, comparable = "fixed", False

    def __init__(self) -> None:
        self.calls = self.running = self.most = 0

    async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(JUDGE_S)
        self.running -= 1
        return 1

    async def aclose(self) -> None:
        pass


def rows(count: int) -> list[Row]:
    aspects = tuple(Aspect(aspect=f"It fits, {n}", reason="", evidence="") for n in range(ASPECTS))
    asked = Question(
        id="q",
        question="Which snack for my sister?",
        category="",
        narrative="",
        rubric_aspects=aspects,
        profile=(),
    )
    return [Row(user=f"user-{number % USERS}", question=asked) for number in range(count)]


async def measured(environment: Environment, count: int) -> float:
    """Seconds for `count` concurrent rollouts."""

    async def opened() -> Environment:
        return environment

    executor = AgentExecutor(opened)
    began = time.perf_counter()
    await asyncio.gather(
        *(
            executor.execute(
                row.to_record(LIMITS)["input"],
                row.model_dump_json(),
                Sampling(),
                CONTEXT,
                Characters(),
                FixedEngine(),
            )
            for row in rows(count)
        )
    )
    return time.perf_counter() - began


def figures(count: int) -> list[Figure]:
    judge = FixedJudge()
    bound = len(TURNS) * TURN_S + JUDGE_S
    with tempfile.TemporaryDirectory() as folder:
        encoder = FixedEncoder()
        profiles = Profiles(Store(f"sqlite:///{folder}/pr2.db", encoder.manifest), encoder)
        for user in range(USERS):
            texts = (f"Note {n}: my sister liked the olives of shop {n}." for n in range(DOCUMENTS))
            profiles.put(f"user-{user}", [Document(id=str(n), text=text) for n, text in enumerate(texts)])
        environment = Environment(
            Configuration(data=Path(folder), limits=LIMITS), profiles, RubricReward(judge, Costs())
        )
        first = asyncio.run(measured(environment, count))
        # A second environment, for its own event loop; now profiles are in memory, as after a first step.
        environment = Environment(environment.configuration, profiles, RubricReward(judge, Costs()))
        wall = asyncio.run(measured(environment, count))
        profiles.store.close()
    detail = f"{count} at once: {wall:.2f} s, {first:.2f} s with cold profiles; the bound is {bound:.2f} s"
    return [
        Figure("rollouts a second", count / wall, BAR * count / bound, False, detail),
        Figure(
            "verdicts at once", judge.most, BAR * count * ASPECTS, False, f"{judge.calls} asked for in all"
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = figures(asked.rollouts)
    Console().print(table_of("Rollouts through OpenRLHF's executor", found))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(figure) for figure in found], indent=2) + "\n", "utf-8")
    sys.exit(not all(figure.met for figure in found))


if __name__ == "__main__":
    main()
