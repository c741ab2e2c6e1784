"""The profiles of all users: write documents, search them, and cache the profiles in use."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from index.documents import DOCUMENT_BYTES, Passage, within_size
from index.encoding.checked import CheckedEncoder
from index.encoding.encoders import Encoder, NoEncoder, Vectors, load_encoder, load_space
from index.encoding.options import EncoderOptions
from index.encoding.shared import SharedEncoder
from index.errors import SpaceUnavailable, StoreUnavailable, UnknownDocument, UnknownUser
from index.importing import Import
from index.ranking.duplicates import Distinct
from index.ranking.profile import Profile
from index.ranking.retrievers import DEFAULT, SHOWN_ONCE, Query, Ranking, Retrievers, SpaceRetriever, dense
from index.ranking.times import allowed_days
from index.storage.store import Store
from index.text.passages import PASSAGE_TOKENS
from index.values import Notice, Progress, PutItems, PutOptions, PutReport, Receipt
from index.when.notices import notices
from index.when.scope import Scope

_SPARE = 4
"""Passages ranked for each document wanted, and how many times more if those were too few."""


class Profiles:
    """Writes and searches profiles. Safe to share between threads; users never see each other's rows.

    `cache_bytes` bounds the memory of loaded profiles; the least recently used are evicted first. A document
    may have `document_bytes`, all of its fields together. `spaces` are the encoders of further spaces, by the
    space's name: each gives a retriever of that name, and every document put gets vectors in all of them.
    Raises InvalidName if another retriever has the name.
    """

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        cache_bytes: int = 2**30,
        retrievers: Retrievers | None = None,
        document_bytes: int = DOCUMENT_BYTES,
        spaces: Mapping[str, Encoder] | None = None,
    ) -> None:
        encoder = CheckedEncoder(encoder)
        self.store = store
        self.encoder = encoder
        self.shared = SharedEncoder(encoder)
        self.spaces = {name: SharedEncoder(CheckedEncoder(other)) for name, other in (spaces or {}).items()}
        self.retrievers = retrievers or Retrievers()
        for name in self.spaces:
            self.retrievers.register(SpaceRetriever(name))
        self._cache_bytes = cache_bytes
        self._document_bytes = document_bytes
        self._cache: OrderedDict[str, Profile] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._cached = 0
        self._lock = threading.Lock()

    @property
    def encoders(self) -> str:
        """Describe all encoders that searches depend on."""
        further = [f"{name}: {shared.encoder.manifest}" for name, shared in self.spaces.items()]
        return "; ".join([str(self.encoder.manifest), *further])

    def put(
        self,
        user: str,
        documents: PutItems,
        *,
        on_error: str = "fail",
        replace: bool = True,
        progress: Progress | None = None,
    ) -> PutReport:
        """Insert or replace documents: all of them or, if this raises, none.

        Everything is read before the first document is encoded, so that an invalid last one costs little,
        and encoded before the write begins, so that the encoder never holds up the database's lock.
        `documents` may be of any length. An invalid one is raised or, with `on_error="skip"`, reported.
        Raises InvalidName, InvalidDocument, StoreUnavailable and, without `replace`, WouldReplace.
        """
        with self.importing(user, documents, on_error=on_error, replace=replace, progress=progress) as work:
            return work.finish()

    def importing(self, user: str, documents: PutItems, **options: Unpack[PutOptions]) -> Import:
        """A put that has not begun, so that it can be run in turns. Raises InvalidName."""
        items = within_size(documents, self._document_bytes)
        return Import(self.store, self.shared, user, items, spaces=self.spaces, **options)

    def search(
        self,
        user: str,
        queries: Sequence[str],
        k: int,
        name: str = DEFAULT,
        exclude: Collection[tuple[str, int]] = (),
        vectors: Vectors | None = None,
        scope: Scope | None = None,
    ) -> list[list[Passage]]:
        """Find at most `k` documents per query, best first, each represented by its best passage.

        All queries are searched in one call. The retrievers in SHOWN_ONCE find a text once, however many
        documents have it, and count them; one like an excluded passage is left out. `exclude` holds keys of
        passages to leave out. `vectors`, shape (queries, dimension), are computed here if the retriever needs
        them and they are not given. `scope` limits what is found in time, and says from which day
        times are seen that a query names; without it, from the day of the last document, so that what is
        found does not change with the calendar. Raises UnknownUser, UnknownRetriever,
        SpaceUnavailable, StoreUnavailable.
        """
        chosen = self.retrievers.get(name)
        profile = self.get(user)
        if not len(profile) or not queries:
            return [[] for _ in queries]
        shared = self.query_encoder(name)
        if shared is not None and vectors is None:
            vectors = shared.encoded("searches", user, queries)
        today = scope.today if scope else profile.last_day
        asked = [
            Query(text, None if vectors is None else vectors[i], today) for i, text in enumerate(queries)
        ]
        found = _distinct(
            profile,
            lambda depth: chosen.rank(profile, asked, depth),
            k,
            [exclude] * len(asked),
            once=name in SHOWN_ONCE,
            allowed=allowed_days(profile.days, scope) if scope else None,
        )
        with self._lock:
            if self._cache.get(user) is profile:
                self._count(profile)
        return found

    def notices(
        self, user: str, question: str, after: date | None, before: date | None, scope: Scope
    ) -> tuple[Notice, ...]:
        """See index.when.notices. Raises UnknownUser, StoreUnavailable."""
        return notices(self.get(user), question, after, before, scope)

    def query_encoder(self, name: str) -> SharedEncoder | None:
        """Return the encoder of a retriever's queries; None if they need none. Raises UnknownRetriever."""
        return self.spaces.get(name, self.shared) if self.retrievers.get(name).needs_vectors else None

    def check(self, user: str, name: str) -> None:
        """Raise UnknownUser, UnknownRetriever or SpaceUnavailable if `name` cannot search the profile."""
        self.retrievers.get(name)
        self.store.version(user)
        if name in self.spaces and name not in self.store.spaces():
            raise SpaceUnavailable(name)

    def similar(self, user: str, document_ids: Sequence[str], k: int) -> list[list[Passage]]:
        """Find at most `k` nearest neighbours of each stored document, by the stored vectors.

        A document is not its own neighbour. Raises UnknownUser, UnknownDocument, StoreUnavailable.
        """
        profile = self.get(user)
        asked: list[Query] = []
        own: list[set[tuple[str, int]]] = []
        for document_id in document_ids:
            positions = profile.positions(document_id)
            if not positions:
                raise UnknownDocument(f"{user!r} has no document {document_id!r}")
            asked.append(Query("", profile.vectors.vector(positions[0])))
            own.append({profile.key(position) for position in positions})
        return _distinct(profile, lambda depth: dense(profile, asked, depth), k, own)

    def get(self, user: str) -> Profile:
        """Return the user's current profile, from the cache if it has not changed. Raises UnknownUser."""
        try:
            version = self.store.version(user)
        except UnknownUser:
            with self._lock:
                self._drop(user)  # Another server erased the user.
            raise
        with self._lock:
            cached = self._cache.get(user)
            if cached is not None and cached.version == version:
                self._cache.move_to_end(user)
                return cached
        profile = self._updated(cached) if cached else None
        if profile is None:
            profile = Profile(self.store.load(user), self.encoder.count_tokens)
        with self._lock:
            self._drop(user)
            self._cache[user] = profile
            self._count(profile)
        return profile

    def _updated(self, profile: Profile) -> Profile | None:
        """Bring a profile up to date; None if it is quicker to load it. Raises UnknownUser."""
        change = self.store.changes(profile.user, profile.version, profile.spaces)
        return profile.updated(change) if change else None

    def delete_document(self, user: str, document_id: str) -> None:
        """Delete a document, in the store, in memory and in answers. Raises UnknownUser, UnknownDocument."""
        self.store.delete_document(user, document_id)
        with self._lock:
            cached = user in self._cache
        if cached:
            try:
                self.get(user)
            except (StoreUnavailable, UnknownUser):
                # The deletion itself is done, and its text must not stay in memory.
                with self._lock:
                    self._drop(user)

    def erase(self, user: str) -> Receipt:
        """Delete everything of a user, in the store and in memory. Raises UnknownUser."""
        receipt = self.store.erase(user)
        with self._lock:
            cached = self._drop(user)
        return replace(receipt, cached=cached)

    def _count(self, profile: Profile) -> None:
        """Update the size of a cached profile, which grows with what retrievers derive from it, and evict
        others if the cache is over its bound."""
        size = profile.nbytes
        self._cached += size - self._sizes.get(profile.user, 0)
        self._sizes[profile.user] = size
        while self._cached > self._cache_bytes and len(self._cache) > 1:
            self._drop(next(iter(self._cache)))

    def _drop(self, user: str) -> bool:
        """Returns whether a profile of the user was in memory."""
        if self._cache.pop(user, None) is None:
            return False
        self._cached -= self._sizes.pop(user)
        return True


def open_profiles(
    url: str,
    encoder: str | None,
    *,
    options: EncoderOptions | None = None,
    spaces: Mapping[str, str] | None = None,
    passage_tokens: int = PASSAGE_TOKENS,
    cache_bytes: int = 2**30,
    document_bytes: int = DOCUMENT_BYTES,
    retrievers: Retrievers | None = None,
    accept_loss: bool = False,
) -> Profiles:
    """Load the encoder of this name (see `load_encoder`) and connect it with the store at `url`.

    With `encoder` None, no encoder is loaded, which is quick: documents can be read, and searched by
    retrievers that need no vectors. `spaces` names the encoders of further spaces, by the space's name. The
    store is opened on first use; for `accept_loss` see Store. Raises EncoderUnavailable, InvalidName.
    """
    loaded = None if encoder is None else load_encoder(encoder, passage_tokens, options=options)
    further = {name: load_space(spec) for name, spec in (spaces or {}).items()}
    store = Store(
        url,
        loaded.manifest if loaded else None,
        {name: other.manifest for name, other in further.items()},
        keep_reserve=loaded is not None,
        accept_loss=accept_loss,
    )
    return Profiles(store, loaded or NoEncoder(), cache_bytes, retrievers, document_bytes, further)


def _distinct(
    profile: Profile,
    rank: Callable[[int], list[Ranking]],
    k: int,
    excluded: Sequence[Collection[tuple[str, int]]],
    *,
    once: bool = False,
    allowed: NDArray[np.bool_] | None = None,
) -> list[list[Passage]]:
    """Deepen the rankings until each has `k` documents, and represent each document by its best passage.

    With `once`, documents with the same text are one. Passages that are not `allowed`, shape (passages,), are
    left out.
    """
    if k < 1:
        return [[] for _ in excluded]
    # Some are of one document, or have the same text: ranking again costs more than ranking deeper.
    depth = _SPARE * (k + max(map(len, excluded)))
    while True:
        rankings = rank(depth)
        found = [
            _best_passages(profile, _allowed(ranking, allowed), k, exclude, once=once)
            for ranking, exclude in zip(rankings, excluded, strict=True)
        ]
        exhausted = depth >= len(profile) or all(len(ranking) < depth for ranking in rankings)
        if exhausted or all(complete for complete, _ in found):
            return [passages for _, passages in found]
        depth *= _SPARE


def _allowed(ranking: Ranking, allowed: NDArray[np.bool_] | None) -> Ranking:
    return ranking if allowed is None else [found for found in ranking if allowed[found[0]]]


def _best_passages(
    profile: Profile, ranking: Ranking, k: int, exclude: Collection[tuple[str, int]], *, once: bool
) -> tuple[bool, list[Passage]]:
    """Return whether `k` new documents were found, and the best passage of each.

    Other passages of documents in `exclude` come in addition: they must neither be lost nor displace a new
    document.
    """
    known = {document_id for document_id, _ in exclude}
    shown = [
        profile.text(position)
        for document_id in known
        for position in profile.positions(document_id)
        if profile.key(position) in exclude
    ]
    distinct = Distinct(shown if once else (), profile.copies)
    best: dict[str, tuple[int, float]] = {}
    new = 0
    for position, score in ranking:
        key = profile.key(position)
        if key in exclude or key[0] in best or (once and not distinct.add(profile.text(position))):
            continue
        best[key[0]] = (position, score)
        new += key[0] not in known
        if new == k:
            break
    return new == k, [
        profile.passage(position, rank, score, distinct.count(profile.text(position)) if once else 1)
        for rank, (position, score) in enumerate(best.values(), 1)
    ]
