"""Fixtures for testing the agent: a store with the golden cases' profiles, scripted engines, and judges."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agent.episode import Episode
from agent.methods import METHODS
from agent.trajectory import Limits
from benchmarks.rollouts import Sampling as Sampling
from index.documents import Document, parse_document
from index.encoding.encoders import NoEncoder
from index.profiles import Profiles
from index.storage.store import Store
from tests.golden.cases import RETRIEVER, Case
from tests.golden.tokens import TOKENIZER, encode, sampled, written
from tests.index.fakes import HashEncoder
from tests.openrlhf.model import TODAY
from training.judging.judge import Judge, RubricAspect, RubricQuestion, Unjudged
from training.judging.lexical import LexicalJudge
from training.policy.environment import Configuration, Environment
from training.policy.openrlhf.agent import AgentExecutor
from training.policy.rows import Row
from training.policy.rubric_reward import RubricReward
from training.tasks.lampqa.data import Aspect, Question

CONTEXT = 8_192
Turn = tuple[str, list[int], str]
"""A turn of an engine: its text, its token ids, and its finish reason."""


class GoldenTokenizer:
    """The tokenizer of the golden ids, with the interface of transformers."""

    backend_tokenizer = TOKENIZER


class ScriptedEngine:
    """Replays turns in order, and records its calls."""

    def __init__(self, turns: Iterator[Turn]) -> None:
        self.prompts: list[list[int]] = []
        self.sampling: list[Any] = []
        self._turns = turns

    async def generate(self, token_ids: list[int], sampling: Any, multi_modal_data: Any = None) -> Any:
        self.prompts.append(token_ids)
        self.sampling.append(sampling)
        await asyncio.sleep(0)
        text, ids, reason = next(self._turns)
        # A real engine stops there too.
        over = len(ids) > sampling.max_tokens
        ids = ids[: sampling.max_tokens]
        output = SimpleNamespace(
            text=text, token_ids=ids, finish_reason="length" if over else reason, logprobs=None
        )
        return SimpleNamespace(outputs=[output])


def script(case: Case) -> ScriptedEngine:
    turns = range(len(case.turns))
    return ScriptedEngine((written(case, turn), sampled(case, turn), "stop") for turn in turns)


def says(*texts: str, reason: str = "stop") -> ScriptedEngine:
    return ScriptedEngine((text, encode(text, opening=False), reason) for text in texts)


class Watched(Environment):
    """Records the episodes that it began."""

    def __init__(self, configuration: Configuration, profiles: Profiles, judge: Judge) -> None:
        super().__init__(configuration, profiles, RubricReward(judge, configuration.costs))
        self.episodes: list[Episode] = []

    def episode(self, row: Row) -> Episode:
        self.episodes.append(super().episode(row))
        return self.episodes[-1]


class BrokenJudge:
    """Fails every verdict."""

    name, comparable = "broken", False

    async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        raise Unjudged("the server has left")

    async def aclose(self) -> None:
        pass


def made(
    folder: Path, documents: Sequence[Document], limits: Limits, judge: Judge | None = None, **configured: Any
) -> Watched:
    """An environment with one user, ana, who has these documents."""
    encoder = HashEncoder(window=512)
    store = Store(f"sqlite:///{folder}/pr2.db", encoder.manifest)
    Profiles(store, encoder).put("ana", documents)
    store.close()
    configuration = Configuration(data=folder, retriever=RETRIEVER, limits=limits, **configured)
    profiles = Profiles(Store(f"sqlite:///{folder}/pr2.db", None), NoEncoder())
    return Watched(configuration, profiles, judge or LexicalJudge())


def documents_of(case: Case) -> list[Document]:
    return [parse_document(document) for document in case.documents]


def row_of(question: str, expects: str = "green tea coffee", without_profile: float | None = None) -> Row:
    asked = Question(
        id="q",
        question=question,
        category="c",
        narrative="n",
        rubric_aspects=(Aspect(aspect=expects, reason="", evidence=""),),
        profile=(),
    )
    return Row(user="ana", question=asked, day=TODAY.day, without_profile=without_profile)


async def roll_out(
    environment: Environment,
    row: Row,
    engine: Any,
    sampling: Any = None,
    *,
    context: int = CONTEXT,
    tokenizer: Any = None,
) -> dict[str, Any]:
    """One rollout, called as by OpenRLHF's vLLM actor."""

    async def opened() -> Environment:
        return environment

    configuration = environment.configuration
    record = row.to_record(configuration.limits, METHODS[configuration.method])
    return await AgentExecutor(opened).execute(
        prompt=record["input"],
        label=record["label"],
        sampling_params=sampling or Sampling(),
        max_length=context,
        hf_tokenizer=tokenizer or GoldenTokenizer(),
        llm_engine=engine,
    )
