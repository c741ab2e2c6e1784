"""Retrievers rank the passages of a profile; the built-in ones are plain functions.

If nothing is found, a ranking is empty. Ties keep the order of the documents.
"""

import random as _random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.encoding.encoders import Vectors
from index.errors import InvalidName, UnknownRetriever
from index.ranking.hybrid import scores
from index.ranking.okapi import OkapiIndex
from index.ranking.profile import Profile
from index.ranking.vectors import VectorIndex
from index.ranking.weights import BY_HAND, Weights
from index.text.words import terms
from index.values import check_name

Ranking = Sequence[tuple[int, float]]
"""(position of a passage in the profile, score), best first."""

RRF_CONSTANT = 60
"""Cormack, Clarke and Büttcher (2009): a rank r adds 1 / (60 + r)."""
RRF_DEPTH = 1_000
"""Depth to which rankings are fused."""


@dataclass(frozen=True)
class Query:
    text: str
    vector: Vectors | None = None
    """Shape (dimension,). None if the retriever needs no vectors."""
    today: date | None = None
    """The person's local day on which it is asked. None if times that it names are not to be read."""


class Retriever(Protocol):
    """Ranks profiles. Shared between threads.

    A retriever may have its own model or embedding space. Values that it computes per profile belong in
    `Profile.derived`, which evicts them with the profile.
    """

    @property
    def name(self) -> str: ...

    @property
    def needs_vectors(self) -> bool:
        """Whether queries need vectors: of the further space with the retriever's name or, if there is none,
        of the store's encoder."""
        ...

    @property
    def rank(self) -> Callable[[Profile, Sequence[Query], int], list[Ranking]]:
        """Called as `rank(profile, queries, depth)`; returns the `depth` best passages for each query."""
        ...


@dataclass(frozen=True)
class BuiltIn:
    """A retriever without state: a named function."""

    name: str
    rank: Callable[[Profile, Sequence[Query], int], list[Ranking]]
    needs_vectors: bool = False


@dataclass(frozen=True)
class SpaceRetriever:
    """Ranks by the dot product in the further space of this name. Raises SpaceUnavailable.

    Raises InvalidName for a name that cannot be a space's.
    """

    name: str
    needs_vectors = True

    def __post_init__(self) -> None:
        check_name(self.name)

    def rank(self, profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
        return _nearest(profile.space(self.name), queries, depth)


def dense(profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
    """Rank by the dot product of the stored vectors with the query's."""
    return _nearest(profile.vectors, queries, depth)


def bm25(profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
    """Rank by BM25 over stemmed words, leaving out passages without any word of the query."""
    index = profile.lexical

    def scores(text: str) -> NDArray[np.float32]:
        return profile.by_language(lambda language: index.scores(terms(text, language)))

    return [_best(scores(query.text), depth) for query in queries]


def recency(profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
    """Rank the latest first and undated passages last, ignoring the query. The score is 1 / rank."""
    order = np.argsort(-profile.recency, kind="stable")[:depth]
    ranking = [(int(position), 1 / rank) for rank, position in enumerate(order, 1)]
    return [ranking for _ in queries]


def okapi(profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
    """Rank by BM25 as LaMP publishes it (see okapi.py): all passages, whatever their scores."""
    index = profile.derived("okapi", lambda: OkapiIndex(_with_titles(profile)))
    rankings: list[Ranking] = []
    for query in queries:
        scores = index.scores(query.text)
        order = np.argsort(-scores, kind="stable")[:depth]
        rankings.append(list(zip(order.tolist(), scores[order].tolist(), strict=True)))
    return rankings


def rrf(profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
    """Rank by reciprocal rank fusion of `dense` and `bm25`."""
    pool = max(depth, RRF_DEPTH)
    return _fused(profile, depth, dense(profile, queries, pool), bm25(profile, queries, pool))


def rrf_lamp(profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
    """Rank by reciprocal rank fusion of LaMP's three retrievers: `okapi`, `recency` and `dense`."""
    lists = (rank(profile, queries, len(profile)) for rank in (okapi, recency, dense))
    return _fused(profile, depth, *lists)


def hybrid(
    profile: Profile, queries: Sequence[Query], depth: int, weights: Weights = BY_HAND
) -> list[Ranking]:
    """Rank by similarity and words in context, each weighted by how much it found (see hybrid.py)."""
    pairs = zip(queries, _vectors(queries), strict=True)
    return [_best(scores(profile, query.text, v, query.today, weights), depth) for query, v in pairs]


def hybrid_by(weights: Weights) -> BuiltIn:
    """Return the retriever `hybrid` with other weights than those set by hand."""
    return BuiltIn("hybrid", partial(hybrid, weights=weights), needs_vectors=True)


def random(profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
    """Rank at random, reproducibly for the same user and query."""
    rankings: list[Ranking] = []
    for query in queries:
        order = list(range(len(profile)))
        _random.Random(f"{profile.user}\0{query.text}").shuffle(order)
        rankings.append([(position, 0.0) for position in order[:depth]])
    return rankings


def none(profile: Profile, queries: Sequence[Query], depth: int) -> list[Ranking]:
    """Find nothing, for answers without the profile."""
    return [[] for _ in queries]


def _fused(profile: Profile, depth: int, *retrievers: Sequence[Ranking]) -> list[Ranking]:
    """Fuse the rankings of several retrievers, query by query."""
    fused = []
    for lists in zip(*retrievers, strict=True):
        scores = np.zeros(len(profile))
        for ranking in lists:
            for rank, (position, _) in enumerate(ranking, 1):
                scores[position] += 1 / (RRF_CONSTANT + rank)
        fused.append(_best(scores, depth))
    return fused


def _with_titles(profile: Profile) -> list[str]:
    titles = (profile.document(position).title or "" for position in range(len(profile)))
    return [f"{title} {profile.text(position)}" for position, title in enumerate(titles)]


def _best(scores: NDArray[np.floating], depth: int) -> Ranking:
    """Return the positive scores, best first, ties in order of position."""
    if depth < len(scores):
        # The few that may be among the best, before they are put in order.
        least = np.partition(scores, -depth)[-depth]
        positions = np.flatnonzero((scores >= least) & (scores > 0))
    else:
        positions = np.flatnonzero(scores > 0)
    best = positions[np.argsort(-scores[positions], kind="stable")[:depth]]
    return list(zip(best.tolist(), scores[best].tolist(), strict=True))


def _nearest(vectors: VectorIndex, queries: Sequence[Query], depth: int) -> list[Ranking]:
    found = vectors.search(_vectors(queries), depth)
    return [list(zip(p.tolist(), s.tolist(), strict=True)) for p, s in found]


def _vectors(queries: Sequence[Query]) -> Vectors:
    return np.stack([query.vector for query in queries if query.vector is not None])


DEFAULT = "hybrid"
SHOWN_ONCE = frozenset({"bm25", "rrf", "hybrid"})
"""Retrievers for people, whose results show a text once however often it stands in the profile. The others
rank as publications do, where each document counts."""

BUILT_IN = (
    BuiltIn("dense", dense, needs_vectors=True),
    BuiltIn("bm25", bm25),
    BuiltIn("recency", recency),
    BuiltIn("rrf", rrf, needs_vectors=True),
    BuiltIn("okapi", okapi),
    BuiltIn("rrf-lamp", rrf_lamp, needs_vectors=True),
    hybrid_by(BY_HAND),
    BuiltIn("random", random),
    BuiltIn("none", none),
)


class Retrievers:
    """Registry of retrievers by name. Register all of them before the first search."""

    def __init__(self, retrievers: Iterable[Retriever] = BUILT_IN) -> None:
        self._by_name: dict[str, Retriever] = {}
        for retriever in retrievers:
            self.register(retriever)

    def register(self, retriever: Retriever) -> None:
        """Raises InvalidName if the name is taken."""
        if retriever.name in self._by_name:
            raise InvalidName(f"there is already a retriever {retriever.name!r}")
        self._by_name[retriever.name] = retriever

    @property
    def names(self) -> list[str]:
        return list(self._by_name)

    def get(self, name: str) -> Retriever:
        """Raises UnknownRetriever, whose message lists the names."""
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(self._by_name)
            raise UnknownRetriever(f"there is no retriever {name!r}; there are {known}") from None
