"""A queue that is fair between users: a few answers run at once, the rest wait in line.

One user who asks a hundred questions does not make the others wait for all of them, and a question that
cannot be answered soon is refused at once. Threads for searches and imports are shared in the same way.
"""

import asyncio
import math
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

NEWEST_SHARE = 0.2
"""Weight of the newest duration in the moving average."""
UNKNOWN_DURATION_S = 1.0
LONGEST_RETRY_S = 60
ALLOWANCE_RETRY_S = 1
"""Time after which a user may try again who has too much in progress, in seconds."""


class Busy(Exception):
    """The queue is full, or the user has too much in progress."""

    def __init__(self, retry_after_s: int, what: str = "questions are waiting") -> None:
        super().__init__(f"Too many {what}; try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class Ticket:
    """One request in the queue. It holds a slot, or its position in the line, until it leaves.

    Cancelling turn() does not leave the queue: leave every ticket, best by a `with` block.
    """

    def __init__(self, queue: "FairQueue", user: str) -> None:
        self.user = user
        self.granted_at: float | None = None
        self._queue = queue
        self._left = False
        self._decided = asyncio.Event()

    async def turn(self) -> None:
        """Return when this ticket may run. Raises RuntimeError if it has left the queue."""
        await self._decided.wait()
        if self._left:
            raise RuntimeError("This ticket has left the queue.")

    def leave(self) -> None:
        """Give back the slot or the position in the line. Calling it again does nothing."""
        if not self._left:
            self._left = True
            self._queue._leave(self)
            self._decided.set()

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


class FairQueue:
    """At most `concurrency` tickets run and `length` wait, `each` of them of one user.

    They are counted from enter(), not from turn().

    A freed slot goes at once to the waiting user with the fewest running tickets and, among equals, to the
    one unserved for longest; within a user, first come, first served. So nobody waits while a slot is free.
    Nothing is kept about users who neither run nor wait. Belongs to one event loop.
    """

    def __init__(
        self,
        concurrency: int,
        length: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        each: int = sys.maxsize,
    ) -> None:
        if concurrency < 1 or length < 0:
            raise ValueError(f"Concurrency {concurrency} must be at least 1, length {length} at least 0.")
        self._concurrency = concurrency
        self._length = length
        self._each = each
        self._clock = clock
        self._running: Counter[str] = Counter()
        # Waiting users, the longest unserved first, each with their tickets in order of arrival. New users
        # join at the end: at the front, a stream of newcomers would starve the others.
        self._lines: OrderedDict[str, OrderedDict[Ticket, None]] = OrderedDict()
        self._waiting = 0
        self._mean_s: float | None = None

    @property
    def running(self) -> int:
        return self._running.total()

    @property
    def waiting(self) -> int:
        return self._waiting

    def enter(self, user: str) -> Ticket:
        """A ticket that may run at once or waits in line.

        Raises Busy if the line is full, or the user's part of it.
        """
        ticket = Ticket(self, user)
        if self.running < self._concurrency:
            self._run(ticket)
            return ticket
        if self._waiting >= self._length:
            raise Busy(self._retry_after_s())
        if len(self._lines.get(user, ())) >= self._each:
            raise Busy(self._retry_after_s(), "questions of this user are waiting")
        self._lines.setdefault(user, OrderedDict())[ticket] = None
        self._waiting += 1
        return ticket

    def _leave(self, ticket: Ticket) -> None:
        if ticket.granted_at is None:
            self._unqueue(ticket)
            return
        self._learn(self._clock() - ticket.granted_at)
        self._running[ticket.user] -= 1
        if not self._running[ticket.user]:
            del self._running[ticket.user]
        if self._lines:
            self._run_next()

    def _run_next(self) -> None:
        # Turns alone would let a user with long answers collect the slots, one turn at a time; counting
        # running tickets gives the slot to a user without one. With one slot free, fewer than `concurrency`
        # users run anything, so the user to choose is among the first `concurrency` in line.
        front = islice(self._lines, self._concurrency)
        user = min(front, key=lambda user: self._running[user])
        ticket = next(iter(self._lines[user]))
        self._lines.move_to_end(user)
        self._unqueue(ticket)
        self._run(ticket)

    def _run(self, ticket: Ticket) -> None:
        self._running[ticket.user] += 1
        ticket.granted_at = self._clock()
        ticket._decided.set()

    def _unqueue(self, ticket: Ticket) -> None:
        line = self._lines[ticket.user]
        del line[ticket]
        if not line:
            del self._lines[ticket.user]
        self._waiting -= 1

    def _learn(self, duration_s: float) -> None:
        mean_s = duration_s if self._mean_s is None else self._mean_s
        self._mean_s = mean_s + NEWEST_SHARE * (duration_s - mean_s)

    def _retry_after_s(self) -> int:
        """Estimated time for all waiting tickets and one more, from a moving average of recent durations."""
        mean_s = UNKNOWN_DURATION_S if self._mean_s is None else self._mean_s
        return min(max(math.ceil(mean_s * (self._waiting + 1) / self._concurrency), 1), LONGEST_RETRY_S)


class Allowance:
    """Admits at most `each` requests of one user at a time. Nothing is kept about users who have none."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._running: Counter[str] = Counter()

    @contextmanager
    def use(self, user: str) -> Iterator[None]:
        """One request, for as long as it is served. Raises Busy."""
        if self._running.get(user, 0) >= self._each:
            raise Busy(ALLOWANCE_RETRY_S, "searches and writes of this user are in progress")
        self._running[user] += 1
        try:
            yield
        finally:
            self._running[user] -= 1
            if not self._running[user]:
                del self._running[user]


class FairThreads:
    """A pool of threads in which users take turns: a free one goes to a user as FairQueue decides."""

    def __init__(self, threads: int, name: str) -> None:
        self._queue = FairQueue(threads, sys.maxsize)
        self._threads = ThreadPoolExecutor(threads, name)

    async def run(self, user: str, work: Callable[[], T], /) -> T:
        """Run blocking work of the user in a thread.

        If this is cancelled, work that has begun goes on and keeps its thread, but nobody waits for it.
        """
        ticket = self._queue.enter(user)
        try:
            await ticket.turn()
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except BaseException:
            ticket.leave()
            raise
        running.add_done_callback(lambda _: ticket.leave())
        return await asyncio.shield(running)

    def shutdown(self) -> None:
        """Wait for the work in progress; work that has not begun is cancelled."""
        self._threads.shutdown(cancel_futures=True)
