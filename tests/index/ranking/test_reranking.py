import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.documents import Document, Passage
from index.profiles import Profiles
from index.ranking.reranking import KEPT, Counts, RerankerFailure, Reranking
from index.searching import AsyncSearch
from index.storage.store import Store
from tests.index.fakes import HashEncoder

NOTES = [Document(id=str(number), text=f"note {number} of tea") for number in range(12)]


class Scripted:
    """A reranker whose scores a function gives. It records the queries and texts it was called with."""

    name = "scripted"
    calls = 4

    def __init__(self, score: Callable[[str, Sequence[str]], Sequence[float]]) -> None:
        self._score = score
        self.asked: list[tuple[str, list[str]]] = []

    def scores(self, query: str, texts: Sequence[str], deadline: float) -> Sequence[float]:
        self.asked.append((query, list(texts)))
        return self._score(query, texts)


def later_is_better(query: str, texts: Sequence[str]) -> list[float]:
    return [float(position) for position in range(len(texts))]


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Profiles]:
    encoder = HashEncoder()
    store = Store(f"sqlite:///{tmp_path / 'store.db'}", encoder.manifest)
    profiles = Profiles(store, encoder)
    profiles.put("ana", NOTES)
    profiles.put("bo", [Document(id="b", text="tea of bo", title="Note"), Document(id="c", text="coffee")])
    yield profiles
    store.close()


def ids(passages: Sequence[Passage]) -> list[str]:
    return [passage.document_id for passage in passages]


async def test_the_first_candidates_get_the_rerankers_order_and_scores(profiles: Profiles) -> None:
    reranker = Scripted(later_is_better)
    search = AsyncSearch(profiles, reranking=Reranking(reranker, candidates=5))
    [plain] = profiles.search("ana", ["tea"], 12, "dense")
    [found] = await search.search("ana", ["tea"], 3, "dense")
    assert ids(found) == ids(plain)[4:1:-1]
    assert [(passage.rank, passage.score) for passage in found] == [(1, 4.0), (2, 3.0), (3, 2.0)]
    assert not any(passage.unreranked for passage in found)
    assert reranker.asked == [("tea", [passage.text for passage in plain[:5]])]
    # More than the candidates are wanted: the others follow in the retriever's order.
    [all_of_them] = await search.search("ana", ["tea"], 12, "dense")
    assert ids(all_of_them) == [*ids(plain)[4::-1], *ids(plain)[5:]]
    assert [passage.rank for passage in all_of_them] == list(range(1, 13))


async def test_each_query_is_reranked_by_its_own_scores_and_with_titles(profiles: Profiles) -> None:
    reranker = Scripted(lambda query, texts: [float(query in text) for text in texts])
    search = AsyncSearch(profiles, reranking=Reranking(reranker))
    tea, coffee = await search.search("bo", ["tea", "coffee"], 1, "dense")
    assert (ids(tea), ids(coffee)) == (["b"], ["c"])
    assert all("Note: tea of bo" in texts for _, texts in reranker.asked)


async def test_equal_scores_keep_the_retrievers_order(profiles: Profiles) -> None:
    search = AsyncSearch(profiles, reranking=Reranking(Scripted(lambda query, texts: [0.0] * len(texts))))
    [plain] = profiles.search("ana", ["tea 3"], 12, "dense")
    [found] = await search.search("ana", ["tea 3"], 12, "dense")
    assert ids(found) == ids(plain)


@pytest.mark.parametrize("retriever", sorted(KEPT))
async def test_an_order_that_is_not_by_the_query_stays(profiles: Profiles, retriever: str) -> None:
    reranker = Scripted(later_is_better)
    search = AsyncSearch(profiles, reranking=Reranking(reranker))
    assert await search.search("ana", ["tea"], 3, retriever) == profiles.search("ana", ["tea"], 3, retriever)
    assert reranker.asked == []


async def test_other_passages_of_known_documents_do_not_displace_new_ones(tmp_path: Path) -> None:
    encoder = HashEncoder(window=16, passage_tokens=16)
    store = Store(f"sqlite:///{tmp_path / 'store.db'}", encoder.manifest)
    profiles = Profiles(store, encoder)
    long = "tea in the morning with milk. " * 6
    profiles.put(
        "ana", [Document(id="long", text=long), *(Document(id=f"n{i}", text=f"tea {i}") for i in range(4))]
    )
    search = AsyncSearch(profiles, reranking=Reranking(Scripted(later_is_better)))
    exclude = [("long", 0)]
    [found] = await search.search("ana", ["tea"], 2, "dense", exclude)
    assert len(set(ids(found)) - {"long"}) == 2
    assert ("long", 0) not in {passage.key for passage in found}
    store.close()


BAD: list[Callable[[str, Sequence[str]], Sequence[float]]] = [
    lambda query, texts: [float("nan"), *[1.0] * (len(texts) - 1)],
    lambda query, texts: [float("inf")] * len(texts),
    lambda query, texts: [1.0],
    lambda query, texts: [1.0] * (len(texts) + 1),
    lambda query, texts: [],
]


@pytest.mark.parametrize("score", BAD)
async def test_scores_that_cannot_be_used_leave_the_order_and_are_counted(
    profiles: Profiles, score: Callable[[str, Sequence[str]], Sequence[float]]
) -> None:
    reranking = Reranking(Scripted(score))
    [found] = await AsyncSearch(profiles, reranking=reranking).search("ana", ["tea"], 3, "dense")
    [plain] = profiles.search("ana", ["tea"], 3, "dense")
    assert found == [replace(passage, unreranked=True) for passage in plain]
    assert reranking.counts == Counts(failed=1)


async def test_a_reranker_that_fails_is_counted_and_other_errors_are_raised(profiles: Profiles) -> None:
    def fails(query: str, texts: Sequence[str]) -> list[float]:
        raise RerankerFailure("the server is away")

    def broken(query: str, texts: Sequence[str]) -> list[float]:
        raise ZeroDivisionError

    def timed_out(query: str, texts: Sequence[str]) -> list[float]:
        raise TimeoutError

    reranking = Reranking(Scripted(fails))
    search = AsyncSearch(profiles, reranking=reranking)
    found = await search.search("ana", ["tea", "note"], 3, "dense")
    assert all(passage.unreranked for passages in found for passage in passages)
    assert reranking.counts == Counts(failed=2)
    for error, score in ((ZeroDivisionError, broken), (TimeoutError, timed_out)):
        with pytest.raises(error):
            await AsyncSearch(profiles, reranking=Reranking(Scripted(score))).search(
                "ana", ["tea"], 3, "dense"
            )


async def test_after_the_time_limit_the_retrievers_order_is_used_and_counted(profiles: Profiles) -> None:
    released = threading.Event()

    def waits(query: str, texts: Sequence[str]) -> list[float]:
        assert released.wait(60)
        return later_is_better(query, texts)

    reranking = Reranking(Scripted(waits), limit_ms=20)
    try:
        [found] = await AsyncSearch(profiles, reranking=reranking).search("ana", ["tea"], 3, "dense")
    finally:
        released.set()
    [plain] = profiles.search("ana", ["tea"], 3, "dense")
    assert found == [replace(passage, unreranked=True) for passage in plain]
    assert reranking.counts == Counts(late=1)


async def test_one_passage_or_none_needs_no_reranker(profiles: Profiles) -> None:
    reranker = Scripted(later_is_better)
    search = AsyncSearch(profiles, reranking=Reranking(reranker))
    assert await search.search("ana", ["xylophone"], 3, "bm25") == [[]]
    [found] = await search.search("bo", ["coffee"], 3, "bm25")
    assert (ids(found), found[0].unreranked) == (["c"], False)
    assert reranker.asked == []


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=20), st.integers(1, 20)
)
def test_any_finite_scores_give_a_permutation_in_their_order(scores: list[float], k: int) -> None:
    passages = [Passage(str(number), "tea", rank=number + 1) for number in range(len(scores))]
    reranking = Reranking(Scripted(lambda query, texts: scores))
    [found] = asyncio.run(reranking.rerank("ana", ["tea"], [passages], k))
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert ids(found) == [str(number) for number in expected]
    assert [passage.rank for passage in found] == list(range(1, len(found) + 1))
