"""Imports that nobody waits for any more: they end within a step, and store nothing."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from index.documents import Document
from index.encoding.embedding import MOST_CHARACTERS, MOST_DOCUMENTS
from index.errors import Abandoned, InvalidDocument
from index.profiles import Profiles
from index.storage.store import Store
from index.threads import run_at_once
from index.values import PutItems
from tests.index.fakes import Counting

T = TypeVar("T")


@pytest.fixture
def encoder() -> Counting:
    return Counting()


@pytest.fixture
def profiles(tmp_path: Path, encoder: Counting) -> Iterator[Profiles]:
    store = Store(f"sqlite:///{tmp_path / 'store.db'}", encoder.manifest)
    store.open()
    yield Profiles(store, encoder)
    store.close()


def documents(count: int, characters: int = 400) -> list[Document]:
    """Documents of 100 tokens each, of which five fit into a batch."""
    return [Document(id=str(number), text="x" * characters) for number in range(count)]


async def put(profiles: Profiles, items: PutItems) -> int:
    with profiles.importing("ana", items) as work:
        return (await work.finish_in(run_at_once)).put


async def test_an_import_in_turns_is_an_import(profiles: Profiles, encoder: Counting) -> None:
    assert await put(profiles, documents(100)) == 100
    assert profiles.store.count("ana") == 100
    assert sum(map(len, encoder.batches)) == 100


async def test_nothing_is_encoded_after_the_batch_in_progress_once_an_import_is_cancelled(
    profiles: Profiles, encoder: Counting
) -> None:
    encoder.door.clear()
    putting = asyncio.create_task(put(profiles, documents(200)))
    await asyncio.to_thread(encoder.entered.wait, 60)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    encoder.door.set()
    # The encoder serves others, and nothing of the import comes before them.
    profiles.put("ben", [Document(id="b", text="tea")])
    assert [len(batch) for batch in encoder.batches] == [5, 1]
    assert profiles.store.users() == ["ben"]


async def test_a_cancelled_import_reads_no_further_and_lets_go_of_its_source(profiles: Profiles) -> None:
    reading, may_go_on = threading.Event(), threading.Event()
    read: list[int] = []

    def source() -> Iterator[Document]:
        for number, document in enumerate(documents(2_000)):
            read.append(number)
            yield document
            if number == 5:
                reading.set()
                assert may_go_on.wait(60)

    putting = asyncio.create_task(put(profiles, source()))
    await asyncio.to_thread(reading.wait, 60)
    putting.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not putting.done()  # The source is still in use.
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert read[-1] <= 6
    assert profiles.store.users() == []


async def test_an_import_that_is_cancelled_while_others_write_stores_nothing(profiles: Profiles) -> None:
    waits = threading.Event()

    async def run(user: str, work: Callable[[], T], /) -> T:
        if getattr(work, "__name__", "") == "_write":
            waits.set()
        return await run_at_once(user, work)

    async def putting() -> None:
        with profiles.importing("ana", documents(10)) as work:
            await work.finish_in(run)

    with profiles.store.database.write():
        task = asyncio.create_task(putting())
        await asyncio.to_thread(waits.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert profiles.store.users() == []


async def cancelled_at(step: int, profiles: Profiles) -> int | None:
    """Import 200 documents and cancel when a step ends. Returns the number of steps that were run.

    None if the import has fewer steps and was finished.
    """
    steps = 0

    async def run(user: str, work: Callable[[], T], /) -> T:
        nonlocal steps
        result = await run_at_once(user, work)
        if steps == step:
            putting.cancel()
        steps += 1
        return result

    async def put() -> None:
        with profiles.importing("ana", documents(200)) as work:
            await work.finish_in(run)

    putting = asyncio.create_task(put())
    try:
        await putting
    except asyncio.CancelledError:
        return steps
    return None


async def test_an_import_can_be_cancelled_at_every_step_and_then_stores_all_or_nothing(
    profiles: Profiles, encoder: Counting
) -> None:
    stored = step = 0
    while (steps := await cancelled_at(step, profiles)) is not None:
        assert steps == step + 1
        if profiles.store.users():
            # The step was the write.
            stored = profiles.store.count("ana")
            profiles.erase("ana")
        step += 1
    assert stored == profiles.store.count("ana") == 200
    # Read three parts and find the end, split and take each, find the end, write.
    assert step == 3 + 1 + 6 + 1 + 1


def test_an_import_that_is_stopped_in_a_thread_stores_nothing(profiles: Profiles, encoder: Counting) -> None:
    with profiles.importing("ana", documents(200), progress=lambda _: work.stop()) as work:
        with pytest.raises(Abandoned, match="nothing was stored"):
            work.finish()
        assert 0 < sum(map(len, encoder.batches)) < 200
    with (
        profiles.importing("ana", documents(1), progress=lambda _: work.stop()) as work,
        pytest.raises(Abandoned),
    ):
        work.finish()
    assert profiles.store.users() == []


async def test_no_step_is_long_even_if_all_that_is_read_is_skipped(profiles: Profiles) -> None:
    read, longest = 0, 0

    def source() -> Iterator[Document | InvalidDocument]:
        nonlocal read
        items: list[Document | InvalidDocument] = [InvalidDocument("bad", n) for n in range(5_000)]
        for item in items + documents(100):
            read += 1
            yield item

    async def run(user: str, work: Callable[[], T], /) -> T:
        nonlocal longest
        before = read
        result = await run_at_once(user, work)
        longest = max(longest, read - before)
        return result

    with profiles.importing("ana", source(), on_error="skip") as work:
        report = await work.finish_in(run)
    assert (report.put, report.skipped_count, longest) == (100, 5_000, MOST_DOCUMENTS)


def test_an_invalid_last_document_is_found_before_anything_is_encoded(
    profiles: Profiles, encoder: Counting
) -> None:
    with pytest.raises(InvalidDocument, match="bad"):
        profiles.put("ana", [*documents(500), InvalidDocument("bad", 501)])
    assert encoder.batches == []


async def test_what_is_stored_already_is_not_encoded_again(profiles: Profiles, encoder: Counting) -> None:
    await put(profiles, documents(20))
    encoder.batches.clear()
    changed = Document(id="7", text="other")
    with profiles.importing("ana", [*documents(20)[:7], changed, *documents(22)[8:]]) as work:
        changes = (await work.finish_in(run_at_once)).changes
    assert sorted(text for batch in encoder.batches for text in batch) == ["other", "x" * 400, "x" * 400]
    assert (changes.added.first, changes.replaced.first) == (["20", "21"], ["7"])
    assert changes.unchanged.first == [str(number) for number in range(20) if number != 7]
    assert [document.id for _, document in profiles.store.documents("ana")] == [str(n) for n in range(22)]
    assert len(profiles.store.load("ana").vectors) == 22


def test_a_document_that_another_writer_changes_meanwhile_is_encoded_after_all(
    profiles: Profiles, encoder: Counting
) -> None:
    profiles.put("ana", documents(20))
    encoder.batches.clear()
    deleted = iter(["3"])

    def progress(done: int) -> None:
        for document_id in deleted:
            profiles.delete_document("ana", document_id)

    changes = profiles.put("ana", documents(20), progress=progress).changes
    assert sum(map(len, encoder.batches)) == 20
    assert (changes.added.first, changes.unchanged.count) == (["3"], 19)
    assert profiles.store.count("ana") == 20


def test_the_last_of_two_documents_with_one_id_counts_even_if_it_is_stored(profiles: Profiles) -> None:
    # Each is a part of its own.
    stored, other = (Document(id="a", text=word * MOST_CHARACTERS) for word in ("a ", "b "))
    profiles.put("ana", [stored])
    changes = profiles.put("ana", [stored, other, stored]).changes
    assert (profiles.store.document("ana", "a"), changes.replaced.first) == (stored, ["a"])
