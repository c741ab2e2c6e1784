"""Async search over profiles: runs in threads and encodes the queries of concurrent requests together."""

import asyncio
import functools
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from typing import TypeVar

import numpy as np

from index.batching import Batcher
from index.documents import Passage
from index.encoding.encoders import Vectors
from index.profiles import Profiles
from index.ranking.retrievers import DEFAULT

T = TypeVar("T")


class AsyncSearch:
    """Searches profiles from the coroutines of one event loop.

    Blocking work runs in `threads`, or in the loop's default executor if None.
    """

    def __init__(self, profiles: Profiles, threads: Executor | None = None) -> None:
        self._profiles = profiles
        self._threads = threads
        self._encode = Batcher(self._encode_batch)

    async def search(
        self,
        user: str,
        queries: Sequence[str],
        k: int,
        retriever: str = DEFAULT,
        exclude: Collection[tuple[str, int]] = (),
    ) -> list[list[Passage]]:
        """See Profiles.search."""
        needs_vectors = self._profiles.retrievers.get(retriever).needs_vectors
        vectors = await self._encode(queries) if needs_vectors else None
        return await self._run(
            functools.partial(self._profiles.search, user, queries, k, retriever, exclude, vectors)
        )

    async def similar(self, user: str, document_ids: Sequence[str], k: int) -> list[list[Passage]]:
        """See Profiles.similar."""
        return await self._run(functools.partial(self._profiles.similar, user, document_ids, k))

    async def _encode_batch(self, requests: Sequence[Sequence[str]]) -> list[Vectors]:
        texts = [text for queries in requests for text in queries]
        vectors = await self._run(functools.partial(self._profiles.encoder.encode_queries, texts))
        return np.split(vectors, np.cumsum([len(queries) for queries in requests])[:-1])

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
