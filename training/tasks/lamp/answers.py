"""Answers LaMP's inputs as published: rank the profile once, build one prompt, continue it by a model."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.engines.errors import EngineError
from agent.engines.text import TextModel
from agent.trajectory import Answer, Information, Invalid, Limits, Read, Search, Segment, Step, Trajectory
from index.documents import Document
from index.values import Passage
from training.evaluation.answers import AnswerOptions, Answers, Unanswered, UnfitMethod
from training.evaluation.profiles import NOBODY
from training.tasks.lamp.data import Entry
from training.tasks.lamp.inputs import query_of
from training.tasks.lamp.prompts import TOKENS, Budget, OverBudget, Prompt, build_prompt

ENTRIES = 4
"""The published number of entries in a prompt (arXiv 2404.05970)."""
PROMPTS = 1
"""Version of the prompts' wording and budget, for the run's manifest."""
METHODS = ("rag", "none")
"""With the profile, and the bare input."""


class SearchedAnswers(Answers, Protocol):
    """Answers whose profiles can be searched, too."""

    async def search(self, user: str, query: str, k: int, retriever: str | None) -> Sequence[Passage]:
        """The best `k` documents, each by its best passage. Raises Unanswered."""
        ...


@dataclass(frozen=True)
class LampAnswers:
    """Answers (see there) one task of LaMP by `model`, from the profiles of `within`.

    The exact prompt of an answer is its trajectory's first segment, and the output its second (`prompt_in`).
    The information step holds the entries of the prompt. `passages_dropped` counts entries that did not fit,
    and the violation `input_cut` the tokens that the input's end lost.
    """

    within: SearchedAnswers
    number: int
    model: TextModel
    tokens: int = TOKENS
    """The most tokens of a prompt."""

    @property
    def most_at_once(self) -> int | None:
        """See Answers."""
        return self.within.most_at_once

    def check(self, method: str, *, has_plan: bool) -> None:
        """See Answers."""
        if method not in METHODS or has_plan:
            raise UnfitMethod(f"LaMP is answered by the methods {' and '.join(METHODS)}, without plans")

    def check_question(self, question: str) -> None:
        """See Answers. An input of any length is accepted; see the rules of the budget."""

    def describe(self, retriever: str | None, limits: Mapping[str, int]) -> dict[str, Any]:
        """See Answers."""
        searching = self.within.describe(retriever, {})
        return {
            "policy": dict(self.model.description),
            "prompts": {"version": PROMPTS, "tokens": self.tokens, "entries": limits.get("top_k", ENTRIES)},
            **{name: searching[name] for name in ("server", "encoder", "retriever") if name in searching},
        }

    async def document(self, user: str, document_id: str, /) -> Document:
        """See ProfileStore."""
        return await self.within.document(user, document_id)

    async def put(self, user: str, documents: Sequence[Document], /) -> None:
        """See ProfileStore."""
        await self.within.put(user, documents)

    async def answer(self, user: str, question: str, options: AnswerOptions) -> Trajectory:
        """See Answers. Raises Unanswered if the model fails, or if the prompt cannot fit."""
        k = options.limits.get("top_k", ENTRIES)
        query = query_of(self.number, question)
        clock = _Clock()
        passages: Sequence[Passage] = []
        if options.method != "none" and user != NOBODY:
            passages = await self.within.search(user, query, k, options.retriever)
        documents = await asyncio.gather(*(self.document(user, one.document_id) for one in passages))
        searched = clock.ms
        try:
            prompt = await asyncio.to_thread(self._prompt, question, [entry_of(one) for one in documents])
            output = await self.model.generate(prompt.text)
            sizes = await asyncio.to_thread(lambda: [self.model.count(prompt.text), self.model.count(output)])
        except (EngineError, OverBudget) as error:
            raise Unanswered(str(error)) from None
        text = output.strip()
        steps: list[Step] = []
        if options.method != "none":
            reads = [Read(number, one) for number, one in enumerate(passages[: prompt.entries], 1)]
            steps += [Search(query, searched), Information(tuple(reads), searched)]
        steps.append(Answer(text, at_ms=clock.ms) if text else Invalid("the model wrote nothing", clock.ms))
        return Trajectory(
            question=question,
            limits=Limits(max_searches=int(options.method != "none"), top_k=k, max_documents=k),
            policy=str(self.model.description["model"]),
            steps=tuple(steps),
            segments=(Segment("environment", prompt.text), Segment("policy", output)),
            finish_reason="answered" if text else "invalid",
            violations={"input_cut": prompt.input_cut} if prompt.input_cut else {},
            passages_dropped=len(passages) - prompt.entries,
            prompt_tokens=sizes[0],
            policy_tokens=sizes[1],
            policy_ms=clock.ms - searched,
            search_ms=searched,
            total_ms=clock.ms,
        )

    def _prompt(self, input_: str, entries: Sequence[Entry]) -> Prompt:
        return build_prompt(self.number, input_, entries, Budget(self.model, self.tokens))


def entry_of(document: Document) -> Entry:
    """The entry of a profile that was stored as this document, except for its date."""
    return Entry(document.id, document.text, {name: str(value) for name, value in document.metadata.items()})


def prompt_in(trajectory: Trajectory) -> str:
    """The exact prompt that the model was given."""
    return trajectory.segments[0].text


class _Clock:
    """Milliseconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def ms(self) -> float:
        return (time.perf_counter() - self._start) * 1000
