import asyncio
import functools
import itertools
import threading
from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.queue import Allowance, Busy, FairQueue, FairThreads, Ticket


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def may_run(ticket: Ticket) -> bool:
    """Whether turn() returns at once, without running the event loop."""
    turn = ticket.turn()
    try:
        turn.send(None)
    except StopIteration:
        return True
    turn.close()
    return False


def served(queue: FairQueue, running: list[Ticket], waiting: list[Ticket]) -> list[str]:
    """Users in the order in which they get a slot, when the oldest running ticket leaves each time."""
    running, order = list(running), []
    while running:
        running.pop(0).leave()
        for ticket in [ticket for ticket in waiting if ticket not in running and may_run(ticket)]:
            waiting.remove(ticket)
            running.append(ticket)
            order.append(ticket.user)
    assert (queue.running, queue.waiting) == (0, 0)
    return order


def nothing_is_kept(queue: FairQueue) -> bool:
    return not queue._running and not queue._lines and (queue.running, queue.waiting) == (0, 0)


async def test_a_burst_runs_a_few_lets_some_wait_and_refuses_the_rest() -> None:
    queue = FairQueue(2, 3)
    tickets, refused = [], 0
    for number in range(10):
        try:
            tickets.append(queue.enter(f"user {number}"))
        except Busy:
            refused += 1
    assert (queue.running, queue.waiting, refused) == (2, 3, 5)
    assert [may_run(ticket) for ticket in tickets] == [True, True, False, False, False]


async def test_one_user_cannot_fill_the_line() -> None:
    queue = FairQueue(1, 5, each=2)
    for _ in range(3):
        queue.enter("ana")
    with pytest.raises(Busy, match="questions of this user"):
        queue.enter("ana")
    assert not may_run(queue.enter("ben"))
    assert (queue.running, queue.waiting) == (1, 3)


async def test_with_no_length_whatever_cannot_run_at_once_is_refused() -> None:
    queue = FairQueue(1, 0)
    with queue.enter("ada") as ticket:
        await ticket.turn()
        with pytest.raises(Busy):
            queue.enter("bob")
    with queue.enter("bob") as ticket:
        await ticket.turn()
    assert nothing_is_kept(queue)


@pytest.mark.parametrize(("concurrency", "length"), [(0, 1), (-1, 1), (1, -1)])
def test_a_queue_that_could_serve_nobody_is_refused(concurrency: int, length: int) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        FairQueue(concurrency, length)


async def test_a_slot_that_is_freed_goes_to_who_waits() -> None:
    queue = FairQueue(1, 5)
    first, second = queue.enter("ada"), queue.enter("bob")
    waits = asyncio.create_task(second.turn())
    await asyncio.sleep(0)
    assert not waits.done()
    first.leave()
    newcomer = queue.enter("cyd")
    assert (may_run(second), may_run(newcomer)) == (True, False)
    await waits


async def test_within_a_user_first_come_is_first_served() -> None:
    queue = FairQueue(1, 10)
    tickets = [queue.enter("ada") for _ in range(5)]
    for number, ticket in enumerate(tickets):
        assert [may_run(later) for later in tickets[number:]] == [True] + [False] * (4 - number)
        ticket.leave()


async def test_one_question_waits_for_at_most_one_more_of_a_user_who_asked_a_hundred() -> None:
    queue = FairQueue(1, 200)
    running, *waiting = [queue.enter("ada") for _ in range(101)]
    waiting.append(queue.enter("bob"))
    assert served(queue, [running], waiting).index("bob") <= 1


async def test_users_who_wait_take_turns() -> None:
    queue = FairQueue(1, 20)
    running = queue.enter("zoe")
    waiting = [queue.enter(user) for user in "aaaabbcbb"]
    assert "".join(served(queue, [running], waiting)) == "abcababab"


async def test_who_runs_the_fewest_comes_first() -> None:
    queue = FairQueue(2, 10)
    ada = [queue.enter("ada") for _ in range(3)]
    zoe = queue.enter("zoe")
    ada[0].leave()
    assert (may_run(ada[2]), may_run(zoe)) == (False, True)


async def test_newcomers_do_not_starve_who_waits() -> None:
    queue = FairQueue(1, 10)
    running = queue.enter("zoe")
    ada = queue.enter("ada")
    for number in range(3):
        newcomer = queue.enter(f"newcomer {number}")
        if may_run(ada):
            break
        running.leave()
        running = newcomer
    assert may_run(ada)


async def test_nothing_is_kept_of_users_who_have_gone() -> None:
    queue = FairQueue(3, 10_000)
    tickets = [queue.enter(f"user {number % 4000}") for number in range(10_000)]
    for ticket in tickets[::3] + tickets[1::3] + tickets[2::3]:
        ticket.leave()
    assert nothing_is_kept(queue)


async def test_while_nothing_is_known_an_answer_is_taken_for_a_second() -> None:
    queue = FairQueue(2, 4)
    for _ in range(6):
        queue.enter("ada")
    with pytest.raises(Busy, match=r"Too many questions are waiting; try again in 3 s\.") as busy:
        queue.enter("bob")
    assert busy.value.retry_after_s == 3


@pytest.mark.parametrize(
    ("durations", "retry_after_s"),
    [
        ([4.0], 8),  # 4 s × 4 / 2
        ([4.0, 4.0, 4.0], 8),
        ([4.0, 9.0], 10),  # 4 s + a fifth of the 5 s more
        ([4.0, 9.5], 11),  # 10.2 s, rounded up
        ([0.01], 1),
        ([0.0], 1),
        ([1000.0], 60),
    ],
)
async def test_busy_tells_when_to_come_again_by_how_long_answers_took(
    durations: list[float], retry_after_s: int
) -> None:
    clock = Clock()
    queue = FairQueue(2, 3, clock)
    for duration in durations:
        with queue.enter("ada"):
            clock.now += duration
    for _ in range(5):
        queue.enter("ada")
    with pytest.raises(Busy) as busy:
        queue.enter("bob")
    assert busy.value.retry_after_s == retry_after_s


async def test_the_time_in_the_line_does_not_count_as_answering() -> None:
    clock = Clock()
    queue = FairQueue(1, 1, clock)
    first, second = queue.enter("ada"), queue.enter("bob")
    clock.now += 10
    first.leave()
    clock.now += 10
    second.leave()
    for _ in range(2):
        queue.enter("ada")
    with pytest.raises(Busy) as busy:
        queue.enter("ada")
    assert busy.value.retry_after_s == 20


async def answer(ticket: Ticket) -> None:
    with ticket:
        await ticket.turn()
        await asyncio.Event().wait()


async def cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_while_waiting_is_out_of_the_line() -> None:
    queue = FairQueue(1, 2)
    first, second, third = (queue.enter(user) for user in ("ada", "bob", "cyd"))
    task = asyncio.create_task(answer(second))
    await asyncio.sleep(0)
    await cancelled(task)
    assert (queue.running, queue.waiting) == (1, 1)
    first.leave()
    assert may_run(third)


async def test_a_cancelled_turn_keeps_its_position_until_its_ticket_leaves() -> None:
    queue = FairQueue(1, 2)
    first, second = queue.enter("ada"), queue.enter("bob")
    turn = asyncio.create_task(second.turn())
    await asyncio.sleep(0)
    await cancelled(turn)
    assert queue.waiting == 1
    first.leave()
    assert may_run(second)


@pytest.mark.parametrize("granted_first", [True, False])
async def test_a_slot_granted_at_the_moment_of_a_cancellation_is_passed_on(granted_first: bool) -> None:
    queue = FairQueue(1, 2)
    first, second, third = (queue.enter(user) for user in ("ada", "bob", "cyd"))
    task = asyncio.create_task(answer(second))
    await asyncio.sleep(0)
    if granted_first:
        first.leave()
        task.cancel()
    else:
        task.cancel()
        first.leave()
    assert may_run(second)
    await cancelled(task)
    assert may_run(third)
    third.leave()
    assert nothing_is_kept(queue)


async def test_leaving_twice_frees_one_slot() -> None:
    queue = FairQueue(1, 3)
    first, second, third, fourth = (queue.enter(user) for user in ("ada", "bob", "cyd", "dan"))
    first.leave()
    first.leave()
    fourth.leave()
    fourth.leave()
    assert (may_run(second), may_run(third)) == (True, False)
    assert (queue.running, queue.waiting) == (1, 1)


async def test_a_ticket_may_leave_without_ever_awaiting_its_turn() -> None:
    queue = FairQueue(1, 1)
    first, second = queue.enter("ada"), queue.enter("bob")
    second.leave()
    first.leave()
    assert nothing_is_kept(queue)


async def test_a_ticket_that_has_left_raises_instead_of_waiting_forever() -> None:
    queue = FairQueue(1, 1)
    tickets = [queue.enter("ada"), queue.enter("bob")]
    turn = asyncio.create_task(tickets[1].turn())
    await asyncio.sleep(0)
    for ticket in reversed(tickets):
        ticket.leave()
        with pytest.raises(RuntimeError, match="has left"):
            may_run(ticket)
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="has left"):
        turn.result()


class Played:
    """A queue, its tickets in order of arrival, and the invariants to check."""

    def __init__(self, concurrency: int, length: int, each: int) -> None:
        self.concurrency, self.length, self.each = concurrency, length, each
        self.queue = FairQueue(concurrency, length, each=each)
        self.tickets: list[Ticket] = []
        self.tasks: list[tuple[Ticket, asyncio.Task[None]]] = []

    def enter(self, user: str) -> None:
        before = (self.queue.running, self.queue.waiting)
        try:
            ticket = self.queue.enter(user)
        except Busy:
            assert before[0] == self.concurrency
            assert before[1] == self.length or self.waiting(user) == self.each
            return
        assert self.waiting(user) < self.each or may_run(ticket)
        assert may_run(ticket) == (before[0] < self.concurrency)
        self.tickets.append(ticket)

    def leave(self, ticket: Ticket) -> None:
        if ticket not in self.tickets:
            ticket.leave()
            return
        ran = may_run(ticket)
        self.tickets.remove(ticket)
        waited = [other for other in self.tickets if not may_run(other)]
        runs = Counter(other.user for other in self.tickets if may_run(other))
        ticket.leave()
        chosen = [other for other in waited if may_run(other)]
        assert len(chosen) == (1 if ran and waited else 0)
        for other in chosen:
            assert runs[other.user] == min(runs[user] for user in {ticket.user for ticket in waited})

    def waiting(self, user: str) -> int:
        return sum(ticket.user == user and not may_run(ticket) for ticket in self.tickets)

    async def answer(self, ticket: Ticket) -> None:
        try:
            await ticket.turn()
            await asyncio.Event().wait()
        finally:
            self.leave(ticket)

    def do(self, what: str, user: str, number: int) -> None:
        if what == "enter":
            self.enter(user)
        elif what == "cancel" and self.tasks:
            self.tasks[number % len(self.tasks)][1].cancel()
        elif self.tickets:
            ticket = self.tickets[number % len(self.tickets)]
            if what == "leave":
                self.leave(ticket)
            elif what == "answer":
                self.tasks.append((ticket, asyncio.create_task(self.answer(ticket))))
            elif what == "turn":
                self.tasks.append((ticket, asyncio.create_task(ticket.turn())))

    def check(self) -> None:
        runs = [may_run(ticket) for ticket in self.tickets]
        assert (self.queue.running, self.queue.waiting) == (runs.count(True), runs.count(False))
        assert self.queue.running <= self.concurrency
        assert self.queue.waiting <= self.length
        assert not self.queue.waiting or self.queue.running == self.concurrency
        for user in {ticket.user for ticket in self.tickets}:
            states = [run for run, ticket in zip(runs, self.tickets, strict=True) if ticket.user == user]
            assert states == sorted(states, reverse=True), "somebody overtook"

    async def end(self) -> None:
        for _, task in self.tasks:
            task.cancel()
        outcomes = await asyncio.gather(*(task for _, task in self.tasks), return_exceptions=True)
        for (ticket, _), outcome in zip(self.tasks, outcomes, strict=True):
            if isinstance(outcome, RuntimeError):
                assert ticket not in self.tickets
            else:
                assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
        for ticket in list(self.tickets):
            self.leave(ticket)
            self.check()
        assert nothing_is_kept(self.queue)


# "step" lets the tasks go on; whatever stands between two steps happens in the same moment.
STEPS = st.tuples(
    st.sampled_from(["enter", "enter", "enter", "answer", "turn", "cancel", "leave", "step"]),
    st.sampled_from("abcd"),
    st.integers(0, 9),
)


@given(st.integers(1, 3), st.integers(0, 5), st.integers(1, 6), st.lists(STEPS, max_size=60))
def test_the_rules_hold_whatever_happens(
    concurrency: int, length: int, each: int, steps: list[tuple[str, str, int]]
) -> None:
    async def play() -> None:
        played = Played(concurrency, length, each)
        for what, user, number in steps:
            if what == "step":
                await asyncio.sleep(0)
            else:
                played.do(what, user, number)
            played.check()
        await played.end()

    asyncio.run(play())


async def test_threads_are_shared_fairly_between_users() -> None:
    threads = FairThreads(1, "test")
    door, began = threading.Event(), threading.Event()
    order: list[str] = []

    def hold() -> None:
        began.set()
        assert door.wait(60)

    first = asyncio.create_task(threads.run("ana", hold))
    await asyncio.to_thread(began.wait, 60)
    jobs = [
        asyncio.create_task(threads.run(user, functools.partial(order.append, f"{user} {number}")))
        for user, number in [*(("ana", number) for number in range(50)), ("ben", 0), ("cleo", 0)]
    ]
    await asyncio.sleep(0)
    door.set()
    await asyncio.gather(first, *jobs)
    threads.shutdown()
    assert order[:3] == ["ana 0", "ben 0", "cleo 0"]
    assert order[3:] == [f"ana {number}" for number in range(1, 50)]


async def test_cancelled_work_keeps_its_thread_until_it_ends_and_waiting_work_never_begins() -> None:
    threads = FairThreads(1, "test")
    door, began = threading.Event(), threading.Event()
    done: list[str] = []

    def hold() -> None:
        began.set()
        assert door.wait(60)
        done.append("held")

    running = asyncio.create_task(threads.run("ana", hold))
    await asyncio.to_thread(began.wait, 60)
    waiting = asyncio.create_task(threads.run("ana", lambda: done.append("waited")))
    other = asyncio.create_task(threads.run("ben", lambda: done.append("other")))
    await asyncio.sleep(0)
    for task in (running, waiting):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (threads._queue.running, threads._queue.waiting) == (1, 1)
    door.set()
    await other
    threads.shutdown()
    assert done == ["held", "other"]
    assert nothing_is_kept(threads._queue)


async def test_work_in_a_thread_gives_its_result_or_its_error() -> None:
    threads = FairThreads(2, "test")
    assert await threads.run("ana", lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        await threads.run("ana", lambda: 1 // 0)
    assert nothing_is_kept(threads._queue)
    threads.shutdown()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_an_allowance_admits_so_much_of_each_user_and_keeps_nothing(requests: list[tuple[str, bool]]) -> None:
    allowance = Allowance(2)
    admitted: dict[str, list[ExitStack]] = {user: [] for user in "abc"}
    for user, ends in requests:
        if ends and admitted[user]:
            admitted[user].pop().close()
            continue
        stack = ExitStack()
        if len(admitted[user]) == 2:
            with pytest.raises(Busy, match=r"writes of this user are in progress; try again in 1 s\.$"):
                stack.enter_context(allowance.use(user))
        else:
            stack.enter_context(allowance.use(user))
            admitted[user].append(stack)
    for stack in itertools.chain(*admitted.values()):
        stack.close()
    assert not allowance._running
