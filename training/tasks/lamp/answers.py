"""Answers LaMP's inputs as published: rank the profile once, build one prompt, continue it by a model."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Protocol

from agent.auto import NEEDS_SELECTOR, Chooser, together
from agent.engines.errors import EngineError
from agent.engines.text import TextModel
from agent.selecting import render
from agent.trajectory import (
    AUTO,
    Answer,
    Information,
    Invalid,
    Limits,
    Read,
    Search,
    Segment,
    Step,
    Trajectory,
)
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
SEARCHING = ("server", "encoder", "retriever", "selector")
"""The parts of the configuration that the passages depend on."""
METHODS = ("rag", "none")
"""With the profile, and the bare input. For the method prlm, see training.tasks.lamp.reasoned."""


class SearchedAnswers(Answers, Protocol):
    """Answers whose profiles can be searched, too."""

    async def search(
        self, user: str, query: str, k: int, retriever: str | None, as_of: date | None = None
    ) -> Sequence[Passage]:
        """The best `k` documents, each by its best passage, as of a day. Raises Unanswered."""
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
    chooser: Chooser | None = None
    """Chooses for the retriever `auto`, by a selector that was trained on runs of the task."""

    @property
    def most_at_once(self) -> int | None:
        """See Answers."""
        return self.within.most_at_once

    def check(self, method: str, *, has_plan: bool) -> None:
        """See Answers."""
        if method not in METHODS or has_plan:
            raise UnfitMethod(
                f"LaMP is answered by the methods {' and '.join(METHODS)}, without plans; texts by prlm"
            )

    def check_question(self, question: str) -> None:
        """See Answers. An input of any length is accepted; see the rules of the budget."""

    def describe(self, retriever: str | None, limits: Mapping[str, int]) -> dict[str, Any]:
        """See Answers."""
        searching = self.within.describe(retriever, {})
        return {
            "policy": dict(self.model.description),
            "prompts": {"version": PROMPTS, "tokens": self.tokens, "entries": limits.get("top_k", ENTRIES)},
            **{name: value for name, value in searching.items() if name in SEARCHING},
        }

    async def document(self, user: str, document_id: str, /) -> Document:
        """See ProfileStore."""
        return await self.within.document(user, document_id)

    async def put(self, user: str, documents: Sequence[Document], /) -> None:
        """See ProfileStore."""
        await self.within.put(user, documents)

    async def answer(self, user: str, question: str, options: AnswerOptions) -> Trajectory:
        """See Answers. Raises Unanswered if the model fails, or if the prompt cannot fit.

        With the retriever `auto`, the answer fails if that of any member of the pool does.
        """
        if options.retriever != AUTO or options.method == "none" or user == NOBODY:
            return await self._with(options.retriever, user, question, options)
        if self.chooser is None:
            raise UnfitMethod(NEEDS_SELECTOR)
        clock = _Clock()
        if self.chooser.competing:
            members = [self._with(name, user, question, options) for name in self.chooser.competing]
            chosen = await self.chooser.by_answers(user, await together(members))
            return replace(chosen, total_ms=clock.ms)
        pool = self.chooser.selector.members
        prompts = await together(self._shown(name, user, question, options) for name in pool)
        selection = await self.chooser.by_prompts(user, prompts)
        selection = replace(selection, ms=clock.ms)
        chosen = await self._with(selection.retriever, user, question, options)
        return replace(chosen, selection=selection, total_ms=clock.ms)

    async def _shown(self, retriever: str, user: str, question: str, options: AnswerOptions) -> str:
        """The text by which a selector judges this retriever, as it would of the answer's trajectory."""
        passages, documents = await self._found(retriever, user, question, options)
        try:
            prompt = await asyncio.to_thread(self._prompt, question, [entry_of(one) for one in documents])
        except (EngineError, OverBudget) as error:
            raise Unanswered(str(error)) from None
        return render(question, passages[: prompt.entries])

    async def _found(
        self, retriever: str | None, user: str, question: str, options: AnswerOptions
    ) -> tuple[Sequence[Passage], Sequence[Document]]:
        """The best passages for the question, and their documents."""
        if options.method == "none" or user == NOBODY:
            return [], []
        k = options.limits.get("top_k", ENTRIES)
        passages = await self.within.search(
            user, query_of(self.number, question), k, retriever, options.as_of
        )
        return passages, await asyncio.gather(*(self.document(user, one.document_id) for one in passages))

    async def _with(
        self, retriever: str | None, user: str, question: str, options: AnswerOptions
    ) -> Trajectory:
        k = options.limits.get("top_k", ENTRIES)
        query = query_of(self.number, question)
        clock = _Clock()
        passages, documents = await self._found(retriever, user, question, options)
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
