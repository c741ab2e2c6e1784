"""Async search over profiles: runs in threads, and encodes the queries of concurrent requests together."""

import asyncio
import functools
from collections.abc import Collection, Sequence

from index.documents import Passage
from index.encoding.shared import Lane
from index.profiles import Profiles
from index.ranking.retrievers import DEFAULT
from index.threads import Run, run_at_once
from index.when.scope import Scope


class AsyncSearch:
    """Searches profiles from the coroutines of one event loop. Its queries share the encoder by `lane`."""

    def __init__(self, profiles: Profiles, run: Run = run_at_once, lane: Lane = "answers") -> None:
        self._profiles = profiles
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
        """See Profiles.search. Cancelling it takes the queries back from the encoder."""
        vectors = None
        encoder = self._profiles.query_encoder(retriever)
        if encoder is not None:
            vectors = await asyncio.wrap_future(encoder.encode(self._lane, user, queries))
        return await self._run(
            user,
            functools.partial(self._profiles.search, user, queries, k, retriever, exclude, vectors, scope),
        )

    async def similar(self, user: str, document_ids: Sequence[str], k: int) -> list[list[Passage]]:
        """See Profiles.similar."""
        return await self._run(user, functools.partial(self._profiles.similar, user, document_ids, k))
