"""Stopping a server: a grace period, then an error that differs from a client disconnecting."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from server.stopping import Stop, Stopping
from tests.waiting import soon


async def forever() -> None:
    await asyncio.Event().wait()


async def five() -> int:
    return 5


async def test_without_a_stop_work_is_only_awaited() -> None:
    stop = Stop()
    assert await stop.unless(five) == 5
    with pytest.raises(ZeroDivisionError):
        await stop.unless(_failing)


async def _failing() -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError


async def test_at_the_stop_work_is_cancelled_and_its_caller_goes_on() -> None:
    stop = Stop()
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await forever()
        finally:
            cancelled.set()

    async def caller() -> str:
        with pytest.raises(Stopping):
            await stop.unless(work)
        # A cancellation that was left over would end this wait, or make the timeout raise another error.
        async with asyncio.timeout(5):
            await cancelled.wait()
            await asyncio.sleep(0)
        return "went on"

    calling = asyncio.create_task(caller())
    await asyncio.sleep(0)
    stop.now()
    assert await calling == "went on"
    assert calling.cancelling() == 0


async def test_work_that_ends_well_in_spite_of_the_stop_has_its_result() -> None:
    """An import that is being written is stored all the same, and should be reported so."""
    stop = Stop()

    async def work() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            return "stored"
        return ""

    async def caller() -> str:
        result = await stop.unless(work)
        await asyncio.sleep(0)
        return result

    calling = asyncio.create_task(caller())
    await asyncio.sleep(0)
    stop.now()
    assert await calling == "stored"


async def test_a_client_who_leaves_at_the_same_time_is_a_cancellation() -> None:
    stop = Stop()
    calling = asyncio.create_task(stop.unless(forever))
    await asyncio.sleep(0)
    calling.cancel()
    stop.now()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_after_the_stop_nothing_is_begun() -> None:
    stop = Stop()
    stop.now()
    stop.now()
    with pytest.raises(Stopping):
        await stop.unless(five)


async def test_a_stream_ends_with_the_error_and_its_source_is_closed() -> None:
    stop = Stop()
    closed = asyncio.Event()
    seen = []

    async def source() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
            await forever()
        finally:
            closed.set()

    async def reader() -> None:
        async with aclosing(stop.over(source())) as events:
            async for event in events:
                seen.append(event)

    reading = asyncio.create_task(reader())
    assert await soon(lambda: len(seen) == 2)
    stop.now()
    with pytest.raises(Stopping):
        await reading
    assert closed.is_set()
    assert [event async for event in Stop().over(_three())] == [1, 2, 3]


async def _three() -> AsyncGenerator[int, None]:
    for number in (1, 2, 3):
        yield number


async def test_draining_waits_for_requests_in_progress_and_no_longer() -> None:
    stop = Stop()
    await stop.drain(60)
    assert (stop.draining, stop.is_now) == (True, False)

    stop = Stop()
    with stop.request():
        draining = asyncio.create_task(stop.drain(60))
        await asyncio.sleep(0)
        assert stop.draining
        with stop.request():
            pass
        await asyncio.sleep(0)
        assert not draining.done()
    await draining
    assert not stop.is_now


async def test_after_the_grace_what_is_left_is_interrupted() -> None:
    stop = Stop()
    with stop.request():
        waiting = asyncio.create_task(stop.unless(forever))
        await asyncio.sleep(0)
        await stop.drain(0.01)
        with pytest.raises(Stopping):
            await waiting
        assert stop.is_now


async def test_the_grace_can_be_cut_short() -> None:
    stop = Stop()
    with stop.request():
        draining = asyncio.create_task(stop.drain(3_600))
        await asyncio.sleep(0)
        stop.now()
        await draining
