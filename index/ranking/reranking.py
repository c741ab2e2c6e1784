"""A reranker reads a query with each of the first passages found, and puts them in a new order.

The search does not depend on it: scores that come too late, or cannot be used, leave the retriever's order,
and that is counted and marked on the passages.
"""

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from index.documents import Passage, encoded_text
from index.ranking.optional import within
from index.threads import Run, run_at_once

CANDIDATES = 50
"""Passages that are reranked, by default."""
LIMIT_MS = 2_000
"""Longest wait for them, by default."""
KEPT = frozenset({"recency", "random", "none"})
"""Retrievers whose order is not by the query, and stays."""

_log = logging.getLogger(__name__)


class RerankerFailure(Exception):
    """There are no scores; the message says why, without any text of the user's."""


class Reranker(Protocol):
    """Scores passages for a query. Called from several threads."""

    @property
    def name(self) -> str: ...

    @property
    def calls(self) -> int:
        """How many calls at a time are worthwhile."""
        ...

    def scores(self, query: str, texts: Sequence[str], deadline: float) -> Sequence[float]:
        """A score for each text, the higher the better. Raises RerankerFailure.

        Nobody waits for them after `deadline`, in seconds of time.monotonic().
        """
        ...


@dataclass
class Counts:
    """Queries since the start."""

    reranked: int = 0
    late: int = 0
    """Left in the retriever's order because the time was over."""
    failed: int = 0
    """Left in the retriever's order because the reranker failed."""


class Reranking:
    """Reranks the first `candidates` passages of each query, within `limit_ms`, turns at threads included."""

    def __init__(
        self,
        reranker: Reranker,
        candidates: int = CANDIDATES,
        limit_ms: int = LIMIT_MS,
        run: Run = run_at_once,
    ) -> None:
        self.reranker = reranker
        self.candidates = candidates
        self.counts = Counts()
        self._limit_s = limit_ms / 1000
        self._run = run

    def depth(self, retriever: str, k: int) -> int:
        """The number of documents to search for, if `k` are wanted; `k` if the order is to stay."""
        return k if retriever in KEPT else max(k, self.candidates)

    async def rerank(
        self,
        user: str,
        queries: Sequence[str],
        found: Sequence[Sequence[Passage]],
        k: int,
        known: Collection[str] = (),
    ) -> list[list[Passage]]:
        """The best `k` documents of each query. Passages of `known` documents come in addition."""
        ordered = await asyncio.gather(*map(functools.partial(self._one, user), queries, found))
        return [_first(passages, k, known) for passages in ordered]

    async def _one(self, user: str, query: str, passages: Sequence[Passage]) -> list[Passage]:
        candidates = passages[: self.candidates]
        if len(candidates) < 2:
            return list(passages)
        texts = [encoded_text(passage, passage.text) for passage in candidates]
        deadline = time.monotonic() + self._limit_s
        work = functools.partial(self.reranker.scores, query, texts, deadline)
        name, given = self.reranker.name, self._scores(user, work, len(texts))
        scores = await within(
            self._limit_s, given, RerankerFailure, self.counts, log=_log, otherwise="not reranked", name=name
        )
        if scores is None:
            return [replace(passage, unreranked=True) for passage in passages]
        self.counts.reranked += 1
        order = sorted(range(len(texts)), key=lambda i: (-scores[i], i))
        best = [replace(candidates[i], score=scores[i]) for i in order]
        return [*best, *passages[len(candidates) :]]

    async def _scores(self, user: str, work: Callable[[], Sequence[float]], count: int) -> list[float]:
        return _usable(await self._run(user, work), count)


def _usable(scores: Sequence[float], count: int) -> list[float]:
    found = [float(score) for score in scores]
    if len(found) != count or not all(map(math.isfinite, found)):
        raise RerankerFailure(f"{len(found)} scores for {count} passages, or some are not finite")
    return found


def _first(passages: Sequence[Passage], k: int, known: Collection[str]) -> list[Passage]:
    """Passages up to the `k`th document that is not known, ranked anew."""
    kept: list[Passage] = []
    new = 0
    for passage in passages:
        if new == k:
            break
        new += passage.document_id not in known
        kept.append(replace(passage, rank=len(kept) + 1))
    return kept
