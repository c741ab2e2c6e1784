"""Async search over profiles: runs in threads, and encodes the queries of concurrent requests together."""

import asyncio
import functools
from collections.abc import Collection, Sequence
from datetime import date

from index.documents import Passage
from index.encoding.shared import Lane
from index.profiles import Profiles
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
    ) -> None:
        self._profiles = profiles
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

        What was found is reranked, if there is a reranker, unless the retriever does not rank by the query.
        """
        found = await self.find(user, queries, k, retriever, exclude, scope)
        return await self.rerank(user, queries, found, k, retriever, exclude)

    async def find(
        self,
        user: str,
        queries: Sequence[str],
        k: int,
        retriever: str = DEFAULT,
        exclude: Collection[tuple[str, int]] = (),
        scope: Scope | None = None,
    ) -> list[list[Passage]]:
        """The first half of a search: `k` documents or, for the reranker, as many as it reads."""
        depth = self._reranking.depth(retriever, k) if self._reranking else k
        vectors = None
        encoder = self._profiles.query_encoder(retriever)
        if encoder is not None:
            vectors = await asyncio.wrap_future(encoder.encode(self._lane, user, queries))
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
        """The second half, which may wait for another server: the best `k` documents of what was found."""
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
