"""One encoder for everybody: texts wait in line, and users take turns in short batches.

Every text of a server that has to be encoded passes here, so nobody waits for all of another's texts.
"""

import threading
from collections import deque
from collections.abc import Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Literal, TypeVar

import numpy as np

from index.encoding.encoders import Encoder, Vectors, estimated_tokens

Key = TypeVar("Key", bound=Hashable)

Lane = Literal["answers", "searches", "imports"]
"""Purpose of a text: the search of an answer, the search of a client, or a document to be stored. Lanes that
have work get equal shares, so that none of them starves another."""
LANES: tuple[Lane, ...] = ("answers", "searches", "imports")
SHORT = 32
"""Tokens up to which lengths do not matter: batches of texts shorter than this take about the same time."""


class Shares(Generic[Key]):
    """Decides who is next: whoever has used the least (start-time fair queueing, Goyal et al. 1996).

    A key starts where its last use ended or, if it was away, where the others are: it saves nothing up. So
    one with little to do passes those with much, and everyone gets a turn. Only keys that are ahead of the
    others are remembered.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._ends: dict[Key, float] = {}

    def start(self, key: Key) -> float:
        """Rank of the key's next turn; the lowest is next."""
        return max(self._ends.get(key, 0.0), self._now)

    def begin(self, key: Key) -> None:
        """Give the turn to `key`, one with the lowest start."""
        self._now = self.start(key)
        self._ends = {key: end for key, end in self._ends.items() if end > self._now}

    def charge(self, key: Key, cost: float) -> None:
        """Add what the key has used."""
        self._ends[key] = self.start(key) + cost


class _Job:
    """Texts of one call of `encode`, of which the longest are encoded first."""

    def __init__(
        self, line: tuple[Lane, str], texts: Sequence[str], sizes: Sequence[int], dimension: int
    ) -> None:
        self.line = line
        self.texts = texts
        self.sizes = sizes
        self.left = deque(sorted(range(len(texts)), key=lambda i: (-sizes[i], i)))
        self.vectors: Vectors = np.empty((len(texts), dimension), np.float32)
        self.future: Future[Vectors] = Future()

    def finish(self, error: BaseException | None = None) -> None:
        if self.future.done() or not self.future.set_running_or_notify_cancel():
            return
        if error is None:
            self.future.set_result(self.vectors)
        else:
            self.future.set_exception(error)


class _Batch:
    """Texts that are encoded together: of comparable length, and padded no more than `budget` tokens."""

    def __init__(self, budget: int) -> None:
        self.parts: list[tuple[_Job, list[int]]] = []
        self.full = False
        self._budget = budget
        self._first = self._longest = self._count = 0

    def add_from(self, job: _Job) -> int:
        """Move texts of the job here, as many as fit. Returns their tokens."""
        taken: list[int] = []
        while job.left and self._fits(job.sizes[job.left[0]]):
            taken.append(job.left.popleft())
            size = job.sizes[taken[-1]]
            self._first = self._first or size
            self._longest = max(self._longest, size)
            self._count += 1
        if taken:
            self.parts.append((job, taken))
        return sum(job.sizes[i] for i in taken)

    def _fits(self, size: int) -> bool:
        if not self._count:
            return True
        # Otherwise a short query would be padded to the length of others' documents, and take as long.
        if max(size, self._first) > 2 * max(min(size, self._first), SHORT):
            return False
        self.full = max(size, self._longest) * (self._count + 1) > self._budget
        return not self.full


class SharedEncoder:
    """Encodes for many users with one encoder, in batches of at most `encoder.batch_tokens` (estimated).

    Before each batch it is decided whose turn it is: first between lanes, then between users, then between
    the calls of one user. What fits in addition comes from the next users of the lane. Safe to share between
    threads.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._worker = ThreadPoolExecutor(1, "pr2-encoder")
        self._lock = threading.Lock()
        self._working = False
        self._lines: dict[tuple[Lane, str], deque[_Job]] = {}
        self._lanes: Shares[Lane] = Shares()
        self._users: dict[Lane, Shares[str]] = {lane: Shares() for lane in LANES}

    def encode(self, lane: Lane, user: str, texts: Sequence[str]) -> "Future[Vectors]":
        """Put texts of a user in line: documents in the lane "imports", queries in the others.

        The result has float32 vectors, shape (texts, dimension), or what the encoder raised for one of the
        texts. Once it is cancelled, no further batch has any of them.
        """
        manifest = self.encoder.manifest
        sizes = [estimated_tokens(text, manifest.window) for text in texts]
        job = _Job((lane, user), texts, sizes, manifest.dimension)
        if not texts:
            job.finish()
            return job.future
        with self._lock:
            self._wait(job)
            if not self._working:
                self._worker.submit(self._work)
                self._working = True
        return job.future

    def encoded(self, lane: Lane, user: str, texts: Sequence[str]) -> Vectors:
        """Encode, waiting for the result. See `encode`."""
        future = self.encode(lane, user, texts)
        try:
            return future.result()
        finally:
            future.cancel()

    def _wait(self, job: _Job) -> None:
        self._lines.setdefault(job.line, deque()).append(job)

    def _work(self) -> None:
        parts: list[tuple[_Job, list[int]]] = []
        while True:
            with self._lock:
                # Behind what came meanwhile: a user's search passes the same user's import.
                for job, _ in parts:
                    if job.left:
                        self._wait(job)
                lane, parts = self._next()
                if not parts:
                    self._working = False
                    return
            encode = self.encoder.encode_documents if lane == "imports" else self.encoder.encode_queries
            error: BaseException | None = None
            try:
                vectors = encode([job.texts[i] for job, taken in parts for i in taken])
                done = 0
                for job, taken in parts:
                    job.vectors[taken] = vectors[done : done + len(taken)]
                    done += len(taken)
            except BaseException as failure:  # The callers raise it; this thread goes on for the others.
                error = failure
            for job, _ in parts:
                if error is not None or not job.left:
                    job.finish(error)

    def _next(self) -> tuple[Lane | None, list[tuple[_Job, list[int]]]]:
        """The texts that are next and the lane of the first; none if nobody waits."""
        batch = _Batch(self.encoder.batch_tokens)
        first: Lane | None = None
        for lane, user in sorted(self._lines, key=self._start):
            if batch.full:
                break
            # An answer's search is not to wait for the texts of clients that would fill its batch.
            if first is not None and lane != first:
                continue
            if tokens := self._take((lane, user), batch):
                if first is None:
                    first = lane
                    self._lanes.begin(lane)
                    self._users[lane].begin(user)
                self._lanes.charge(lane, tokens)
                self._users[lane].charge(user, tokens)
        return first, batch.parts

    def _start(self, line: tuple[Lane, str]) -> tuple[float, int, float]:
        lane, user = line
        return self._lanes.start(lane), LANES.index(lane), self._users[lane].start(user)

    def _take(self, line: tuple[Lane, str], batch: _Batch) -> int:
        """Move texts of one user to the batch. Returns their tokens. Calls that are begun leave the line."""
        waiting: deque[_Job] = deque()
        tokens = 0
        for job in self._lines[line]:
            if job.future.done():  # Cancelled, or an earlier batch of it has failed.
                continue
            taken = batch.add_from(job)
            tokens += taken
            if not taken:
                waiting.append(job)
        if waiting:
            self._lines[line] = waiting
        else:
            del self._lines[line]
        return tokens
