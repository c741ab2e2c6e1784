import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from index.documents import Document
from index.errors import UnknownRetriever, UnknownUser
from index.profiles import Profiles
from index.searching import AsyncSearch
from index.storage.store import Store
from tests.index.fakes import HashEncoder


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder()


@pytest.fixture
def search(tmp_path: Path, encoder: HashEncoder) -> Iterator[AsyncSearch]:
    store = Store(f"sqlite:///{tmp_path / 'store.db'}", encoder.manifest)
    profiles = Profiles(store, encoder)
    profiles.put("ana", [Document(id="tea", text="green tea"), Document(id="dog", text="Rex the dog")])
    profiles.put("bo", [Document(id="tea", text="black tea")])
    encoder.calls.clear()
    encoder.entered.clear()
    yield AsyncSearch(profiles)
    store.close()


async def test_concurrent_queries_are_encoded_together_and_everyone_gets_their_own(
    search: AsyncSearch, encoder: HashEncoder
) -> None:
    encoder.hold = threading.Event()
    first = asyncio.create_task(search.search("ana", ["warm up"], 1, "dense"))
    await asyncio.to_thread(encoder.entered.wait, 60)
    others = [
        asyncio.create_task(search.search(user, queries, 1, "dense"))
        for user, queries in (("ana", ["the dog", "green tea"]), ("bo", ["tea"]), ("ana", []))
    ]
    await asyncio.sleep(0)
    encoder.hold.set()
    await first
    found = [[[passage.text for passage in best] for best in await task] for task in others]
    assert found == [[["Rex the dog"], ["green tea"]], [["black tea"]], []]
    assert encoder.calls == [["warm up"], ["tea", "green tea", "the dog"]]


async def test_nothing_is_encoded_for_a_retriever_without_vectors(
    search: AsyncSearch, encoder: HashEncoder
) -> None:
    (found,) = await search.search("ana", ["dogs"], 3, "bm25")
    assert [passage.document_id for passage in found] == ["dog"]
    assert await search.search("ana", ["dogs"], 3, "bm25", {found[0].key}) == [[]]
    ((nearest,),) = await search.similar("ana", ["dog"], 3)
    assert nearest.document_id == "tea"
    assert encoder.calls == []


async def test_unknown_users_and_retrievers_are_refused(search: AsyncSearch, encoder: HashEncoder) -> None:
    with pytest.raises(UnknownRetriever):
        await search.search("ana", ["tea"], 1, "colbert")
    with pytest.raises(UnknownUser):
        await search.search("cy", ["tea"], 1, "dense")
    with pytest.raises(UnknownUser):
        await search.similar("cy", ["tea"], 1)


async def test_an_encoder_that_fails_fails_all_who_waited_for_it_and_no_later_one(
    search: AsyncSearch, encoder: HashEncoder
) -> None:
    encoder.error = MemoryError("no room")
    tasks = [search.search("ana", ["tea"], 1, "dense") for _ in range(3)]
    assert {str(error) for error in await asyncio.gather(*tasks, return_exceptions=True)} == {"no room"}
    encoder.error = None
    assert len((await search.search("ana", ["tea"], 1, "dense"))[0]) == 1
