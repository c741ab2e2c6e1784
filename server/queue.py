"""Who may be answered now: a few answers at once, the rest in a line that is fair between users.

One user who asks a hundred things must not make the others wait for all of them, and who cannot be
answered soon is told so at once instead of being kept hanging.
"""

import asyncio
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from itertools import islice

NEWEST_SHARE = 0.2
"""How much the newest duration counts in the mean of the recent ones."""
UNKNOWN_DURATION_S = 1.0
LONGEST_RETRY_S = 60


class Busy(Exception):
    """Too many wait already."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many wait already; try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class Ticket:
    """One request in the queue. It holds a slot, or its position in the line, until it leaves.

    Being cancelled is not leaving: whoever enters has to leave, best by a `with` block.
    """

    def __init__(self, queue: "FairQueue", user: str) -> None:
        self.user = user
        self.granted_at: float | None = None
        self._queue = queue
        self._left = False
        self._decided = asyncio.Event()

    async def turn(self) -> None:
        """Return when this ticket may run; RuntimeError when it has left, since it then never will."""
        await self._decided.wait()
        if self._left:
            raise RuntimeError("This ticket has left the queue.")

    def leave(self) -> None:
        """Give back the slot or the position in the line; a second time does nothing."""
        if not self._left:
            self._left = True
            self._queue._leave(self)
            self._decided.set()

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


class FairQueue:
    """At most `concurrency` tickets run and `length` wait, counted from enter(), not from turn().

    A slot that is freed goes in the same moment to the waiting user with the fewest running tickets, and
    among equals to the one who has waited longest since being served; within a user, first come, first
    served. So nobody ever waits while a slot is free. Nothing is kept about users who neither run nor wait.
    For one event loop.
    """

    def __init__(self, concurrency: int, length: int, clock: Callable[[], float] = time.monotonic) -> None:
        if concurrency < 1 or length < 0:
            raise ValueError(f"Concurrency {concurrency} must be at least 1, length {length} at least 0.")
        self._concurrency = concurrency
        self._length = length
        self._clock = clock
        self._running: Counter[str] = Counter()
        # The users who wait, the longest unserved first, each with their tickets in the order they came.
        # Somebody new joins at the end: put at the front, a stream of newcomers would starve the others.
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
        """A ticket that may run at once or waits; raises Busy when it can do neither."""
        ticket = Ticket(self, user)
        if self.running < self._concurrency:
            self._run(ticket)
        elif self._waiting < self._length:
            self._lines.setdefault(user, OrderedDict())[ticket] = None
            self._waiting += 1
        else:
            raise Busy(self._retry_after_s())
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
        # what runs gives a slot to who has none. With one slot free, fewer than `concurrency` users run
        # something, so the first `concurrency` in the line are sure to hold the one to choose.
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
        """How long everyone who waits and one more would take, from recent durations (moving average)."""
        mean_s = UNKNOWN_DURATION_S if self._mean_s is None else self._mean_s
        return min(max(math.ceil(mean_s * (self._waiting + 1) / self._concurrency), 1), LONGEST_RETRY_S)
