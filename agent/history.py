"""Searches one user's history for an episode: the same in the service, in evaluation and in training."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from agent.trajectory import Search
from index.documents import Passage
from index.searching import AsyncSearch
from index.values import Notice
from index.when.scope import Scope


@dataclass(frozen=True)
class History:
    """The part of a user's history that a question sees: through one retriever, within the scope in time."""

    searching: AsyncSearch
    user: str
    retriever: str
    scope: Scope

    async def search(self, one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
        """See agent.driver.Searcher. Raises the errors of Profiles.search."""
        days = self.scope.within(one.after, one.before)
        [found] = await self.searching.search(self.user, [one.query], k, self.retriever, exclude, days)
        return found

    async def notice(self, question: str, one: Search) -> Sequence[Notice]:
        """See agent.driver.Noticer. Raises UnknownUser, StoreUnavailable."""
        return await self.searching.notices(self.user, question, one.after, one.before, self.scope)
