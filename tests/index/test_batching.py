import asyncio
from collections.abc import Sequence

import pytest

from index.batching import Batcher


class Work:
    """Doubles numbers once `let_go` is set; rejects negative numbers."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began = asyncio.Event()
        self.let_go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        self.began.set()
        await self.let_go.wait()
        if self.error is not None:
            raise self.error
        return [2 * item if item >= 0 else ValueError(str(item)) for item in items]


async def gathered(work: Work, items: Sequence[int]) -> tuple[Batcher[int, int], list["asyncio.Task[int]"]]:
    """Start a caller and, while its batch is being worked on, all the others."""
    batcher: Batcher[int, int] = Batcher(work)
    tasks = [asyncio.create_task(batcher(items[0]))]
    await work.began.wait()
    tasks += [asyncio.create_task(batcher(item)) for item in items[1:]]
    await asyncio.sleep(0)
    return batcher, tasks


async def test_items_that_arrive_meanwhile_form_one_batch_and_every_caller_gets_its_own_result() -> None:
    work = Work()
    _, tasks = await gathered(work, range(20))
    work.let_go.set()
    assert await asyncio.gather(*tasks) == [2 * i for i in range(20)]
    assert work.batches == [[0], list(range(1, 20))]


async def test_a_single_caller_does_not_wait() -> None:
    work = Work()
    work.let_go.set()
    batcher: Batcher[int, int] = Batcher(work)
    assert [await batcher(1), await batcher(2)] == [2, 4]
    assert work.batches == [[1], [2]]


async def test_one_refused_item_fails_alone() -> None:
    work = Work()
    _, tasks = await gathered(work, [1, 2, -3, 4])
    work.let_go.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [repr(outcome) for outcome in outcomes] == ["2", "4", "ValueError('-3')", "8"]


async def test_an_error_of_the_work_reaches_every_caller_of_the_batch_only() -> None:
    work = Work()
    batcher, tasks = await gathered(work, range(5))
    work.error = MemoryError("no room")
    work.let_go.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["no room"] * 5
    work.error = None
    assert await batcher(7) == 14


async def test_a_cancelled_caller_takes_nothing_from_the_others() -> None:
    work = Work()
    _, tasks = await gathered(work, [1, 2, 3])
    tasks[0].cancel()
    tasks[1].cancel()
    work.let_go.set()
    assert await tasks[2] == 6
    for task in tasks[:2]:
        with pytest.raises(asyncio.CancelledError):
            await task
