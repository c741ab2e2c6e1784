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

from index.profiles import Profiles
from index.storage.checking import faults
from index.storage.store import Store
from tests.index.storage.writer import ENCODERS, Change, State, draw, work
from tests.postgresql import Cluster

# Each child is forked from a process that has the imports already.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.index.storage.writer"])
LONGEST_S = 0.1
"""A child is killed within so many seconds after one of its changes was acknowledged."""


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
            for _ in range(1 + self._dice.randrange(8)):
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
            stored = {
                user: {document.id: document.text for _, document in store.documents(user, limit=1_000)}
                for user in store.users()
            }
            encoder = store.encoder().name
            assert list(faults(store)) == []
        if (stored, encoder) != (self._state, self._encoder) and self._unacknowledged:
            self._take(self._unacknowledged)
        assert (stored, encoder) == (self._state, self._encoder)
        for user in self._state:
            self._search(user)

    def _search(self, user: str) -> None:
        """Compare a search with the dot products of vectors that are made anew."""
        encoder = ENCODERS[self._encoder]
        with closing(Store(self._url, encoder.manifest)) as store:
            profiles = Profiles(store, encoder)
            (found,) = profiles.search(user, ["tea garden"], 5, "dense")
        texts = list(self._state[user].values())
        if not texts:
            assert found == []
            return
        anew = encoder.encode_documents(texts).astype(np.float16).astype(np.float32)
        scores = np.sort(anew @ encoder.encode_queries(["tea garden"])[0])[::-1][:5]
        assert [passage.score for passage in found] == pytest.approx(scores.tolist(), rel=1e-3, abs=1e-3)
        for passage in found:
            assert self._state[user][passage.document_id] == passage.text


def crash(url: str, kills: int, cluster: Cluster | None = None) -> None:
    """Kill our process so many times; with a cluster, the database's every other time."""
    crashes = Crashes(url, random.Random(1))
    for number in range(kills):
        if cluster is not None and number % 2:
            crashes.kill(lambda: cluster.stop(signal.SIGKILL))
            cluster.start()
        else:
            crashes.kill()
        crashes.verify()
    assert crashes.acknowledged >= kills


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
