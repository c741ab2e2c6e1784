"""Async search over profiles: runs in threads, and encodes the queries of concurrent requests together."""

import asyncio
import functools
from collections.abc import Collection, Sequence
from datetime import date
from itertools import accumulate, chain, pairwise

import numpy as np

from index.documents import Passage
from index.encoding.encoders import Vectors
from index.encoding.shared import Lane
from index.profiles import Profiles
from index.ranking.expanding import Expanding, combined
from index.ranking.reranking import KEPT, Reranking
from index.ranking.retrievers import DEFAULT
from index.threads import Run, run_at_once
from index.values import Notice
from index.when.scope import Scope


class AsyncSearch:
    """Searches profiles from the coroutines of one event loop. Its queries share the encoder by `lane`."""

    def __init__(
        self,
        profiles: Profiles,
        run: Run = run_at_once,
        lane: Lane = "answers",
        reranking: Reranking | None = None,
        expanding: Expanding | None = None,
    ) -> None:
        self._profiles = profiles
        self._expanding = expanding
        self._reranking = reranking
        self._run = run
        self._lane = lane

    async def search(
        self,
        user: str,
        queries: Sequence[str],
        k: int,
        retriever: str = DEFAULT,
        exclude: Collection[tuple[str, int]] = (),
        scope: Scope | None = None,
    ) -> list[list[Passage]]:
        """See Profiles.search. Cancelling it takes the queries back from the encoder.

        Queries are expanded, if there is an expander and the retriever uses vectors. What was found is
        reranked, if there is a reranker, unless the retriever does not rank by the query.
        """
        sentences = await self.expand(queries, retriever)
        found = await self.find(user, queries, k, retriever, exclude, scope, sentences)
        return await self.rerank(user, queries, found, k, retriever, exclude)

    async def expand(self, queries: Sequence[str], retriever: str = DEFAULT) -> list[tuple[str, ...]]:
        """The first part of a search, which may wait for a model: likely answers to each query."""
        if self._expanding is None or self._profiles.query_encoder(retriever) is None:
            return [() for _ in queries]
        return await self._expanding.sentences(queries)

    async def find(
        self,
        user: str,
        queries: Sequence[str],
        k: int,
        retriever: str = DEFAULT,
        exclude: Collection[tuple[str, int]] = (),
        scope: Scope | None = None,
        sentences: Sequence[Sequence[str]] = (),
    ) -> list[list[Passage]]:
        """The second part of a search: `k` documents or, for the reranker, as many as it reads.

        `sentences` expand each query, if there are any.
        """
        depth = self._reranking.depth(retriever, k) if self._reranking else k
        vectors = None
        encoder = self._profiles.query_encoder(retriever)
        if encoder is not None:
            texts = [*queries, *chain.from_iterable(sentences)]
            vectors = await asyncio.wrap_future(encoder.encode(self._lane, user, texts))
            vectors = _expanded(vectors, len(queries), sentences)
        return await self._run(
            user,
            functools.partial(
                self._profiles.search, user, queries, depth, retriever, exclude, vectors, scope
            ),
        )

    async def rerank(
        self,
        user: str,
        queries: Sequence[str],
        found: list[list[Passage]],
        k: int,
        retriever: str = DEFAULT,
        exclude: Collection[tuple[str, int]] = (),
    ) -> list[list[Passage]]:
        """The last part, which may wait for another server: the best `k` documents of what was found."""
        if self._reranking is None or retriever in KEPT:
            return found
        known = {document_id for document_id, _ in exclude}
        return await self._reranking.rerank(user, queries, found, k, known)

    async def notices(
        self, user: str, question: str, after: date | None, before: date | None, scope: Scope
    ) -> tuple[Notice, ...]:
        """See Profiles.notices."""
        if not (question or after or before):
            return ()
        return await self._run(
            user, functools.partial(self._profiles.notices, user, question, after, before, scope)
        )

    async def similar(self, user: str, document_ids: Sequence[str], k: int) -> list[list[Passage]]:
        """See Profiles.similar."""
        return await self._run(user, functools.partial(self._profiles.similar, user, document_ids, k))


def _expanded(vectors: Vectors, queries: int, sentences: Sequence[Sequence[str]]) -> Vectors:
    """Combine the vectors of queries with those of their sentences, which follow in one list."""
    if len(vectors) == queries:
        return vectors
    ends = accumulate(map(len, sentences), initial=queries)
    parts = zip(vectors, pairwise(ends), strict=False)
    return np.stack([combined(query, vectors[first:last]) for query, (first, last) in parts])
