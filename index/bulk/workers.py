"""Imports many users side by side in processes of this machine, each with its share of the cores.

One process writes a user, in one transaction. Whenever this is interrupted, or killed, each user is stored
whole or unchanged.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import wait as wait_for
from multiprocessing.synchronize import Event

from index.bulk.users import OF_THE_USER, Outcome, Reading, Target, UserFiles, UserItems, failed, stored
from index.documents import Document
from index.errors import Abandoned, InvalidDocument, WorkerLost
from index.profiles import Profiles
from index.threads import share_cores


def import_users(
    users: Iterable[UserFiles], target: Target, reading: Reading, workers: int
) -> Iterator[Outcome]:
    """Import the users in `workers` processes, and yield each outcome when it is there.

    A user whose files cannot be read is an outcome with an error. If this is interrupted or closed, no
    further document is encoded. Raises StoreUnavailable, EncoderMismatch and other errors that concern all
    users, and WorkerLost if a process was killed.
    """
    # A fork would copy locks of threads that do not exist in the copy.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, _begin, (target, reading, workers, stop)) as pool:
        running: set[Future[Outcome]] = set()
        try:
            for each in users:
                running.add(pool.submit(_import, each))
                if len(running) > workers:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool:
            raise WorkerLost(
                "a process of this import was killed, for want of memory perhaps: users are stored whole or "
                "not at all; import again, with fewer --workers"
            ) from None
        finally:
            stop.set()


@dataclass
class _Worker:
    target: Target
    reading: Reading
    stop: Event

    @cached_property
    def profiles(self) -> Profiles:
        """Opened with the first user, so that an error reaches the caller."""
        return self.target.open()

    def run(self, files: UserFiles) -> Outcome:
        self._check()
        items = UserItems(files, self.reading)
        profiles = self.profiles
        try:
            report = profiles.put(
                files.user, self._until_stopped(items), on_error="skip", progress=lambda _: self._check()
            )
        except OF_THE_USER as error:
            return failed(files, error)
        return stored(files.user, report, items.left_out)

    def _until_stopped(self, items: UserItems) -> Iterator[Document | InvalidDocument]:
        for item in items:
            self._check()
            yield item

    def _check(self) -> None:
        if self.stop.is_set():
            raise Abandoned("the import was interrupted")


_worker: _Worker | None = None
"""This process's part in an import, set before its first user."""


def _begin(target: Target, reading: Reading, workers: int, stop: Event) -> None:
    global _worker
    # Ctrl-C reaches every process of the terminal; the first one tells the others to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    share_cores(workers)
    _worker = _Worker(target, reading, stop)


def _end_with_parent() -> None:
    """End at once when the first process has been killed: nobody would use what this one does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _import(files: UserFiles) -> Outcome:
    assert _worker is not None
    return _worker.run(files)
