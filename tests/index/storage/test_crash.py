"""A kill at any moment loses nothing that was acknowledged, and leaves nothing half done."""

import multiprocessing
import random
import signal
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from index.encoding.encoders import Vectors
from index.profiles import Profiles
from index.storage.checking import faults
from index.storage.store import Store
from tests.index.storage.writer import ENCODERS, Change, State, draw, work
from tests.postgresql import Cluster

# Each child is forked from a process that has the imports already, also those that are made late.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["tests.index.storage.writer", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg"]
)
LONGEST_S = 0.1
"""A child is killed within so many seconds after its start, or after it began or ended a change."""
EVERY = 20
"""Kills between two lines of progress."""


class Crashes:
    """Children that write to one store, and the state in which the last one left it."""

    def __init__(self, url: str, dice: random.Random) -> None:
        self._url = url
        self._dice = dice
        self._state: State = {}
        self._encoder = "hash"
        self._unacknowledged: Change | None = None
        self.acknowledged = 0
        with closing(Store(url, ENCODERS["hash"].manifest)) as store:
            store.open()

    def kill(self, database: Callable[[], None] | None = None) -> None:
        """Run a child and kill it, or else the database under it, at a random moment."""
        said, its_end = PROCESSES.Pipe(duplex=False)
        arguments = (self._url, self._state, self._encoder, self._dice.getrandbits(32), its_end)
        child = PROCESSES.Process(target=work, args=arguments)
        child.start()
        its_end.close()
        self._unacknowledged = None
        with said:
            for _ in range(self._dice.randrange(9)):
                self._hear(said)
            # The moment has to be any, so there is no event to wait for.
            child.join(self._dice.uniform(0, LONGEST_S))
            if database:
                database()
                child.join(60)
            child.kill()
            try:
                while True:
                    self._hear(said)
            except EOFError:
                pass
        child.join(60)

    def _hear(self, said: Connection) -> None:
        match said.recv():
            case Change() as change:
                self._unacknowledged = change
            case None:
                assert self._unacknowledged is not None
                self._take(self._unacknowledged)
                self._unacknowledged = None
                self.acknowledged += 1
            case wrong:
                raise AssertionError(wrong)

    def _take(self, change: Change) -> None:
        self._state = change.applied(self._state)
        self._encoder = change.encoder or self._encoder

    def verify(self) -> None:
        """Compare the store with all acknowledged changes; the last one begun may have happened, or not."""
        with closing(Store(self._url, None)) as store:
            assert list(faults(store)) == []
            encoder = store.encoder().name
            loaded = {user: store.load(user) for user in store.users()}
        stored = {
            user: {document.id: document.text for document in profile.documents}
            for user, profile in loaded.items()
        }
        if (stored, encoder) != (self._state, self._encoder) and self._unacknowledged:
            self._take(self._unacknowledged)
        assert (stored, encoder) == (self._state, self._encoder)
        made_by = ENCODERS[encoder]
        with closing(Store(self._url, made_by.manifest)) as store:
            profiles = Profiles(store, made_by)
            for user, profile in loaded.items():
                texts = [profile.documents[index].text[start:end] for index, start, end in profile.spans]
                anew = made_by.encode_documents(texts).astype(np.float16)
                np.testing.assert_array_equal(profile.vectors, anew)
                self._search(profiles, user, anew.astype(np.float32))

    def _search(self, profiles: Profiles, user: str, vectors: Vectors) -> None:
        """Compare a search with the dot products of vectors that were made anew."""
        (found,) = profiles.search(user, ["tea garden"], 5, "dense")
        query = ENCODERS[self._encoder].encode_queries(["tea garden"])[0]
        best = np.sort(vectors @ query)[::-1][: len(found)]
        assert len(found) == min(5, len(vectors))
        assert [passage.score for passage in found] == pytest.approx(best.tolist(), rel=1e-3, abs=1e-3)
        for passage in found:
            assert self._state[user][passage.document_id] == passage.text


def crash(url: str, kills: int, cluster: Cluster | None = None) -> None:
    """Kill our process so many times; with a cluster, the database's every other time.

    Prints the progress, and last the counts.
    """
    crashes = Crashes(url, random.Random(1))
    database = url.partition(":")[0]
    for number in range(kills):
        if cluster is not None and number % 2:
            crashes.kill(lambda: cluster.stop(signal.SIGKILL))
            cluster.start()
        else:
            crashes.kill()
        crashes.verify()
        if not (number + 1) % EVERY:
            print(f"{database}: {number + 1} of {kills} kills", flush=True)
    assert crashes.acknowledged >= kills
    print(f"{database}: {kills} kills, {crashes.acknowledged} acknowledged writes, 0 lost", flush=True)


def test_twelve_kills_lose_nothing_on_sqlite(path: Path) -> None:
    crash(f"sqlite:///{path}", 12)


def test_eight_kills_lose_nothing_on_postgresql(postgresql: Cluster) -> None:
    crash(postgresql.create("crash"), 8, postgresql)


@pytest.mark.crash
def test_300_kills_lose_nothing_on_sqlite(path: Path) -> None:
    crash(f"sqlite:///{path}", 300)


@pytest.mark.crash
def test_100_kills_lose_nothing_on_postgresql(postgresql: Cluster) -> None:
    crash(postgresql.create("crash100"), 100, postgresql)


def test_the_changes_are_of_every_kind_and_their_states_are_told_apart() -> None:
    dice, state, kinds = random.Random(2), State(), set[str]()
    for _ in range(200):
        change = draw(dice, state, "hash")
        kinds.add(change.kind)
        after = change.applied(state)
        assert change.kind == "reembed" or after != state or change.kind == "put"
        state = after
    assert kinds == {"put", "delete", "erase", "reembed"}
