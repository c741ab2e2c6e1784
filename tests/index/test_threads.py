import asyncio
import threading

import pytest

from index.threads import run_at_once, to_end


async def test_work_gives_its_result_or_its_error() -> None:
    assert await to_end(run_at_once("ana", lambda: 3), stop=lambda: None) == 3
    with pytest.raises(ZeroDivisionError):
        await to_end(run_at_once("ana", lambda: 1 // 0), stop=lambda: None)


@pytest.mark.parametrize("fails", [False, True])
async def test_who_cancels_waits_for_the_thread_however_often_it_is_cancelled(fails: bool) -> None:
    began, stopped, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        assert stopped.wait(60)
        ended.set()
        if fails:
            raise ValueError("stopped")

    async def cancelled_twice() -> None:
        waiting.cancel()
        await asyncio.sleep(0)
        waiting.cancel()

    waiting = asyncio.create_task(to_end(run_alone(work), stop=stopped.set))
    await asyncio.to_thread(began.wait, 60)
    await cancelled_twice()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def run_alone(work: object) -> None:
    await asyncio.shield(asyncio.to_thread(work))  # type: ignore[arg-type]
